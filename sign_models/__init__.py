"""Sign-language keypoints to text in trained, registered stages: skeleton, temporal, alignment."""

__version__ = "0.2.0"

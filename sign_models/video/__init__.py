"""Videos to keypoints, and results back onto videos. Needs the optional extra `video`."""

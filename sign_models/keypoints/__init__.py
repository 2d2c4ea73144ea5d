"""Keypoint sequences: named landmarks, confidence, frame rate. Knows numpy only."""

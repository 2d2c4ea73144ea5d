"""Runs, metrics, checkpoints, artifacts and registered models in MLflow. Only the served model uses it too."""

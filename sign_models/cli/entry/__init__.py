"""A module for each command that is no stage: its options and its help, in `main`."""

"""The training loop, a step of it, devices and processes."""

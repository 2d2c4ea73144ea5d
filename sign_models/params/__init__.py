"""Typed parameters: schema.py declares them, load.py resolves YAML, presets, override file and command line (-P)."""

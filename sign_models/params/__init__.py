"""Typed, closed parameters: schema.py says what there is, load.py resolves YAML, presets, override file and -P."""

"""The commands: options, the runner of the stages, import, evaluation, registry."""

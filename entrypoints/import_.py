"""The command of `python -m entrypoints.import`, under a name that Python can import."""

from sign_models.cli import group

main = group.command("import")

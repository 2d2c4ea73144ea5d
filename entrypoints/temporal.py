"""`python -m entrypoints.temporal`, and the entry point `temporal` of MLproject."""

from sign_models.cli import commands, group

main = group.command("temporal")

if __name__ == "__main__":
    commands.run(main)

"""`python -m entrypoints.sweep`, and the entry point `sweep` of MLproject."""

from sign_models.cli import commands, group

main = group.command("sweep")

if __name__ == "__main__":
    commands.run(main)

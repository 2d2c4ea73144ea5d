"""`python -m entrypoints.extract`, and the entry point `extract` of MLproject."""

from sign_models.cli import commands, group

main = group.command("extract")

if __name__ == "__main__":
    commands.run(main)

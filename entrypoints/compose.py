"""`python -m entrypoints.compose`, and the entry point `compose` of MLproject."""

from sign_models.cli import commands, group

main = group.command("compose")

if __name__ == "__main__":
    commands.run(main)

"""`python -m entrypoints.promote`, and the entry point `promote` of MLproject."""

from sign_models.cli import commands, group

main = group.command("promote")

if __name__ == "__main__":
    commands.run(main)

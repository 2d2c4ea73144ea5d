"""`python -m entrypoints.represent`, and the entry point `represent` of MLproject."""

from sign_models.cli import commands, group

main = group.command("represent")

if __name__ == "__main__":
    commands.run(main)

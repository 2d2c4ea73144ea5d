"""`python -m entrypoints.skeleton`, and the entry point `skeleton` of MLproject."""

from sign_models.cli import commands, group

main = group.command("skeleton")

if __name__ == "__main__":
    commands.run(main)

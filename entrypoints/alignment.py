"""`python -m entrypoints.alignment`, and the entry point `alignment` of MLproject."""

from sign_models.cli import commands, group

main = group.command("alignment")

if __name__ == "__main__":
    commands.run(main)

"""`python -m entrypoints.evaluate`, and the entry point `evaluate` of MLproject."""

from sign_models.cli import commands, group

main = group.command("evaluate")

if __name__ == "__main__":
    commands.run(main)

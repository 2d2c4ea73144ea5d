"""`python -m entrypoints.generate`, and the entry point `generate` of MLproject."""

from sign_models.cli import commands, group

main = group.command("generate")

if __name__ == "__main__":
    commands.run(main)

"""`python -m entrypoints.translate`, and the entry point `translate` of MLproject."""

from sign_models.cli import commands, group

main = group.command("translate")

if __name__ == "__main__":
    commands.run(main)

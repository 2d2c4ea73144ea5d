"""`python -m entrypoints.export`, and the entry point `export` of MLproject."""

from sign_models.cli import commands, group

main = group.command("export")

if __name__ == "__main__":
    commands.run(main)

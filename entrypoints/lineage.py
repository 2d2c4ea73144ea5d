"""`python -m entrypoints.lineage`, and the entry point `lineage` of MLproject."""

from sign_models.cli import commands, group

main = group.command("lineage")

if __name__ == "__main__":
    commands.run(main)

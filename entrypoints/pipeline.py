"""`python -m entrypoints.pipeline`, and the entry point `pipeline` of MLproject."""

from sign_models.cli import commands, group

main = group.command("pipeline")

if __name__ == "__main__":
    commands.run(main)

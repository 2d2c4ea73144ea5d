"""`python -m entrypoints.publish`, and the entry point `publish` of MLproject."""

from sign_models.cli import commands, group

main = group.command("publish")

if __name__ == "__main__":
    commands.run(main)

"""`python -m entrypoints.prune`, and the entry point `prune` of MLproject."""

from sign_models.cli import commands, group

main = group.command("prune")

if __name__ == "__main__":
    commands.run(main)

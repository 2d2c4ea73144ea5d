"""The command of `python -m entrypoints.import`, under a name that Python can import. It may be started by it too."""

from sign_models.cli import commands, group

main = group.command("import")

if __name__ == "__main__":
    commands.run(main)

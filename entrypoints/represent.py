"""One stage: the temporal representations of every video."""

from sign_models.cli import commands

main = commands.stage_command("represent")

if __name__ == "__main__":
    commands.run(main)

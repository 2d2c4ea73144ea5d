"""One stage: train the alignment model on representations and texts, log it, register it."""

from sign_models.cli import commands

main = commands.stage_command("alignment")

if __name__ == "__main__":
    commands.run(main)

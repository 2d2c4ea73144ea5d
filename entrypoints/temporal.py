"""One stage: train the temporal model on a skeleton model, log it, register it."""

from sign_models.cli import commands

main = commands.stage_command("temporal")

if __name__ == "__main__":
    commands.run(main)

"""One stage: train the skeleton model, log it, register it."""

from sign_models.cli import commands

main = commands.stage_command("skeleton")

if __name__ == "__main__":
    commands.run(main)

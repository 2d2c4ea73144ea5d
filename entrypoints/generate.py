"""One stage: text for every video, scores, and the translator in one model."""

from sign_models.cli import commands

main = commands.stage_command("generate")

if __name__ == "__main__":
    commands.run(main)

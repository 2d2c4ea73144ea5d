"""`python -m entrypoints.import`: the command is in import_, since Python cannot import a module named by a keyword."""

from entrypoints.import_ import main
from sign_models.cli import commands

if __name__ == "__main__":
    commands.run(main)

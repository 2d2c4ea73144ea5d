"""`python -m entrypoints.import`, and the entry point `import` of MLproject."""

from entrypoints.import_ import main
from sign_models.cli import commands

if __name__ == "__main__":
    commands.run(main)

"""All commands under one name: `sign-models COMMAND`, or `python -m entrypoints COMMAND`.

Shell completion: `eval "$(_SIGN_MODELS_COMPLETE=bash_source sign-models)"`; also zsh_source and fish_source.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

import sign_models
from sign_models.cli import commands


class Commands(click.Group):
    """Each module of this folder that is a command, imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in alphabetical order."""
        return sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py") if not file.stem.endswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = "import_" if cmd_name == "import" else cmd_name
        found: click.Command = import_module(f"entrypoints.{module}").main
        return found


@click.group("sign-models", cls=Commands, context_settings=commands.SETTINGS)
@click.version_option(sign_models.__version__)
def group() -> None:
    """Sign-language keypoints to text in trained, registered stages, tracked with MLflow."""


def main() -> None:
    """Run `sign-models`."""
    commands.run(group)


if __name__ == "__main__":
    main()

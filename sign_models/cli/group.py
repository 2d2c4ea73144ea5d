"""All commands by name, and under one name: `sign-models COMMAND`, or `python -m sign_models COMMAND`.

Shell completion: `eval "$(_SIGN_MODELS_COMPLETE=bash_source sign-models)"`; also zsh_source and fish_source.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import click

import sign_models
from sign_models.cli import commands, entry
from sign_models.stages.declaration import STAGES


def names() -> list[str]:
    """List the commands.

    Returns:
        Their names, in alphabetical order.
    """
    return sorted({*STAGES, *(module.name.rstrip("_") for module in iter_modules(entry.__path__))})


def command(name: str) -> click.Command:
    """Make a stage's command from its declaration, or import another command's module.

    Args:
        name: One of `names()`.

    Returns:
        The command.
    """
    if name in STAGES:
        return commands.stage_command(name)
    module = "import_" if name == "import" else name  # a keyword of Python is no module's name
    found: click.Command = import_module(f"{entry.__name__}.{module}").main
    return found


class Commands(click.Group):
    """Each command, made or imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands.

        Args:
            ctx: Of click.

        Returns:
            Their names, in alphabetical order.
        """
        return names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command.

        Args:
            ctx: Of click.
            cmd_name: Its name.

        Returns:
            The command; None where there is none of that name.
        """
        return command(cmd_name) if cmd_name in names() else None


@click.group("sign-models", cls=Commands, context_settings=commands.SETTINGS)
@click.version_option(sign_models.__version__)
def group() -> None:
    """Sign-language keypoints to text in trained, registered stages, tracked with MLflow."""

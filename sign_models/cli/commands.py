"""The shared pieces of the command line: options, parameters, messages, exit codes.

An entry point is one click command made with `command` and started with `run`. Values come in two forms: as people type
them (`--skip-trained`) and as MLproject passes them (`--skip-trained true`, `--epochs ''`, where '' means not given).
Neither torch nor MLflow is imported here: `--help` and a refusal answer at once.
"""

from __future__ import annotations

import atexit
import gc
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from sign_models import interruption
from sign_models.cli.scratch import scratch_folder
from sign_models.cli.terminal import printable_streams
from sign_models.cli.values import parse, to_arguments
from sign_models.errors import SignError
from sign_models.params import load
from sign_models.params.describe import parameters
from sign_models.params.schema import TRAINING_OPTIONS
from sign_models.pipeline.options import DEFAULT_ALIAS, Options
from sign_models.stages.declaration import STAGES, by_role, option_name, params_schema
from sign_models.tracking.process import guard_process, launched

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# `mlflow run -P batch_size=8` arrives as `--batch_size 8`.
SETTINGS: dict[str, Any] = {"max_content_width": 120, "token_normalize_func": lambda name: name.replace("_", "-")}


def option(name: str, help: str, **settings: Any) -> Decorator:
    """Make a text option. It is "" when not given, as MLproject passes it.

    Args:
        name: With its dashes.
        help: For --help.
        **settings: Of click.option.

    Returns:
        The decorator.
    """
    return click.option(name, default="", show_default=False, help=help, **settings)


def flag(name: str, help: str) -> Decorator:
    """Make an option that is given as `--name`, `--name true` or `--name false`.

    Args:
        name: With its dashes.
        help: For --help.

    Returns:
        The decorator.
    """
    return option(name, help, is_flag=False, flag_value="true", metavar="[true|false]")


INPUTS: tuple[Decorator, ...] = (
    option(
        "--data",
        "Folder with sign_language_keypoints.pkl, video_sequences.pkl and text_data.json.  [default: the corpus built "
        "from the clips that the package spoken-to-signed brings]",
        metavar="DIR",
    ),
    option("--keypoints", "Keypoints to train the skeleton model on; wins over --data.", metavar="FILE"),
    option("--videos", "Video sequences; wins over --data.", metavar="FILE"),
    option("--texts", "Texts of the videos; wins over --data.", metavar="FILE"),
)
GENERAL: tuple[Decorator, ...] = (
    option(
        "--preset",
        f"Settings kept under a name: {', '.join(load.presets())}; several are joined by commas.",
        metavar="NAME",
    ),
    option("--config-override", "YAML file with parameters that win over params/*.yaml and presets.", metavar="FILE"),
    flag("--candidate", "Move the alias candidate to the versions that are registered.  [default: true]"),
    option("--experiment", "MLflow experiment; not under mlflow run, which has --experiment-name.", metavar="NAME"),
    option("--relative-to", "Folder that relative paths count from.  [default: the working directory]", metavar="DIR"),
)
LICENSE = option("--license", "Of the data and so of the models, for their cards, e.g. cc-by-4.0.  [default: unknown]")
DATA, _, VIDEOS, TEXTS = INPUTS
EXPERIMENT, RELATIVE_TO = GENERAL[-2:]
SHORTS: dict[str, Decorator] = {
    "epochs": option("--epochs", "Passes over the training clips; ends an earlier --steps.", metavar="NUMBER"),
    "steps": option("--steps", "Optimizer steps; ends an earlier --epochs.", metavar="INTEGER"),
    "batch_size": option("--batch-size", "Clips a step; less where memory runs out.", metavar="INTEGER"),
    "lr": option("--lr", "Peak learning rate.", metavar="NUMBER"),
    "seed": option("--seed", "Of every random choice in training.", metavar="INTEGER"),
}
PROCESSES = option(
    "--processes", "Train in so many processes, each with a GPU where there is one.  [default: 1]", metavar="INTEGER"
)
PIPELINE: tuple[Decorator, ...] = (
    option("--stage", f"Run this stage only: {', '.join(STAGES)}.  [default: all, in this order]", metavar="STAGE"),
    flag("--skip-trained", "Leave out a stage where the registry holds what it would give again."),
    option(
        "--force",
        "Run this stage although --skip-trained would leave it out; several are joined by commas; 'all'.",
        metavar="STAGE",
    ),
    flag("--inference", "Run represent and generate too.  [default: true]"),
    click.option("--no-inference", is_flag=True, help="The same as --inference false."),
)


def upstream_option(role: str) -> Decorator:
    """Make the option that names a model or a file of an earlier stage to build on.

    Args:
        role: Of the model or file.

    Returns:
        The decorator.
    """
    producer, name = by_role()[role], f"--{option_name(role).replace('_', '-')}"
    if producer.registers:
        return option(
            name,
            f"The {role} model to build on: alias, version, run ID or MLflow URI.  [default: {DEFAULT_ALIAS}]",
            metavar="MODEL",
        )
    return option(
        name,
        f"Run ID of the {producer.name} run to read.  [default: the newest that fits model and data]",
        metavar="RUN",
    )


class _Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *arguments: Any, examples: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples.

        Args:
            ctx: Of click.
            formatter: That is written to.
        """
        lines = [line.strip() for line in self.examples.strip().splitlines()]
        if ctx.parent is not None:
            lines = list(dict.fromkeys(map(_of_the_group, lines)))
        formatter.write("\n".join(["", "Examples:", *(f"  {line}" for line in lines), ""]))


def _of_the_group(line: str) -> str:
    """A line of a checkout, `mlflow run` or `python -m entrypoints.NAME`, as an installed `sign-models` takes it."""
    line = re.sub(r"^python -m entrypoints\.", "sign-models ", line)
    line = re.sub(r"^mlflow run \.(?: -e (\S+))?", lambda found: f"sign-models {found[1] or 'pipeline'}", line)
    return re.sub(r" -P ([\w.]+)=", lambda found: f" --{found[1].replace('_', '-')} ", line)


class _StageCommand(_Command):
    """A command of a stage or the pipeline: its help ends with every parameter and its default."""

    def __init__(self, *arguments: Any, stage: str | None, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.stage = stage

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and parameters.

        Args:
            ctx: Of click.
            formatter: That is written to.
        """
        super().format_epilog(ctx, formatter)
        lines = []
        if self.stage is None:
            lines.append(
                "Parameters, e.g. --alignment.training.lr 1e-4: see docs/parameters.md or the --help of each stage."
            )
        else:
            lines.append("Parameters and defaults (presets change some):")
            for parameter in parameters(self.stage, params_schema()):
                lines.append(f"  --{parameter.name.partition('.')[2]} {parameter.default}")
                meaning = f"{parameter.meaning} [{parameter.accepts}]"
                lines += textwrap.wrap(meaning, formatter.width, initial_indent=" " * 6, subsequent_indent=" " * 6)
        formatter.write("\n" + "\n".join(lines) + "\n")


def command(stage: str | None, *, examples: str) -> Callable[[Callable[[Options], None]], click.Command]:
    """Make a function of Options a command, with the options that its stage declares.

    Args:
        stage: Its name. None: the pipeline.
        examples: For --help, a line each.

    Returns:
        The decorator.
    """
    shorts = STAGES[stage].short_options if stage else TRAINING_OPTIONS
    upstreams = STAGES[stage].upstream_roles if stage else ()

    def make(function: Callable[[Options], None]) -> click.Command:
        def callback(overrides: tuple[str, ...], **given: str) -> None:
            options = parse(stage, given, overrides)
            if options.processes > 1 and not launched():
                from sign_models.training.launch import launch

                module, *words = STAGES[stage].started_by if stage else ("sign_models", "pipeline")
                launch(options.processes, module, [*words, *to_arguments(given), *overrides])
            else:
                function(options)

        callback.__doc__ = function.__doc__
        decorators = [
            *INPUTS,
            *GENERAL,
            *(SHORTS[name] for name in shorts),
            *((PROCESSES,) if "seed" in shorts else ()),
            *((LICENSE,) if stage is None or STAGES[stage].registers else ()),
            *map(upstream_option, upstreams),
            *(PIPELINE if stage is None else ()),
            click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]..."),
        ]
        decorated: Any = callback
        for decorator in reversed(decorators):
            decorated = decorator(decorated)
        settings = {"ignore_unknown_options": True, **SETTINGS}
        make_command = click.command(
            stage or "pipeline", cls=_StageCommand, context_settings=settings, stage=stage, examples=examples
        )
        return make_command(decorated)

    return make


def stage_command(name: str) -> click.Command:
    """Make the command of one stage from its declaration.

    Args:
        name: Of the stage.

    Returns:
        The command.
    """

    def main(options: Options) -> None:
        from sign_models.pipeline import runner

        runner.run_single(name, options)

    main.__doc__ = STAGES[name].help
    return command(name, examples=STAGES[name].examples)(main)


VIDEO = click.argument("video", default="", metavar="[VIDEO]")  # short for --videos


SWEEP: tuple[Decorator, ...] = (
    option("--stage", "Whose parameters are searched.  [default: alignment]", metavar="STAGE"),
    option("--trials", "Trainings that end or are pruned.  [default: 20]", metavar="INTEGER"),
    option("--space", "YAML file: parameters, each with a range or a list of values; docs/sweep.md.", metavar="FILE"),
    option("--workers", "Trainings at once.  [default: 1]", metavar="INTEGER"),
    flag("--spark", "Train on Spark's executors.  [default: false]"),
    option("--study", "Name; the same name goes on.  [default: by all that is asked but trials]", metavar="NAME"),
    option("--sweep-seed", "Of the values that are tried.  [default: 0]", metavar="INTEGER"),
)


def sweep_command(examples: str) -> click.Command:
    """Make the command that searches a stage's parameters: its own options, and those of every training stage.

    Args:
        examples: For --help, a line each.

    Returns:
        The command.
    """
    roles = dict.fromkeys(role for stage in STAGES.values() if stage.trains for role in stage.upstream_roles)
    decorators = [
        *SWEEP,
        *INPUTS,
        *GENERAL,
        *SHORTS.values(),
        LICENSE,
        *map(upstream_option, roles),
        click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]..."),
    ]

    def main(overrides: tuple[str, ...], **given: str) -> None:
        """Search parameters of one stage; trials are child runs, the best version becomes the candidate."""
        from sign_models.cli.sweep import parse
        from sign_models.pipeline.sweep import run_sweep

        run_sweep(parse(given, overrides))

    decorated: Any = main
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    settings = {"ignore_unknown_options": True, **SETTINGS}
    return click.command("sweep", cls=_Command, context_settings=settings, examples=examples)(decorated)


def tool(name: str, *options: Decorator, examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command that knows no parameters of a stage.

    Args:
        name: Of the command.
        *options: That it has.
        examples: For --help, a line each.

    Returns:
        The decorator. The function gets the text of each option by name.
    """

    def make(function: Callable[..., None]) -> click.Command:
        decorated: Any = function
        for decorator in reversed((*options, EXPERIMENT, RELATIVE_TO)):
            decorated = decorator(decorated)
        return click.command(name, cls=_Command, context_settings=SETTINGS, examples=examples)(decorated)

    return make


def run(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 2 a mistake of the user's, in one message, 130 interrupted, 143 terminated.

    Args:
        command: The command.
        arguments: Of its command line. None: this process's.

    Raises:
        SystemExit: Always.
    """
    guard_process()
    atexit.register(gc.freeze)  # what is left ends with the process: to search it took a third of a second with torch
    with printable_streams():
        _run(command, arguments)


def _run(command: click.Command, arguments: Sequence[str] | None) -> NoReturn:
    """Run a command and end the process with its exit code: 0, 2 for a mistake, 128 + the signal that ended it."""
    try:
        with scratch_folder():
            command.main(args=list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except (SignError, click.ClickException) as error:
        if interruption.requested():  # a worker's end by Ctrl-C and the like
            _end_interrupted()
        if isinstance(error, click.ClickException):
            error.show()
        else:
            click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort, interruption.Terminated):
        _end_interrupted()
    finally:
        interruption.finish()
    sys.exit(0)


def _end_interrupted() -> NoReturn:
    click.echo("interrupted", err=True)
    sys.exit(128 + (interruption.requested() or signal.SIGINT))

"""What one command was asked to do, after its values were checked and its parameters resolved.

The command line makes an Options, the runner obeys it. No torch and no MLflow here: `--help` must stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sign_models.params.schema import PipelineParams

EMBEDDED = "embedded"  # preset of commands without data of their own
DEFAULT_ALIAS = "candidate"  # every successful training moves it


@dataclass(frozen=True)
class Options:
    """One command's wishes.

    params            of every stage; a command of one stage reads its own part.
    data              folder with the three input files; None, with the three below None too: the embedded corpus.
    keypoints, videos, texts: one input file each; wins over the file of that name in `data`.
    stage             the only stage a pipeline runs; None: all.
    skip_trained      leave out a stage where the registry holds what it would give again.
    inference         run `represent` and `generate` too.
    force             stages that run although skip_trained would leave them out; may hold "all".
    upstream          role -> what to build on. A model by alias, version, run ID or MLflow URI, the candidate where not
                      given; a file by the ID of its run, the newest that fits where not given.
    experiment        MLflow experiment's name; "": the one of `mlflow run`, or the default.
    preset, config_override: as asked, for the record; `params` already holds what they say.
    processes         that train together; what torchrun has started is one of them, whatever this says.
    candidate         move the alias `candidate` to the versions that are registered.
    license           of the data and so of the models, for their cards; "": unknown.
    """

    params: PipelineParams
    data: Path | None = None
    keypoints: Path | None = None
    videos: Path | None = None
    texts: Path | None = None
    stage: str | None = None
    skip_trained: bool = False
    inference: bool = True
    force: tuple[str, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    experiment: str = ""
    preset: str = ""
    config_override: Path | None = None
    processes: int = 1
    candidate: bool = True
    license: str = ""

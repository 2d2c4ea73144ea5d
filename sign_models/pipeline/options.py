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
    """Options of one command.

    Attributes:
        params: Parameters of every stage. A command of one stage reads its own section.
        data: Folder with the three input files. None, and the three below None too: the embedded corpus.
        keypoints: Clips of the skeleton stage, instead of those in `data`.
        videos: Videos, instead of those in `data`.
        texts: Texts, instead of those in `data`.
        stage: The only stage that a pipeline runs. None: all.
        skip_trained: Skip a stage whose result is in the registry already.
        inference: Run `represent` and `generate` too.
        force: Stages that run although skip_trained would skip them. May hold "all".
        upstream: What to build on, by role. A model: alias, version, run ID or MLflow URI; by default the candidate.
            A file: ID of the run that wrote it; by default the newest that fits.
        experiment: Name of the MLflow experiment. "": the one of `mlflow run`, or the default.
        preset: As asked, for the record: `params` holds its values.
        config_override: As asked, for the record: `params` holds its values.
        processes: Processes that train together. Under torchrun, torchrun's count.
        candidate: Move the alias `candidate` to the versions that are registered.
        license: License of the data and so of the models, for their cards. "": unknown.
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

"""What `import sign_models` offers to Python programs and notebooks: load, translate, read, train."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sign_models.errors import DataError, ParamsError, UpstreamError
from sign_models.keypoints import formats
from sign_models.keypoints.extractor import check_extractor
from sign_models.keypoints.sequence import KeypointSequence, Unit
from sign_models.params.load import resolve as resolve_params
from sign_models.pipeline.options import EMBEDDED, Options
from sign_models.pipeline.translate import CHAMPION, clips, segments
from sign_models.stages.declaration import STAGES, params_schema
from sign_models.tracking.registered import hub
from sign_models.tracking.registered.registry import CONFIG, resolve, trained_on, trained_parts
from sign_models.tracking.store import load_mlflow
from sign_models.video.captions import Segment
from sign_models.video.decode import SUFFIXES

if TYPE_CHECKING:
    from sign_models.serving.predictor import Predictor

logger = logging.getLogger(__name__)
__all__ = ["Segment", "Translator", "load", "read", "train"]


class Translator:
    """A trained translator in memory. `load` makes it.

    Attributes:
        uri: The registered version, or the folder, that it was loaded from.
    """

    def __init__(
        self,
        predictor: Predictor,
        uri: str,
        extractors: Collection[str | None] | None = None,
        parts: Collection[str] = (),
    ) -> None:
        """Wrap a loaded model.

        Args:
            predictor: The model, loaded.
            uri: Where it comes from.
            extractors: Of the clips that it was trained on; None where that is not known.
            parts: Of the body, that these clips show: a face is looked for in videos where they show one.
        """
        self._predictor, self.uri, self._extractors, self._parts = predictor, uri, extractors, parts

    def translate(
        self,
        clip: str | Path | KeypointSequence,
        *,
        beams: int | None = None,
        n_best: int = 1,
        reject_below: float | None = None,
    ) -> list[Segment]:
        """Translate one clip. A long clip is translated in several windows, one segment each.

        Args:
            clip: A file with keypoints of one clip, a video, or a clip that `read` gave.
            beams: Beam width of the search. None: as the model was trained to.
            n_best: How many texts a segment has, its own and those in `segment.n_best`; for clips of one window.
            reject_below: Confidence below which no text is given. None: as the model was trained to. 0: never.

        Returns:
            Segments in order, with start and end in seconds, text, and confidence from 0 to 1. Empty where the clip
            shows no signing. A segment that is not sure enough is `unsure`, its text "", and what it would be the first
            of its `n_best`.

        Raises:
            DataError: The clip cannot be used, or the file holds several clips.
            ParamsError: beams or n_best is less than 1, or reject_below is not from 0 to 1.
        """
        if reject_below is not None and not 0 <= reject_below <= 1:
            raise ParamsError(f"{reject_below}", place="reject_below", wanted="0 to 1")
        for name, value in {"beams": beams, "n_best": n_best}.items():
            if value is not None and value < 1:
                raise ParamsError(f"{value}", place=name, wanted="1 or more")
        if not isinstance(clip, KeypointSequence):
            found = _of_video(Path(clip), "face" in self._parts) if _is_video(clip) else read(clip)
            if len(found) != 1:
                raise DataError(
                    f"{len(found)} clips",
                    place=str(clip),
                    wanted="one",
                    remedy="translate each: `for clip in sign_models.read(path): translator.translate(clip)`",
                )
            (clip,) = found
        if self._extractors is not None and (warning := check_extractor(clip, self._extractors)):
            logger.warning("%s: %s", clip.id, warning)
        [answer] = self._predictor.predict([clip], beams=beams, n_best=n_best, windows=True, reject_below=reject_below)
        return segments(answer, clip)

    def __repr__(self) -> str:
        return f"Translator({self.uri!r})"


def load(model: str | Path = CHAMPION) -> Translator:
    """Load a translator.

    Args:
        model: A version of `sign-translator` in the registry: an MLflow URI such as `models:/sign-translator@champion`,
            an alias, a version or a run ID. Or `hf://user/name` on the Hugging Face Hub, also with `@REVISION`, or a
            folder, as `publish` writes them. The registry is that of MLFLOW_TRACKING_URI, else mlflow.db in the
            working directory.

    Returns:
        The translator.

    Raises:
        UpstreamError: There is no such version, it is no translator, or its files are not those that were made.
        ResourceError: The Hub cannot be reached.
    """
    uri = str(model)
    folder, uri = hub.fetch(uri) if uri.startswith(hub.SCHEME) else (Path(uri), uri)
    if (folder / hub.MANIFEST).is_file():
        manifest = hub.check(folder)
        return Translator(_translator(folder), uri, manifest.extractors, manifest.parts)
    if (folder / CONFIG).is_file():
        return Translator(_translator(folder), uri)
    load_mlflow()
    found = resolve(uri, "translator")
    return Translator(_translator(found.path()), found.uri, trained_on(found.tags), trained_parts(found.tags))


def _translator(folder: Path) -> Predictor:
    from sign_models.serving import load as load_predictor

    predictor = load_predictor(folder)
    if not hasattr(predictor.model, "translate"):
        raise UpstreamError(f"a {type(predictor.model).__name__}", place=str(folder), wanted="a translator")
    return predictor


def read(
    path: str | Path,
    *,
    layout: str | None = None,
    fps: float | None = None,
    unit: Unit | None = None,
    size: tuple[float, float] | None = None,
) -> list[KeypointSequence]:
    """Read the clips of a file or folder: keypoints in any known format, or videos (with the extra `video`).

    Args:
        path: The file or folder.
        layout: Names of the landmarks, for files that do not state them: a layout's name or the path of a YAML file.
        fps: Frames per second, for files that do not state it.
        unit: Of the coordinates, for files that do not state it: "pixel", "normalized" or "centered".
        size: Width and height of the picture in pixels, for files that do not state it.

    Returns:
        The clips, in a stable order.

    Raises:
        DataError: The path holds no keypoints, or a clip cannot be used.
    """
    if _is_video(path):
        return _of_video(Path(path))
    return list(formats.read(path, layout=layout, fps=fps, unit=unit, size=size))


def _is_video(path: str | Path) -> bool:
    return Path(path).suffix.lower() in SUFFIXES


def _of_video(path: Path, face: bool = False) -> list[KeypointSequence]:
    """The clip of a video; what its extraction reports is logged."""
    with tempfile.TemporaryDirectory(prefix="sign-models-") as scratch:
        found = list(clips(path, Path(scratch), face=face))
    for clip in found:
        for told in clip.look_at:
            logger.warning("%s: %s", clip.sequence.id, told)
    return [clip.sequence for clip in found]


def train(
    data: str | Path | None = None,
    *,
    stage: str | None = None,
    preset: str = "",
    params: Mapping[str, object] | None = None,
    skip_trained: bool = False,
    experiment: str = "",
) -> dict[str, str]:
    """Train the stages, or one of them, as one MLflow run, and register what they make.

    Args:
        data: Folder with the three input files. None: the embedded corpus.
        stage: The only stage to run. None: all, in order.
        preset: Settings kept under a name, such as "quick" or "base"; several are joined by commas.
        params: Value by dotted name, such as {"alignment.training.lr": 1e-4}; docs/parameters.md lists them.
        skip_trained: Leave out a stage where the registry holds what it would give again.
        experiment: Name of the MLflow experiment. "": MLflow's default.

    Returns:
        URI of the registered version by role: "skeleton", "temporal", "alignment" and "translator".

    Raises:
        ParamsError: A stage, preset or parameter does not exist or has a wrong value. Nothing has run.
        DataError: The data cannot be used.
    """
    from sign_models.pipeline.runner import run_pipeline

    if stage is not None and stage not in STAGES:
        raise ParamsError(f"{stage!r} does not exist", place="stage", wanted=f"one of {', '.join(STAGES)}")
    presets = ",".join(filter(None, (EMBEDDED if data is None else "", preset)))
    sets = {name: _text(value) for name, value in (params or {}).items()}
    options = Options(
        params=resolve_params(stage, presets, None, sets, (), params_schema()),
        data=None if data is None else Path(data),
        stage=stage,
        skip_trained=skip_trained,
        experiment=experiment,
        preset=presets,
    )
    made = run_pipeline(options)
    return {output.stage.made_role: output.model.uri for output in made if output.model}


def _text(value: object) -> str:
    """A parameter's value as it would be typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

"""The phase before all others: files of keypoints to a store, as one MLflow run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sign_models.datasets.importing import DEFAULT_RULES, ImportRules, import_corpus
from sign_models.datasets.store import open_store, store_digest
from sign_models.keypoints.formats.files.source import DEFAULT_OPTIONS, ReadOptions
from sign_models.pipeline.progress import frame_progress
from sign_models.tracking.runs import stage_run


@dataclass(frozen=True)
class ImportOptions:
    """Options of the command `import`.

    Attributes:
        source: File or folder of keypoints.
        out: Folder of the store.
        rules: What becomes of the clips.
        reading: What the files do not state.
        workers: Processes that read. None: as many as help.
        experiment: Name of the MLflow experiment. "": the default.
    """

    source: Path
    out: Path
    rules: ImportRules = DEFAULT_RULES
    reading: ReadOptions = DEFAULT_OPTIONS
    workers: int | None = None
    experiment: str = ""


def run_import(options: ImportOptions) -> None:
    """Write the store, print its report and log it as an artifact.

    Args:
        options: Of the command.
    """
    o = options
    with stage_run("import", experiment=o.experiment or None) as run:
        run.log_code_state()
        with frame_progress("import", unit_scale=True) as progress:
            report = import_corpus(o.source, o.out, o.rules, reading=o.reading, workers=o.workers, progress=progress)
        digest, profile = store_digest(o.out), {name: report.numbers[name] for name in ("clips", "frames")}
        run.log_dataset("store", digest, "import", profile, str(o.source))
        run.log_artifacts(o.out / "report", "report")
        run.describe(f"Keypoints of `{o.source}` to the store `{o.out}`.\n\n{report.markdown()}")
        run.log_metrics(report.metrics() | {"frames_per_second": progress.frames_per_second}, 0)
    print(report.markdown())
    print(f"{o.out}: {profile['clips']} clips, digest {digest[:12]}")


def run_verify(path: Path) -> None:
    """Check every byte of a store.

    Args:
        path: Of the store.

    Raises:
        DataError: It names the first byte that differs.
    """
    corpus = open_store(path, full=True)
    print(f"{path}: every byte as written; {len(corpus)} clips, {len(corpus.frames)} frames")

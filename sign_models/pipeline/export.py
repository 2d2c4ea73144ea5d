"""A version of the translator as ONNX graphs, for runtimes other than torch."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sign_models.errors import ResourceError, UpstreamError
from sign_models.keypoints.example import example_clips
from sign_models.pipeline.runner import to_terminal
from sign_models.tracking.registered.registry import resolve
from sign_models.tracking.runs import stage_run

FORMATS = ("onnx",)


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and where.

    Attributes:
        version: As the registry resolves it.
        out: A folder that is not there yet, or is empty.
        int8: Whether weights get 8 bits.
    """

    version: str
    out: Path
    int8: bool
    experiment: str


def run_export(options: ExportOptions) -> None:
    """Write one version, after onnxruntime has given the same texts as torch for the drawn clips.

    Args:
        options: Of the command.

    Raises:
        UpstreamError: No such version, the folder holds files, or the texts differ.
        ResourceError: The optional extra is not installed.
    """
    o = options
    to_terminal()
    if o.out.exists() and (not o.out.is_dir() or any(o.out.iterdir())):
        raise UpstreamError("holds files", place=str(o.out), wanted="a new or empty folder", remedy="choose another")
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'sign-models[onnx]', or make setup"
        raise ResourceError(f"{error.name} is not installed", place="export", remedy=remedy) from error
    with stage_run("export", experiment=o.experiment or None) as run:
        version = resolve(o.version, "translator")
        from sign_models.models import storage
        from sign_models.models.export import export_onnx
        from sign_models.serving import load
        from sign_models.serving.exported import ExportedTranslator, quantize

        predictor = load(version.path())
        run.link_inputs([version.model_id])
        with tempfile.TemporaryDirectory(prefix="sign-export-") as scratch:
            folder = Path(scratch, "exported")  # whose permissions are the usual ones
            export_onnx(storage.load(version.path()), folder)
            sizes = {"torch_mb": (version.path() / "model.safetensors").stat().st_size / 1e6}
            sizes["float32_mb"] = _megabytes(folder)
            if o.int8:
                quantize(folder)
                sizes["int8_mb"] = _megabytes(folder)
            clips = example_clips()
            wanted = [
                [(*w["frames"], w["text"] or w.get("guess", ""), w.get("unsure", False)) for w in answer["windows"]]
                for answer in predictor.predict(clips, windows=True)
            ]
            exported = ExportedTranslator(folder)
            found = [[(s.begin, s.end, s.text or s.guess, s.unsure) for s in exported.translate(c)] for c in clips]
            alike = sum(one == other for one, other in zip(found, wanted, strict=True))
            if not o.int8 and alike < len(clips):
                raise UpstreamError(
                    f"onnxruntime reads {len(clips) - alike} of {len(clips)} drawn clips otherwise than torch",
                    place=version.uri,
                    wanted="the same texts, and sure of the same ones",
                )
            shutil.copytree(folder, o.out, dirs_exist_ok=True)
        run.log_metrics({**sizes, "same_texts": alike / len(clips)}, 0)
        run.set_tags({"sign.exported": str(o.out), "sign.exported.version": version.uri})
        told = f"{version.uri} is exported to {o.out}: " + ", ".join(f"{k} {v:.3g}" for k, v in sizes.items())
        told += f"\n{alike} of {len(clips)} drawn clips read as torch reads them"
        run.describe(f"A version as ONNX graphs.\n\n```\n{told}\n```")
        print(f"{told}\n\nrun {run.id}")


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("*.onnx")) / 1e6

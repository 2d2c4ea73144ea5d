"""A version of the translator for others: a folder in the layout of the Hugging Face Hub, or a repository there."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from sign_models.errors import UpstreamError
from sign_models.pipeline.runner import to_terminal
from sign_models.tracking import hub
from sign_models.tracking.registration import smoke_test, version_card
from sign_models.tracking.registry import ModelRef, resolve
from sign_models.tracking.runs import stage_run

FRONT_MATTER = """---
library_name: sign-models
license: {license}
tags: [sign-language, sign-language-translation, keypoints, pytorch]
---
# {title}
"""


@dataclass(frozen=True)
class PublishOptions:
    """What to publish, and where.

    Attributes:
        version: As the registry resolves it.
        repo: A folder, or `user/name` on the Hub.
        private: Of a repository that is made.
        replace: Write over another publication in the folder; add a commit to a repository with other content.
    """

    version: str
    repo: Path | str
    private: bool
    replace: bool
    experiment: str


def run_publish(options: PublishOptions) -> None:
    """Write or upload one version, after it was checked and answered its example.

    Args:
        options: Of the command.

    Raises:
        UpstreamError: No such version, or the folder or repository holds something else.
        ResourceError: The Hub cannot be reached.
    """
    o = options
    to_terminal()
    with stage_run("publish", experiment=o.experiment or None) as run:
        version = resolve(o.version, "translator")
        smoke_test(version)
        run.link_inputs([version.model_id])
        if isinstance(o.repo, Path):
            uri = str(o.repo)
            manifest = _to_folder(version, o.repo, o.replace)
        else:
            with tempfile.TemporaryDirectory(prefix="sign-publish-") as scratch:
                manifest = hub.write(version, card(version, f"{hub.SCHEME}{o.repo}"), Path(scratch))
                uri = hub.push(Path(scratch), o.repo, private=o.private, replace=o.replace)
        run.set_tags({"sign.published": uri, "sign.published.version": version.uri})
        run.log_dict(asdict(manifest), hub.MANIFEST)
        told = f"{version.uri} is published: {uri}\nload   sign_models.load({uri!r})"
        run.describe(f"A version for others, in Hugging Face's layout.\n\n```\n{told}\n```")
        print(f"{told}\n\nrun {run.id}")


def card(version: ModelRef, place: str) -> str:
    """The README.md of a publication: that of the registry, with what the Hub reads before it.

    Args:
        version: What is published.
        place: Where to.

    Returns:
        Markdown.
    """
    text = version_card(version, version.metrics(), place)
    stated = "| license | not stated" not in text
    return FRONT_MATTER.format(license="other" if stated else "unknown", title=Path(place).name) + "\n" + text + "\n"


def _to_folder(version: ModelRef, folder: Path, replace: bool) -> hub.Manifest:
    """Write into a new or empty folder, or over another publication; never over anything else."""
    held = [path for path in folder.iterdir() if path.name != ".git"] if folder.is_dir() else []
    if (folder / hub.MANIFEST).is_file():
        if hub.holds(folder, manifest := hub.manifest_of(version)):
            return manifest
        if not replace:
            raise hub.holds_other(str(folder), len(held))
    elif held or (folder.exists() and not folder.is_dir()):
        raise UpstreamError(
            "is a file" if not folder.is_dir() else "holds other files",
            place=str(folder),
            wanted="a new or empty folder, or one that publish wrote",
            remedy="choose another",
        )
    return hub.write(version, card(version, str(folder)), folder)

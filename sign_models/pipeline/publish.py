"""A version of the translator for others: a folder in the layout of the Hugging Face Hub, or a repository there."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from sign_models.errors import UpstreamError
from sign_models.pipeline.runner import to_terminal
from sign_models.tracking.registered import hub
from sign_models.tracking.registered.registration import smoke_test, version_card
from sign_models.tracking.registered.registry import ModelRef, resolve
from sign_models.tracking.runs import stage_run

# Names that the Hub has for licences. Another one is `other` there, with its own name beside it.
HUB_LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsl-1.0 cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
c-uda gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 odbl odc-by openrail pddl unknown unlicense wtfpl
""".split()
FRONT_MATTER = """---
library_name: sign-models
{license}
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
        license: Of the model. "": as the version states it.
    """

    version: str
    repo: Path | str
    private: bool
    replace: bool
    experiment: str
    license: str = ""


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
        manifest = hub.manifest_of(version, o.license)
        if isinstance(o.repo, Path):
            uri = str(o.repo)
            _to_folder(version, manifest, o.repo, o.replace)
        else:
            with tempfile.TemporaryDirectory(prefix="sign-publish-") as scratch:
                text = card(version, f"{hub.SCHEME}{o.repo}", manifest.license)
                hub.write(version, manifest, text, Path(scratch))
                uri = hub.push(Path(scratch), o.repo, private=o.private, replace=o.replace)
        run.set_tags({"sign.published": uri, "sign.published.version": version.uri})
        run.log_dict(asdict(manifest), hub.MANIFEST)
        told = f"{version.uri} is published: {uri}\nload   sign_models.load({uri!r})"
        run.describe(f"A version for others, in Hugging Face's layout.\n\n```\n{told}\n```")
        print(f"{told}\n\nrun {run.id}")


def card(version: ModelRef, place: str, license: str) -> str:
    """The README.md of a publication: that of the registry, with what the Hub reads before it.

    Args:
        version: What is published.
        place: Where to.
        license: Of the model, or "unknown".

    Returns:
        Markdown.
    """
    text = version_card(version, version.metrics(), place, "" if license == hub.UNKNOWN else license)
    known = license.lower() in HUB_LICENSES
    told = f"license: {license.lower()}" if known else f"license: other\nlicense_name: {json.dumps(license)}"
    return FRONT_MATTER.format(license=told, title=Path(place).name) + "\n" + text + "\n"


def _to_folder(version: ModelRef, manifest: hub.Manifest, folder: Path, replace: bool) -> None:
    """Write into a new or empty folder, or over another publication; never over anything else."""
    held = [path for path in folder.iterdir() if path.name != ".git"] if folder.is_dir() else []
    if (folder / hub.MANIFEST).is_file():
        if hub.holds(folder, manifest):
            return
        if not replace:
            raise hub.holds_other(str(folder), len(held))
    elif held or (folder.exists() and not folder.is_dir()):
        raise UpstreamError(
            "is a file" if not folder.is_dir() else "holds other files",
            place=str(folder),
            wanted="a new or empty folder, or one that publish wrote",
            remedy="choose another",
        )
    hub.write(version, manifest, card(version, str(folder), manifest.license), folder)

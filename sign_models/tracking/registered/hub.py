"""Translators on the Hugging Face Hub, or in a folder of the Hub's layout: written, checked, uploaded, fetched.

A publication holds the files that models.storage reads, a model card, and a manifest with the sha256 of each file. No
file is fetched that the manifest does not name, and none is executed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sign_models
from sign_models.errors import ResourceError, SignError, UpstreamError
from sign_models.keypoints.extractor import FORM
from sign_models.keypoints.layouts import PARTS
from sign_models.models.hub_access import hub_unreachable, reach_hub
from sign_models.tracking.registered.registry import (
    CONFIG,
    LICENSE,
    WEIGHTS,
    ModelRef,
    trained_fps,
    trained_on,
    trained_parts,
)
from sign_models.tracking.store import file_digests

MANIFEST, CARD = "sign_models.json", "README.md"
SCHEME = "hf://"
UNKNOWN = "unknown"  # licence
FOLDERS = ("text", "tokenizer")  # as models.storage names them
LISTED = re.compile(rf"{re.escape(CONFIG)}|{re.escape(WEIGHTS)}|({'|'.join(FOLDERS)})/\w[\w.-]*")
REPO = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
MAX_MANIFEST_BYTES = 2**20
TOKEN = "`hf auth login`, or set HF_TOKEN to a token that may write there"


@dataclass(frozen=True)
class Manifest:
    """What a publication says of itself.

    Attributes:
        version: The registered version that was published.
        package: The version of this package that published it.
        files: Path -> sha256 of each file that makes up the model.
        extractors: Of the clips that it was trained on.
        fps: Frames a second of those clips, their median; None where not known.
        license: Of the model; "unknown" where nobody states it.
        parts: Of the body, that these clips show.
    """

    version: str
    package: str
    files: dict[str, str]
    extractors: list[str | None]
    fps: float | None
    license: str = UNKNOWN
    parts: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Write the manifest. Equal publications give equal texts.

        Returns:
            The text of the file.
        """
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def manifest_of(version: ModelRef, license: str = "") -> Manifest:
    """Describe what is published of a version, and compare its files with those that were registered.

    Args:
        version: A version of the translator.
        license: Of the model. "": as the version's tag says it.

    Returns:
        The manifest.

    Raises:
        UpstreamError: The files are gone or changed.
    """
    files = model_files(version.path())
    tags, stated = version.tags, license or version.tags.get(LICENSE) or UNKNOWN
    return Manifest(
        version.uri, sign_models.__version__, files, trained_on(tags), trained_fps(tags), stated, trained_parts(tags)
    )


def model_files(folder: Path) -> dict[str, str]:
    """Find the files in a folder that loading a model may read.

    Args:
        folder: Of a model.

    Returns:
        sha256 of each by its path.
    """
    held = file_digests(folder, (CONFIG, WEIGHTS))
    for part in FOLDERS:
        held |= {f"{part}/{name}": digest for name, digest in file_digests(folder / part).items()}
    return held


def write(version: ModelRef, manifest: Manifest, card: str, folder: Path) -> None:
    """Write a publication into `folder`. Files of other names in it stay as they are.

    The manifest is written first: a folder that was cut short differs from it, and is refused when it is loaded.

    Args:
        version: A version of the translator.
        manifest: What manifest_of() says of it.
        card: The text of the model card.
        folder: Made where there is none.
    """
    source = version.path()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(manifest.as_json(), encoding="utf-8")
    for part in FOLDERS:
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in manifest.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    (folder / CARD).write_text(card, encoding="utf-8")


def check(folder: Path) -> Manifest:
    """Compare the files of a publication with its manifest.

    Args:
        folder: Of the publication.

    Returns:
        The manifest.

    Raises:
        UpstreamError: The manifest is none, or a file is missing, was changed or was added.
    """
    manifest = _read(folder / MANIFEST)
    found = model_files(folder)
    differing = sorted({name for name, _ in found.items() ^ manifest.files.items()})
    if differing:
        name = differing[0]
        said = "is missing" if name not in found else "was changed" if name in manifest.files else "was added"
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise UpstreamError(
            f"{name} {said}{more}",
            place=str(folder),
            wanted=f"the files whose sha256 {MANIFEST} tells",
            remedy="publish or download it again",
        )
    return manifest


def holds(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder is this very publication, whole.

    Args:
        folder: The folder.
        manifest: Of the publication.

    Returns:
        Whether it is.
    """
    try:
        return check(folder) == manifest
    except UpstreamError:
        return False


def fetch(uri: str) -> tuple[Path, str]:
    """Download a publication into the Hub's cache, or find it there.

    Args:
        uri: `hf://user/name`, or `hf://user/name@REVISION` with a branch, tag or commit.

    Returns:
        Its folder, whose files are not checked yet, and its URI with the commit.

    Raises:
        UpstreamError: There is no such repository, or it holds no publication.
        ResourceError: The Hub cannot be reached, and the cache does not hold it.
    """
    repo, revision = split_uri(uri)
    with translate_hub_errors(uri):
        from huggingface_hub import hf_hub_download, snapshot_download

        cached = not reach_hub(uri, repo, MANIFEST, revision)
        first = Path(hf_hub_download(repo, MANIFEST, revision=revision, local_files_only=cached))
        commit = first.parent.name
        wanted = [MANIFEST, *_read(first).files]
        folder = Path(snapshot_download(repo, revision=commit, allow_patterns=wanted, local_files_only=cached))
    return folder, f"{SCHEME}{repo}@{commit}"


def push(folder: Path, repo: str, *, private: bool, replace: bool) -> str:
    """Upload a publication as one commit.

    Args:
        folder: As `write` left it.
        repo: `user/name`; made where there is none.
        private: Of a repository that is made.
        replace: Whether a repository with other content gets a new commit. Its history keeps what it held.

    Returns:
        URI with the commit, that of the Hub where it holds the same publication already.

    Raises:
        UpstreamError: There is no token, it may not write there, or the repository holds something else.
        ResourceError: The Hub cannot be reached.
    """
    uri = f"{SCHEME}{repo}"
    with translate_hub_errors(uri):
        from huggingface_hub import HfApi, get_token, hf_hub_download

        if get_token() is None:
            raise UpstreamError("no token for the Hub", place=uri, wanted="one that may write there", remedy=TOKEN)
        api = HfApi()
        if not api.repo_exists(repo):
            api.create_repo(repo, private=private)
        there = api.model_info(repo)
        held = {file.rfilename for file in there.siblings or []} - {".gitattributes"}
        if MANIFEST in held:
            manifest = Path(hf_hub_download(repo, MANIFEST, revision=there.sha))
            if manifest.read_bytes() == (folder / MANIFEST).read_bytes():
                return f"{uri}@{there.sha}"
        if held and not replace:
            raise holds_other(uri, len(held))
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message=f"Publish {_read(folder / MANIFEST).version}",
            delete_patterns=[f"{part}/*" for part in FOLDERS],
            parent_commit=there.sha,  # somebody else's commit since then is not written over
        )
    return f"{uri}@{done.oid}"


def holds_other(place: str, files: int) -> UpstreamError:
    """Refuse to write over what is not the same publication.

    Args:
        place: What would be written over.
        files: How many files it holds.

    Returns:
        The error to raise.
    """
    return UpstreamError(
        f"exists, and its {files} file{'s' if files > 1 else ''} are not this version",
        place=place,
        wanted="a new name, or the same version",
        remedy="choose another, or add -P replace=true (--replace)",
    )


def split_uri(uri: str) -> tuple[str, str | None]:
    """Read `hf://user/name@REVISION`.

    Args:
        uri: The URI.

    Returns:
        "user/name", and the revision, None where it names none.

    Raises:
        UpstreamError: It is no such URI.
    """
    found = REPO.fullmatch(uri.removeprefix(SCHEME))
    if not found:
        raise UpstreamError(f"{uri!r}", place="model", wanted="hf://user/name or hf://user/name@REVISION")
    return found["repo"], found["revision"]


def _read(file: Path) -> Manifest:
    """The manifest of a downloaded folder. DataError where it is none of this package's, or names what it may not."""
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {MAX_MANIFEST_BYTES} bytes")
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        manifest = Manifest(**content)
        for name in manifest.extractors:
            if name is not None and not FORM.fullmatch(name):
                raise ValueError(f"names the extractor {name[:80]!r}")
        for name in manifest.files:
            if not LISTED.fullmatch(name):
                raise ValueError(f"names the file {name[:80]!r}")
        if unknown := set(manifest.parts) - PARTS.keys():
            raise ValueError(f"names the parts {str(unknown)[:80]}")
        if not {CONFIG, WEIGHTS} <= manifest.files.keys():
            raise ValueError(f"names no {CONFIG} or no {WEIGHTS}")
        return manifest
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UpstreamError(
            f"cannot be read ({str(error)[:200]})",
            place=str(file),
            wanted="a manifest that `publish` wrote",
            remedy="publish the model again, with this version",
        ) from error


@contextmanager
def translate_hub_errors(place: str) -> Iterator[None]:
    """Raise what huggingface_hub raises as one of our errors.

    Args:
        place: What is done, for the message.

    Yields:
        Nothing.
    """
    from huggingface_hub import errors

    try:
        yield
    except SignError:
        raise
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise hub_unreachable(place, error) from error
    except errors.GatedRepoError as error:
        raise UpstreamError("is gated", place=place, wanted="access", remedy="ask for it on its page") from error
    except errors.RepositoryNotFoundError as error:
        remedy = f"check the name; a private one needs {TOKEN}"
        raise UpstreamError("no such repository", place=place, wanted="user/name", remedy=remedy) from error
    except errors.RevisionNotFoundError as error:
        raise UpstreamError("no such revision", place=place, wanted="a branch, tag or commit") from error
    except errors.EntryNotFoundError as error:
        wanted = f"a repository with {MANIFEST}, made by `publish`"
        raise UpstreamError("no translator of this project", place=place, wanted=wanted) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = str(error.server_message or error).strip().splitlines()[0][:200]
        if status in (401, 403):
            wanted = "a token that may write there"
            raise UpstreamError(f"refused ({status}: {said})", place=place, wanted=wanted, remedy=TOKEN) from error
        raise ResourceError(f"the Hub answers {status}: {said}", place=place, remedy="try again later") from error
    except errors.HFValidationError as error:
        raise UpstreamError(str(error).splitlines()[0][:200], place=place, wanted="user/name") from error
    except (
        errors.HTTPError,
        ConnectionError,
        TimeoutError,
    ) as error:  # of httpx, and of hf_xet, which sends the weights
        raise hub_unreachable(place, error) from error

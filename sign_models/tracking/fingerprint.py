"""What a trained model depends on, as one fingerprint: equal fingerprints give equal models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from sign_models.errors import UpstreamError
from sign_models.stages.declaration import model_names
from sign_models.tracking.registered.registry import ModelRef, ready, versions_of
from sign_models.tracking.runs import STAGE
from sign_models.tracking.store import client
from sign_models.tracking.store_errors import translate_store_errors

SHA = "sign.fingerprint"
FILE = "fingerprint.json"  # artifact of the run: what the fingerprint is made of
FIELDS = "sign.fingerprint.fields"  # tag that held it until 0.1.0
MAX_REASONS = 3  # versions whose differences are told


@dataclass(frozen=True)
class Fingerprint:
    """A fingerprint of work.

    Attributes:
        stage: The stage.
        fields: Value by dotted name; digests and long values are shortened.
        sha256: Over the whole values.
    """

    stage: str
    fields: dict[str, str]
    sha256: str

    def tags(self) -> dict[str, str]:
        """Tags of the run and of the version that it trains.

        Returns:
            Value by name.
        """
        return {SHA: self.sha256}


def fingerprint(
    stage: str, params: Mapping[str, object], upstream: Mapping[str, str], data: str, source: str
) -> Fingerprint:
    """Take the fingerprint of work.

    Args:
        stage: The stage.
        params: By dotted name, without those that only say how to execute.
        upstream: Digest of contents by role.
        data: Digest of the inputs.
        source: Digest of the code.

    Returns:
        The fingerprint.
    """
    whole = {f"params.{name}": str(value) for name, value in params.items()}
    whole |= {f"upstream.{role}": content for role, content in upstream.items()}
    whole |= {"data": data, "source": source, "stage": stage}
    text = json.dumps(whole, sort_keys=True)
    return Fingerprint(stage, {k: _short(v) for k, v in whole.items()}, hashlib.sha256(text.encode()).hexdigest())


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:12]}"


def find_trained(wanted: Fingerprint) -> tuple[ModelRef | None, list[str]]:
    """Find the newest READY version with a fingerprint.

    Args:
        wanted: The fingerprint.

    Returns:
        The version and no reasons; or None, and why each of the newest versions is not it.

    Raises:
        ResourceError: The store does not answer.
    """
    name = model_names()[wanted.stage]
    reasons: list[str] = []
    with translate_store_errors(f"looking for a trained {name}"):
        versions = versions_of(name)
        for version in sorted(versions, key=lambda v: v.tags.get(SHA) != wanted.sha256):
            same = version.tags.get(SHA) == wanted.sha256
            if not same and len(reasons) >= MAX_REASONS:
                break
            try:
                found = ready(version, wanted.sha256[:12], wanted.stage)
                if not same:
                    reasons.append(f"version {version.version}: {_difference(fields_of(found), wanted.fields)}")
                elif _cut_off(found.run_id):
                    reasons.append(f"version {version.version}: its run was cut off")  # and no alias may have moved
                elif found.has_files():
                    return found, []
                else:
                    reasons.append(f"version {version.version}: the files of this version are gone from the store")
            except UpstreamError as error:
                reasons.append(f"version {version.version}: {error.found}")
    return None, reasons or [f"no version of {name} exists"]


def _cut_off(run_id: str) -> bool:
    import mlflow

    try:
        return bool(client().get_run(run_id).info.status != "FINISHED")
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False  # deleted for good, as a finished run may be


def fields_of(version: ModelRef) -> dict[str, str] | None:
    """Read what a version's fingerprint was made of.

    Args:
        version: The version.

    Returns:
        Value by name. None: its run is gone, or never recorded it.

    Raises:
        ResourceError: The store does not answer.
    """
    if (text := version.tags.get(FIELDS)) is None:
        from sign_models.tracking.artifacts import fetch  # which imports this module

        try:
            with fetch(version.run_id, FILE) as path:
                text = path.read_text(encoding="utf-8")
        except UpstreamError:
            return None
    fields: dict[str, str] = json.loads(text)
    return fields


def _difference(fields: Mapping[str, str] | None, wanted: Mapping[str, str]) -> str:
    if fields is None:
        return "it has no fingerprint"
    differing = sorted(k for k in fields.keys() | wanted.keys() if fields.get(k) != wanted.get(k))
    return "; ".join(_told(name, fields.get(name), wanted.get(name)) for name in differing)


def _told(name: str, was: str | None, now: str | None) -> str:
    if name in ("data", "source"):
        return f"{name} differs"
    return f"{name} was {was or 'not there'}, is {now or 'not there'}"


def find_unfinished(wanted: Fingerprint, experiment_id: str) -> str | None:
    """Find the newest run that was cut off during given work.

    Args:
        wanted: The work.
        experiment_id: Experiment to look in.

    Returns:
        ID of the run. None: there is none.

    Raises:
        ResourceError: The store does not answer.
    """
    ended = "attributes.status != 'RUNNING' and attributes.status != 'FINISHED'"
    tags = f"tags.`{SHA}` = '{wanted.sha256}'"
    with translate_store_errors("looking for an unfinished run"):
        found = client().search_runs(
            [experiment_id], f"{tags} and {ended}", max_results=1, order_by=["attributes.start_time DESC"]
        )
    return str(found[0].info.run_id) if found else None


def find_done(wanted: Fingerprint, experiment_id: str, own: str) -> set[str]:
    """Find finished stages of pipelines that were cut off in given work, since one of those last ended well.

    Args:
        wanted: The pipeline's work.
        experiment_id: Experiment to look in.
        own: ID of the asking pipeline's run. It counts where it is resumed; another one that is at work was not cut
            off.

    Returns:
        IDs of the stages' runs.

    Raises:
        ResourceError: The store does not answer.
    """
    with translate_store_errors("looking for what was done before"):
        same = client().search_runs(
            [experiment_id], f"tags.`{SHA}` = '{wanted.sha256}' and tags.`{STAGE}` = '{wanted.stage}'",
            order_by=["attributes.start_time DESC"],
        )  # fmt: skip
        done: set[str] = set()
        for pipeline in takewhile(lambda run: run.info.status != "FINISHED", same):
            if pipeline.info.status == "RUNNING" and pipeline.info.run_id != own:
                continue
            children = f"tags.`mlflow.parentRunId` = '{pipeline.info.run_id}' and attributes.status = 'FINISHED'"
            done |= {run.info.run_id for run in client().search_runs([experiment_id], children)}
    return done

"""Moving `champion`: behind a gate, with a record, and back again."""

from __future__ import annotations

import getpass
import json
import math
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

from sign_models import interruption
from sign_models.errors import ParamsError, UpstreamError
from sign_models.stages.declaration import by_role, model_names
from sign_models.tracking.fingerprint import fields_of
from sign_models.tracking.locks import store_lock
from sign_models.tracking.metrics import current_name
from sign_models.tracking.registered.registration import CANDIDATE, smoke_test
from sign_models.tracking.registered.registry import ModelRef, aliases_of, move_alias, resolve, stage_of
from sign_models.tracking.store import client
from sign_models.tracking.store_errors import translate_store_errors

CHAMPION = "champion"
RECORD, ROLLBACK, DATA = "sign.promotion.", "sign.rollback.", "sign.data."
LOWER_IS_BETTER = re.compile(r"loss|error_rate|distance|perplexity|/(aurc|ece|false_accepts)$")
Score = Callable[[ModelRef], Mapping[str, float]]
Done = Callable[["Promotion"], None]


def nothing(said: Promotion) -> None:
    """Do nothing: what promote() and rollback() call by default.

    Args:
        said: What was done.
    """


@dataclass(frozen=True)
class Requirement:
    """What a version's figure must be.

    Attributes:
        metric: With its split, as in "test/coverage", or without. Without: of the first split that the stage's own
            metrics name and the version was scored on.
        sign: How the figure and the bound must compare.
        bound: In the figure's unit.
    """

    metric: str
    sign: Literal[">=", "<="]
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:g}"

    def check(self, scores: Mapping[str, float], stage: str, place: str) -> None:
        """Refuse a version that does not keep it.

        Args:
            scores: Of the version, by their names today.
            stage: Of the version.
            place: What the version is called.

        Raises:
            UpstreamError: The figure is another, or there is none.
        """
        wanted = current_name(self.metric)
        if not {*"/."} & {*self.metric}:
            splits = [current_name(name).partition("/")[0] for name in by_role()[stage].metrics]
            named = [f"{split}/{self.metric}" for split in splits]
            wanted = next((name for name in named if name in scores), named[0])
        value = scores.get(wanted)
        if value is None:
            raise UpstreamError(
                f"has no {wanted}",
                place=place,
                wanted=str(self),
                remedy=f"it was scored by {', '.join(sorted(scores)) or 'nothing'}",
            )
        if not (value >= self.bound if self.sign == ">=" else value <= self.bound):
            raise UpstreamError(f"{wanted} {value:.4g}", place=place, wanted=str(self))


@dataclass(frozen=True)
class Gate:
    """What a version must pass before an alias moves to it, beside loading and answering.

    It must not score worse than the version that holds the alias.

    Attributes:
        metric: To compare by. Empty: the stage's own.
        force: Let a version pass that scores worse, or cannot be compared. Needs a reason.
        score: Scores a version now; needed where the two were scored on other data. None: only recorded scores.
        require: What else the version's figures must be, by the scores that were compared, else as registered. Force
            does not go past it.
    """

    metric: str = ""
    force: bool = False
    score: Score | None = None
    require: Sequence[Requirement] = ()


DEFAULT_GATE = Gate()


@dataclass(frozen=True)
class Promotion:
    """What was done, as the version's tag `sign.promotion.<alias>` keeps it.

    Attributes:
        name: Of the model.
        version: That holds the alias now.
        alias: Which was moved.
        previous: The version that held it before. None: none did.
        metric: Which was compared. None: nothing was.
        score: Of the version.
        previous_score: Of the previous one.
        scored_again: Whether both were scored anew, because their data differ.
        forced: Whether the gate was passed by force.
        reason: Of the user.
        by: User and host.
        at: Time, ISO 8601 in UTC.
        required: What else its figures had to be, and were.
    """

    name: str
    version: int
    alias: str
    previous: int | None
    metric: str | None
    score: float | None
    previous_score: float | None
    scored_again: bool
    forced: bool
    reason: str
    by: str
    at: str
    required: tuple[str, ...] = ()


def promote(
    name: str,
    spec: str = CANDIDATE,
    alias: str = CHAMPION,
    gate: Gate = DEFAULT_GATE,
    *,
    reason: str = "",
    done: Done = nothing,
) -> Promotion:
    """Move an alias to a version, and `previous` to the version that held it.

    The version must be READY, load, answer its own input example, and pass the gate. All of this takes its time without
    a lock and can be stopped. The moves come last, together.

    Args:
        name: Of the registered model or its stage.
        spec: The version: an alias, a number, a run ID or an MLflow URI.
        alias: Which to move.
        gate: What the version must pass.
        reason: Recorded.
        done: Called once the aliases have moved, before anybody can stop the command.

    Returns:
        What was done.

    Raises:
        ParamsError: The request makes no sense. Nothing has moved.
        UpstreamError: A check fails. Nothing has moved.
        ResourceError: The store does not answer.
    """
    stage = stage_of(name)
    check_alias(alias)
    if gate.force and not reason.strip():
        raise ParamsError("force without a reason", place="reason", wanted="why a worse version may be promoted")
    with translate_store_errors(f"promoting {name}"):
        chosen = resolve(spec, stage)
        present = aliases_of(chosen.name).get(alias)
        holder = None
        if present is not None:
            holder = _if_usable(present, stage) if gate.force else resolve(str(present), stage)
        smoke_test(chosen)
        compared = _compare(chosen, holder, gate)
        if not gate.force:
            compared.check(chosen, f"the present {alias} (version {present})")
        figures = compared.figures or {current_name(name): value for name, value in chosen.metrics().items()}
        for requirement in gate.require:
            requirement.check(figures, stage, chosen.uri)
        said = Promotion(
            chosen.name, chosen.version, alias, present, compared.metric, compared.score, compared.previous_score,
            compared.scored_again, gate.force, reason, _who(), _now(), tuple(map(str, gate.require)),
        )  # fmt: skip
        # the old one's first: a kill in between leaves both aliases on it
        moves = {previous_of(alias): present} if present is not None and present != chosen.version else {}
        _move(said, moves | {alias: chosen.version}, (chosen.version, RECORD + alias), done)
    return said


def _move(said: Promotion, moves: Mapping[str, int], record: tuple[int, str], done: Done) -> None:
    """Move aliases and record it, all or nothing but for SIGKILL.

    Args:
        said: What to record.
        moves: Version by alias, in this order.
        record: The version and its tag that keep what was done.
        done: Called once the aliases have moved.

    Raises:
        UpstreamError: Somebody else has moved the alias since it was looked at. Nothing has moved.
    """
    import mlflow

    with store_lock(mlflow.get_tracking_uri()):
        present = aliases_of(said.name).get(said.alias)
        if present != said.previous:
            raise UpstreamError(
                f"it was moved from version {said.previous} to {present} meanwhile",
                place=f"{said.name}@{said.alias}",
                wanted="the version that was compared with",
                remedy="type the same command again",
            )
        interruption.check()
        with interruption.deferred(f"moving {said.alias} of {said.name} to version {said.version}"):
            for alias, version in moves.items():
                move_alias(said.name, alias, version)
            version, tag = record
            client().set_model_version_tag(said.name, str(version), tag, json.dumps(asdict(said)))
            done(said)


def rollback(name: str, alias: str = CHAMPION, *, reason: str = "", done: Done = nothing) -> Promotion:
    """Move an alias back to the version that held it before. That one and the present one change places.

    Args:
        name: Of the registered model or its stage.
        alias: Which to move.
        reason: Recorded.
        done: As in promote().

    Returns:
        What was done.

    Raises:
        UpstreamError: There is no version to go back to, or it does not load any more. Nothing has moved.
        ResourceError: The store does not answer.
    """
    stage = stage_of(name)
    model, back = model_names()[stage], previous_of(alias)
    with translate_store_errors(f"rolling back {name}"):
        held = aliases_of(model)
        if alias not in held or back not in held or held[alias] == held[back]:
            raise UpstreamError(
                f"no version held {alias!r} before" if alias in held else f"no version holds {alias!r}",
                place=model,
                wanted=f"an alias {back!r} on another version",
                remedy="promote a version by its number instead",
            )
        chosen = resolve(str(held[back]), stage)
        smoke_test(chosen)
        said = Promotion(
            model, chosen.version, alias, held[alias], None, None, None, False, False, reason, _who(), _now()
        )
        moves = {alias: chosen.version, back: held[alias]}
        _move(said, moves, (held[alias], ROLLBACK + alias), done)
    return said


def previous_of(alias: str) -> str:
    """The alias that keeps the version which held another alias before.

    Args:
        alias: The other alias.

    Returns:
        Its name.
    """
    return "previous" if alias == CHAMPION else f"previous-{alias}"


def scored_alike(a: ModelRef, b: ModelRef) -> bool:
    """Whether two versions were scored on the same inputs by the same preset.

    Args:
        a: A version.
        b: Another one.

    Returns:
        Whether digests of inputs and scoring preset are equal.
    """
    digests = [{k: v for k, v in model.tags.items() if k.startswith(DATA)} for model in (a, b)]
    presets = [(fields_of(model) or {}).get("params.generate.scoring") for model in (a, b)]
    return bool(digests[0]) and digests[0] == digests[1] and presets[0] == presets[1]


@dataclass(frozen=True)
class _Comparison:
    """Scores of two versions by one metric, None where nothing was compared."""

    metric: str | None
    score: float | None
    previous_score: float | None
    scored_again: bool
    figures: Mapping[str, float] = field(default_factory=dict)  # of the version, as they were compared

    @property
    def worse(self) -> bool:
        """Whether the version scores worse than the previous one, or its score is NaN."""
        if self.metric is None or self.score is None or self.previous_score is None:
            return False
        if math.isnan(self.score):
            return True
        if LOWER_IS_BETTER.search(self.metric):
            return self.score > self.previous_score
        return self.score < self.previous_score

    def check(self, chosen: ModelRef, holder: str) -> None:
        """UpstreamError where the chosen version scores worse than `holder`, as that is called."""
        if self.worse:
            raise UpstreamError(
                f"{self.metric} {self.score:.4g}, {holder} has {self.previous_score:.4g}",
                place=chosen.uri,
                wanted="a version that is not worse",
                remedy="keep the champion, or promote with force=true and a reason",
            )


def _compare(chosen: ModelRef, holder: ModelRef | None, gate: Gate) -> _Comparison:
    """Compare a version with the one that holds the alias. Nothing is compared where that is none, or the same.

    Raises:
        UpstreamError: The two cannot be compared, and the gate is not forced.
    """
    if holder is None or holder.version == chosen.version:
        return _Comparison(None, None, None, False)
    again = not scored_alike(chosen, holder)
    if again and gate.score is None:
        if gate.force:
            return _Comparison(None, None, None, False)
        raise UpstreamError(
            f"scored on other data than the present version {holder.version}, or by another preset",
            place=chosen.uri,
            wanted="scores on the same data by the same preset",
            remedy="give data=DIR to score both on, or promote with force=true and a reason",
        )
    found = (gate.score(m) if again and gate.score else m.metrics() for m in (chosen, holder))
    ours, theirs = ({current_name(name): value for name, value in scores.items()} for scores in found)
    wanted = tuple(map(current_name, (gate.metric,) if gate.metric else by_role()[chosen.stage].metrics))
    common = [name for name in wanted if name in ours and name in theirs]
    if not common:
        if gate.force:
            return _Comparison(None, None, None, again)
        raise UpstreamError(
            f"versions {chosen.version} and {holder.version} were not both scored by {' or '.join(wanted)}",
            place=chosen.uri,
            wanted=f"one of {', '.join(sorted(ours.keys() & theirs.keys())) or 'a common metric: there is none'}",
            remedy="name it with metric=",
        )
    return _Comparison(common[0], float(ours[common[0]]), float(theirs[common[0]]), again, ours)


def _if_usable(version: int, stage: str) -> ModelRef | None:
    """The present version, for a forced promotion: one that is broken is no reason to keep it."""
    try:
        return resolve(str(version), stage)
    except UpstreamError:
        return None


def check_alias(alias: str) -> None:
    """Check the name of an alias to promote to.

    Args:
        alias: The name.

    Raises:
        ParamsError: MLflow or this project has another meaning for it.
    """
    taken = alias in (CANDIDATE, "latest") or alias.startswith("previous") or re.fullmatch(r"v?\d+", alias)
    if taken or not re.fullmatch(r"[\w-]+", alias):
        raise ParamsError(
            f"{alias!r}", place="alias", wanted="letters, digits, - and _; not candidate, latest, previous or a version"
        )


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Options of promote, lineage and prune."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sign_models.cli.evaluate import scoring
from sign_models.cli.values import experiment, path, truth
from sign_models.datasets.inputs import Inputs
from sign_models.errors import ParamsError
from sign_models.params.load import nearest
from sign_models.pipeline.registry import FIGURES, SPLITS, TRANSLATOR, LineageOptions, PromoteOptions, PruneOptions
from sign_models.tracking.metrics import current_name
from sign_models.tracking.registered import promotion
from sign_models.tracking.registered.registration import CANDIDATE
from sign_models.tracking.registered.registry import stage_of


def parse_promote(given: Mapping[str, str]) -> PromoteOptions:
    """Read the options of promote, before any work.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
        DataError: An input cannot be used.
    """
    force, back = (truth(name, given[name]) for name in ("force", "rollback"))
    data = path(given, "data")
    require = _requirements(given.get("require", ""))
    if back and (others := [n for n in ("version", "metric", "force", "data", "scoring", "require") if given.get(n)]):
        raise ParamsError(f"{', '.join(others)} beside it", place="rollback", remedy="leave them out")
    model, metric = given["model"] or TRANSLATOR, current_name(given["metric"]) if given["metric"] else ""
    split = metric.partition("/")[0]
    known = [f"{split}/{name}" for split in SPLITS for name in FIGURES]
    promotion.check_alias(given["alias"] or promotion.CHAMPION)
    if stage_of(model) == "translator" and metric and metric not in known:
        near = nearest(metric, known)
        raise ParamsError(
            f"'{given['metric']}'", place="metric", wanted="a split and a figure, such as test/chrf or dev/bleu4",
            remedy=f"did you mean '{near}'?" if near else "",
        )  # fmt: skip
    return PromoteOptions(
        model=model,
        version=given["version"] or CANDIDATE,
        alias=given["alias"] or promotion.CHAMPION,
        gate=promotion.Gate(metric, force, require=require),
        reason=given["reason"],
        back=back,
        inputs=Inputs.from_paths(data, None, None, None) if data else None,
        params=scoring({"scoring": given["scoring"], "splits": split}),
        experiment=experiment(given),
    )


def _requirements(text: str) -> tuple[promotion.Requirement, ...]:
    """Of `coverage>=0.5,test/precision_accepted>=0.85`."""
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        told = re.fullmatch(r"([\w./-]+)\s*(>=|<=)\s*([-+]?[\d.]+(?:e[-+]?\d+)?)", part)
        bound = float(told[3]) if told and re.search(r"\d", told[3]) and told[3].count(".") < 2 else None
        if told is None or bound is None:
            wanted = "figures and bounds, such as coverage>=0.5,precision_accepted>=0.85"
            raise ParamsError(f"'{part}'", place="require", wanted=wanted)
        found.append(promotion.Requirement(told[1], ">=" if told[2] == ">=" else "<=", bound))
    return tuple(found)


def parse_lineage(given: Mapping[str, str]) -> LineageOptions:
    """Read the options of lineage.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    model = given["model"] or TRANSLATOR
    stage_of(re.split("[@/]", model.strip().removeprefix("models:/"))[0])
    return LineageOptions(model, experiment(given))


def parse_prune(given: Mapping[str, str]) -> PruneOptions:
    """Read the options of prune.

    Args:
        given: Text by option; "" where not given.

    Returns:
        The typed options.

    Raises:
        ParamsError: One of them cannot be used.
    """
    return PruneOptions(truth("yes", given["yes"]), experiment(given))

"""Paired bootstrap of two or more systems (Koehn 2004), by sacrebleu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sign_models.errors import DataError
from sign_models.evaluation.metrics import check_pairs
from sign_models.evaluation.presets import find_preset


@dataclass(frozen=True)
class Comparison:
    """One system under one metric.

    Attributes:
        system: Its name.
        metric: "BLEU" or "chrF".
        score: Of the whole corpus.
        mean: Of the bootstrap samples.
        interval: Half the width of the 95 % interval around the mean.
        p_value: How often chance alone would part it as far from the first system. None: it is the first one.
        signature: sacrebleu's.
    """

    system: str
    metric: str
    score: float
    mean: float
    interval: float
    p_value: float | None
    signature: str


def compare(
    systems: Mapping[str, Sequence[str]], references: Sequence[str], preset: str = "cased", samples: int = 1000
) -> list[Comparison]:
    """Compare every system with the first one, by a paired bootstrap of BLEU and chrF with a fixed seed.

    Args:
        systems: Output texts by name of the system.
        references: Reference texts.
        preset: Name of the recipe.
        samples: Bootstrap samples.

    Returns:
        A comparison for each metric and system.

    Raises:
        DataError: There are no systems, no references, an empty one, or another number of hypotheses.
        ParamsError: There is no such preset.
    """
    from sacrebleu.significance import PairedTest, Result

    recipe = find_preset(preset)
    if not systems:
        raise DataError("no systems", place="comparison", wanted="at least one list of hypotheses")
    for name, hypotheses in systems.items():
        check_pairs(hypotheses, references, f"comparison: {name!r}")
    targets = recipe.rewritten([], references)[1]
    named: list[tuple[str, Sequence[str]]] = [
        (name, recipe.rewritten(hypotheses, [])[0]) for name, hypotheses in systems.items()
    ]
    test = PairedTest(named, {"BLEU": recipe.bleu(), "chrF": recipe.chrf()}, [targets], "bs", n_samples=samples)
    signatures, results = test()
    found: list[Comparison] = []
    for metric, signature in signatures.items():
        of_metric = [result for result in results[metric] if isinstance(result, Result)]
        for name, result in zip(systems, of_metric, strict=True):
            p_value = result.p_value
            if p_value is not None and result.score == of_metric[0].score:
                p_value = 1.0  # sacrebleu gives equal systems its smallest p, as if a difference were proven
            mean, interval = float(result.mean or 0.0), float(result.ci or 0.0)
            found.append(Comparison(name, metric, result.score, mean, interval, p_value, str(signature)))
    return found

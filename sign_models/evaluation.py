"""Scores of translations, each with the recipe that gives it.

A preset fixes everything a score depends on: case, rewriting, tokens, smoothing, the kind of ROUGE-L. BLEU and chrF are
sacrebleu's, with its signatures. Edit distances and longest common subsequences are rapidfuzz's: one wheel without
dependencies, for words and for characters (jiwer is a layer above it; rouge-score needs nltk and by default drops every
letter outside a-z). docs/scoring.md has the definitions, and how the peers' presets were checked.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from sign_models.errors import DataError, ParamsError
from sign_models.scripts import HAN, UNSPACED, pattern, share

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU, CHRF

# GloFE splits "rain ." into "rain" and an empty word, and counts both. sacrebleu sees no empty word: this is one.
EMPTY_WORD = "\N{SYMBOL FOR NULL}"


@dataclass(frozen=True)
class Scores:
    """Percentages over a whole corpus; only word_error_rate and character_error_rate are better when lower.

    bleu1..bleu4          corpus BLEU with n-grams up to 1..4.
    chrf                  corpus chrF2.
    rouge_l               mean of the sentences' ROUGE-L F.
    exact_match           sentences that equal their reference.
    words_exact           reference words left unchanged by the shortest edit of the reference into the hypothesis.
    word_error_rate, character_error_rate    edits by length of the references; may exceed 100.
    signatures            recipe of "bleu", "chrf" (sacrebleu's own) and "rouge_l".
    """

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    chrf: float
    rouge_l: float
    exact_match: float
    words_exact: float
    word_error_rate: float
    character_error_rate: float
    sentences: int
    preset: str
    signatures: dict[str, str]

    def metrics(self) -> dict[str, float]:
        """The figures alone, by name."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, float)}


@dataclass(frozen=True)
class Comparison:
    """One system under one metric: score, its bootstrap mean and 95 % interval (mean +- interval).

    p_value: how often chance alone would part it as far from the first system, None for the first system itself.
    """

    system: str
    metric: str
    score: float
    mean: float
    interval: float
    p_value: float | None
    signature: str


RougeKind = Literal["words", "coco", "mska", "package"]


def words(text: str) -> list[str]:
    """Runs of letters, marks and digits of any script; of scripts without spaces (Han, kana, Thai) every character is a
    word, with the marks that it bears.

    A text of punctuation only is split at white space, so that no written text is without words.
    """
    single = rf"[{UNSPACED}]\p{{M}}*"
    return pattern(rf"(?V1){single}|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+").findall(text) or text.split()


def _f_measure(hypothesis: Sequence[str], reference: Sequence[str], beta: float | None) -> float:
    """ROUGE-L F in [0, 1] of the longest common subsequence; beta None is precision / recall, as MSKA weighs it."""
    from rapidfuzz.distance import LCSseq

    common = LCSseq.similarity(hypothesis, reference)
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    weight = (precision / recall if beta is None else beta) ** 2
    return (1 + weight) * precision * recall / (recall + weight * precision)


def _package_rouge(hypothesis: str, reference: str) -> float:
    """ROUGE-L of the PyPI package `rouge`: sentences end at every full stop, repeated words count once.

    The package raises on a text without a sentence, which here scores 0.
    """
    from rouge import Rouge

    if not (hypothesis.replace(".", "") and reference.replace(".", "")):
        return 0.0
    return float(Rouge(metrics=["rouge-l"]).get_scores(hypothesis, reference)[0]["rouge-l"]["f"])


ROUGE_L: dict[RougeKind, Callable[[str, str], float]] = {
    "words": lambda hypothesis, reference: _f_measure(words(hypothesis), words(reference), beta=1.0),
    "coco": lambda hypothesis, reference: _f_measure(hypothesis.split(" "), reference.split(" "), beta=1.2),
    "mska": lambda hypothesis, reference: _f_measure(hypothesis.split(" "), reference.split(" "), beta=None),
    "package": _package_rouge,
}


def _same(text: str) -> str:
    return text


def _characters(text: str) -> str:
    return " ".join(text)


def _one_space(text: str) -> str:
    return " ".join(text.split())


def _punctuation_split(text: str) -> str:
    return " ".join(pattern(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]").findall(text))


def _full_stop_at_end(text: str) -> str:
    body = text.rstrip().removesuffix(".").rstrip()
    return f"{body} ." if body else ""


def _no_full_stops(text: str) -> str:
    return " ".join(word or EMPTY_WORD for word in re.sub(r"[ \n]+", " ", text.strip().replace(".", "")).split(" "))


def _unisign_hypothesis(text: str) -> str:
    return _characters(text.replace(" ", "").replace("\n", ""))


def _unisign_reference(text: str) -> str:
    return _characters(text.replace("，", ",").replace("？", "?").replace(" ", ""))


@dataclass(frozen=True)
class Preset:
    """A way of scoring. BLEU, chrF and ROUGE-L read rewritten texts, the other scores texts with single spaces.

    tokenize, smooth: sacrebleu's. lowercase: every score ignores case.
    hypothesis, reference: how each side is rewritten; the reference as the hypothesis where nothing else is said.
    spaced: False where white space means nothing (Chinese): the character error rate and exact match drop it.
    """

    about: str
    tokenize: str = "13a"
    lowercase: bool = False
    smooth: str = "exp"
    rouge: RougeKind = "words"
    hypothesis: Callable[[str], str] = _same
    reference: Callable[[str], str] | None = None
    spaced: bool = True

    def cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def rewritten(self, hypotheses: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
        reference = self.reference or self.hypothesis
        return (
            [self.hypothesis(self.cased(text)) for text in hypotheses],
            [reference(self.cased(text)) for text in references],
        )

    def plain(self, texts: Sequence[str]) -> list[str]:
        return [(" " if self.spaced else "").join(self.cased(text).split()) for text in texts]

    def bleu(self) -> BLEU:
        from sacrebleu.metrics import BLEU

        # force: texts that end in " ." are the convention of some presets, not a mistake to warn about
        return BLEU(lowercase=self.lowercase, tokenize=self.tokenize, smooth_method=self.smooth, force=True)

    def chrf(self) -> CHRF:
        from sacrebleu.metrics import CHRF

        return CHRF(lowercase=self.lowercase)


PRESETS: dict[str, Preset] = {
    "cased": Preset("sacrebleu's default: 13a tokens, case kept"),
    "lowercased": Preset("13a tokens, case ignored", lowercase=True),
    "split": Preset("case ignored, split at punctuation", "none", lowercase=True, hypothesis=_punctuation_split),
    "chinese": Preset("sacrebleu's zh tokens: every Han character one", "zh", spaced=False),
    "characters": Preset("every character one token", "char", spaced=False),
    "phoenix14t": Preset(
        "PHOENIX14T: lower case, ' .' at the end, scored as slt does",
        "none",
        lowercase=True,
        smooth="none",
        rouge="coco",
        hypothesis=_full_stop_at_end,
    ),
    "slt": Preset("slt: words between spaces", "none", smooth="none", rouge="coco"),
    "mska": Preset("MSKA, German: words between spaces", "none", smooth="none", rouge="mska", hypothesis=_one_space),
    "mska_csl": Preset(
        "MSKA, Chinese: characters", "none", smooth="none", rouge="mska", hypothesis=_characters, spaced=False
    ),
    "slrt": Preset("SLRT, German (scores as MSKA)", "none", smooth="none", rouge="mska", hypothesis=_one_space),
    "slrt_csl": Preset(
        "SLRT, Chinese (scores as MSKA)", "none", smooth="none", rouge="mska", hypothesis=_characters, spaced=False
    ),
    "gfslt": Preset("GFSLT-VLP: sacrebleu's default", rouge="coco"),
    "glofe": Preset(
        "GloFE: references lowered, full stops dropped",
        "none",
        smooth="none",
        hypothesis=_no_full_stops,
        reference=lambda text: _no_full_stops(text.lower()),
    ),
    "unisign": Preset("Uni-Sign, English", rouge="package"),
    "unisign_csl": Preset(
        "Uni-Sign, CSL-Daily: characters",
        rouge="package",
        spaced=False,
        hypothesis=_unisign_hypothesis,
        reference=_unisign_reference,
    ),
    "geosign": Preset("Geo-Sign, English (scores as Uni-Sign)", rouge="package"),
    "geosign_csl": Preset(
        "Geo-Sign, CSL-Daily (scores as Uni-Sign)",
        rouge="package",
        spaced=False,
        hypothesis=_unisign_hypothesis,
        reference=_unisign_reference,
    ),
}


AUTO = "auto"


def suited(preset: str, references: Sequence[str]) -> str:
    """The preset that `auto` stands for, by the script of the references; any other as it is."""
    if preset != AUTO:
        return preset
    if share(UNSPACED, references) <= 0.5:
        return "cased"
    return "chinese" if share(HAN, references) > 0.5 else "characters"


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises ParamsError with the nearest name."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.5)
    raise ParamsError(
        f"no preset {name!r}",
        place="scoring preset",
        wanted=f"one of {', '.join(PRESETS)}",
        remedy=f"did you mean {near[0]!r}?" if near else "see docs/scoring.md",
    )


def _check(hypotheses: Sequence[str], references: Sequence[str], place: str) -> None:
    if not references:
        raise DataError("no references", place=place, wanted="at least one sentence")
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} hypotheses for {len(references)} references",
            place=place,
            wanted="one for each",
            remedy="write an empty line where there is no output",
        )
    for number, text in enumerate(references, 1):
        if not text.strip():
            raise DataError(
                "empty text", place=f"{place}: reference {number}", wanted="a sentence", remedy="take the pair out"
            )


def score(hypotheses: Sequence[str], references: Sequence[str], preset: str = "cased") -> Scores:
    """Score one system. hypotheses[i] is the output for references[i]; an empty hypothesis counts as all wrong.

    Raises DataError for no references, an empty reference or unequal lengths, ParamsError for an unknown preset.
    """
    from rapidfuzz.distance import Levenshtein

    recipe = find_preset(preset)
    _check(hypotheses, references, "scoring")
    rewritten, targets = recipe.rewritten(hypotheses, references)
    bleu, chrf = recipe.bleu(), recipe.chrf()
    result = bleu.corpus_score(rewritten, [targets])
    bleu1, bleu2, bleu3, bleu4 = (result.bp * _geometric_mean(result.precisions[:n]) for n in (1, 2, 3, 4))
    chrf_score = chrf.corpus_score(rewritten, [targets]).score
    rouge = [ROUGE_L[recipe.rouge](*pair) for pair in zip(rewritten, targets, strict=True)]

    plain = list(zip(recipe.plain(hypotheses), recipe.plain(references), strict=True))
    word_pairs = [
        (words(recipe.cased(hypothesis)), words(recipe.cased(reference)))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    reference_words = sum(len(reference) for _, reference in word_pairs)
    unchanged = sum(
        edit.src_end - edit.src_start
        for hypothesis, reference in word_pairs
        for edit in Levenshtein.opcodes(reference, hypothesis)
        if edit.tag == "equal"
    )
    word_edits = sum(Levenshtein.distance(reference, hypothesis) for hypothesis, reference in word_pairs)
    character_edits = sum(Levenshtein.distance(reference, hypothesis) for hypothesis, reference in plain)
    return Scores(
        bleu1=bleu1,
        bleu2=bleu2,
        bleu3=bleu3,
        bleu4=bleu4,
        chrf=chrf_score,
        rouge_l=100 * sum(rouge) / len(rouge),
        exact_match=100 * sum(hypothesis == reference for hypothesis, reference in plain) / len(plain),
        words_exact=100 * unchanged / reference_words,
        word_error_rate=100 * word_edits / reference_words,
        character_error_rate=100 * character_edits / sum(len(reference) for _, reference in plain),
        sentences=len(plain),
        preset=preset,
        signatures={
            "bleu": str(bleu.get_signature()),
            "chrf": str(chrf.get_signature()),
            "rouge_l": _rouge_signature(recipe),
        },
    )


def _rouge_signature(recipe: Preset) -> str:
    library = "rouge" if recipe.rouge == "package" else "rapidfuzz"
    return f"kind:{recipe.rouge}|case:{'lc' if recipe.lowercase else 'mixed'}|{library}:{version(library)}"


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0


def compare(
    systems: Mapping[str, Sequence[str]], references: Sequence[str], preset: str = "cased", samples: int = 1000
) -> list[Comparison]:
    """Paired bootstrap of BLEU and chrF (sacrebleu's, seeded): every system against the first one.

    systems: hypotheses by name. Raises as `score` does, and DataError for no systems.
    """
    from sacrebleu.significance import PairedTest, Result

    recipe = find_preset(preset)
    if not systems:
        raise DataError("no systems", place="comparison", wanted="at least one list of hypotheses")
    for name, hypotheses in systems.items():
        _check(hypotheses, references, f"comparison: {name!r}")
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

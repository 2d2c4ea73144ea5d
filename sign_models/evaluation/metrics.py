"""Scores of translations, each with the recipe that gives it.

A preset fixes everything that a score depends on: case, rewriting, tokens, smoothing, the kind of ROUGE-L. BLEU and
chrF are sacrebleu's, with its signatures. Edit distances and longest common subsequences are rapidfuzz's: one wheel
without dependencies, for words and for characters (jiwer is a layer above it; rouge-score needs nltk and by default
drops every letter outside a-z). docs/scoring.md has the definitions, and how the peers' presets were checked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from sign_models.errors import DataError
from sign_models.evaluation.presets import Preset, RougeKind, find_preset
from sign_models.evaluation.text import words


@dataclass(frozen=True)
class Scores:
    """Scores of a corpus, in percent. Only the two error rates are better when lower.

    Attributes:
        bleu1: Corpus BLEU with single words.
        bleu2: Corpus BLEU with n-grams up to 2.
        bleu3: Corpus BLEU with n-grams up to 3.
        bleu4: Corpus BLEU with n-grams up to 4.
        chrf: Corpus chrF2.
        rouge_l: Mean of the sentences' ROUGE-L F.
        exact_match: Sentences that equal their reference.
        words_exact: Reference words left unchanged by the shortest edit of the reference into the hypothesis.
        word_error_rate: Word edits by length of the references; may exceed 100.
        character_error_rate: Character edits by length of the references; may exceed 100.
        sentences: Number of sentences.
        preset: Name of the recipe.
        signatures: Recipe of "bleu", "chrf" (sacrebleu's own) and "rouge_l".
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
        """The scores alone.

        Returns:
            Value by name.
        """
        return {name: value for name, value in asdict(self).items() if isinstance(value, float)}


def _f_measure(hypothesis: Sequence[str], reference: Sequence[str], beta: float | None) -> float:
    """ROUGE-L F in [0, 1] of the longest common subsequence. beta None: precision / recall, as MSKA weighs it."""
    from rapidfuzz.distance import LCSseq

    common = LCSseq.similarity(hypothesis, reference)
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    weight = (precision / recall if beta is None else beta) ** 2
    return (1 + weight) * precision * recall / (recall + weight * precision)


def _package_rouge(hypothesis: str, reference: str) -> float:
    """ROUGE-L of the PyPI package `rouge`: sentences end at every full stop, repeated words count once.

    The package raises on a text without a sentence, which scores 0 here.
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


def check_pairs(hypotheses: Sequence[str], references: Sequence[str], place: str) -> None:
    """Check that hypotheses and references can be scored.

    Args:
        hypotheses: Output texts.
        references: Reference texts.
        place: What is scored, for the message.

    Raises:
        DataError: There are no references, an empty one, or another number of hypotheses.
    """
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
    """Score one system.

    Args:
        hypotheses: Output for each reference. An empty one counts as all wrong.
        references: Reference texts.
        preset: Name of the recipe.

    Returns:
        The scores.

    Raises:
        DataError: There are no references, an empty one, or another number of hypotheses.
        ParamsError: There is no such preset.
    """
    from rapidfuzz.distance import Levenshtein

    recipe = find_preset(preset)
    check_pairs(hypotheses, references, "scoring")
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


def right(hypotheses: Sequence[str], references: Sequence[str], preset: str = "cased") -> list[bool]:
    """Whether each text has the words of its reference, all of them and no others, in their order.

    The words are those of `words_exact`: punctuation and white space do not count, case does as the preset says. One
    wrong word makes a sentence wrong, since it can turn what it says round.

    Args:
        hypotheses: Of each clip.
        references: Of each clip.
        preset: Of scoring.

    Returns:
        One value a text.
    """
    recipe = find_preset(preset)
    check_pairs(hypotheses, references, "scoring")
    return [
        words(recipe.cased(hypothesis)) == words(recipe.cased(reference))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def groundedness(hypotheses: Sequence[str], references: Sequence[str], preset: str = "cased") -> float:
    """What the clips themselves contribute: chrF of the texts minus chrF of texts exchanged between clips.

    0 where texts say nothing of their clips, however fluent they are. Each text goes to a clip of another reference,
    as far as there are others: the clips are put in the order of their references, and turned by as many places as the
    most usual reference has clips.

    Args:
        hypotheses: Of each clip.
        references: Of each clip.
        preset: Of scoring.

    Returns:
        Points of chrF.
    """
    recipe = find_preset(preset)
    check_pairs(hypotheses, references, "scoring")
    rewritten, targets = recipe.rewritten(hypotheses, references)
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    turn = max(Counter(targets).values())
    exchanged = [rewritten[i] for i in order[turn:] + order[:turn]]
    chrf = recipe.chrf()
    own: float = chrf.corpus_score(rewritten, [targets]).score
    others: float = chrf.corpus_score(exchanged, [[targets[i] for i in order]]).score
    return own - others

"""Recipes for scoring, by name (docs/scoring.md)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sign_models.data.scripts import HAN, UNSPACED, script_share
from sign_models.errors import ParamsError
from sign_models.evaluation.text import (
    characters,
    full_stop_at_end,
    no_full_stops,
    one_space,
    punctuation_split,
    same,
    unisign_hypothesis,
    unisign_reference,
)

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU, CHRF


RougeKind = Literal["words", "coco", "mska", "package"]


@dataclass(frozen=True)
class Preset:
    """A recipe. BLEU, chrF and ROUGE-L read rewritten texts, the other scores texts with single spaces.

    Attributes:
        about: What it is, for people.
        tokenize: sacrebleu's tokenizer.
        lowercase: Whether every score ignores case.
        smooth: sacrebleu's smoothing.
        rouge: Kind of ROUGE-L.
        hypothesis: Rewrites an output.
        reference: Rewrites a reference. None: as an output.
        spaced: Whether white space means anything. Where not (Chinese), character error rate and exact match drop it.
    """

    about: str
    tokenize: str = "13a"
    lowercase: bool = False
    smooth: str = "exp"
    rouge: RougeKind = "words"
    hypothesis: Callable[[str], str] = same
    reference: Callable[[str], str] | None = None
    spaced: bool = True

    def cased(self, text: str) -> str:
        """Lower a text where the recipe ignores case.

        Args:
            text: The text.

        Returns:
            The text.
        """
        return text.lower() if self.lowercase else text

    def rewritten(self, hypotheses: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
        """Rewrite both sides as the recipe says.

        Args:
            hypotheses: Output texts.
            references: Reference texts.

        Returns:
            Both, rewritten.
        """
        reference = self.reference or self.hypothesis
        return (
            [self.hypothesis(self.cased(text)) for text in hypotheses],
            [reference(self.cased(text)) for text in references],
        )

    def plain(self, texts: Sequence[str]) -> list[str]:
        """Texts as exact match and character error rate read them: with single spaces, or none.

        Args:
            texts: The texts.

        Returns:
            The texts.
        """
        return [(" " if self.spaced else "").join(self.cased(text).split()) for text in texts]

    def bleu(self) -> BLEU:
        """Make sacrebleu's BLEU with the settings of the recipe.

        Returns:
            The metric.
        """
        from sacrebleu.metrics import BLEU

        # force: texts that end in " ." are the convention of some presets, not a mistake to warn about
        return BLEU(lowercase=self.lowercase, tokenize=self.tokenize, smooth_method=self.smooth, force=True)

    def chrf(self) -> CHRF:
        """Make sacrebleu's chrF with the settings of the recipe.

        Returns:
            The metric.
        """
        from sacrebleu.metrics import CHRF

        return CHRF(lowercase=self.lowercase)


PRESETS: dict[str, Preset] = {
    "cased": Preset("sacrebleu's default: 13a tokens, case kept"),
    "lowercased": Preset("13a tokens, case ignored", lowercase=True),
    "split": Preset("case ignored, split at punctuation", "none", lowercase=True, hypothesis=punctuation_split),
    "chinese": Preset("sacrebleu's zh tokens: every Han character one", "zh", spaced=False),
    "characters": Preset("every character one token", "char", spaced=False),
    "phoenix14t": Preset(
        "PHOENIX14T: lower case, ' .' at the end, scored as slt does",
        "none",
        lowercase=True,
        smooth="none",
        rouge="coco",
        hypothesis=full_stop_at_end,
    ),
    "slt": Preset("slt: words between spaces", "none", smooth="none", rouge="coco"),
    "mska": Preset("MSKA, German: words between spaces", "none", smooth="none", rouge="mska", hypothesis=one_space),
    "mska_csl": Preset(
        "MSKA, Chinese: characters", "none", smooth="none", rouge="mska", hypothesis=characters, spaced=False
    ),
    "slrt": Preset("SLRT, German (scores as MSKA)", "none", smooth="none", rouge="mska", hypothesis=one_space),
    "slrt_csl": Preset(
        "SLRT, Chinese (scores as MSKA)", "none", smooth="none", rouge="mska", hypothesis=characters, spaced=False
    ),
    "gfslt": Preset("GFSLT-VLP: sacrebleu's default", rouge="coco"),
    "glofe": Preset(
        "GloFE: references lowered, full stops dropped",
        "none",
        smooth="none",
        hypothesis=no_full_stops,
        reference=lambda text: no_full_stops(text.lower()),
    ),
    "unisign": Preset("Uni-Sign, English", rouge="package"),
    "unisign_csl": Preset(
        "Uni-Sign, CSL-Daily: characters",
        rouge="package",
        spaced=False,
        hypothesis=unisign_hypothesis,
        reference=unisign_reference,
    ),
    "geosign": Preset("Geo-Sign, English (scores as Uni-Sign)", rouge="package"),
    "geosign_csl": Preset(
        "Geo-Sign, CSL-Daily (scores as Uni-Sign)",
        rouge="package",
        spaced=False,
        hypothesis=unisign_hypothesis,
        reference=unisign_reference,
    ),
}


AUTO = "auto"


def resolve_preset(preset: str, references: Sequence[str]) -> str:
    """Find the preset that `auto` stands for, by the script of the references.

    Args:
        preset: Name of a preset, or `auto`.
        references: Reference texts.

    Returns:
        Name of a preset.
    """
    if preset != AUTO:
        return preset
    if script_share(UNSPACED, references) <= 0.5:
        return "cased"
    return "chinese" if script_share(HAN, references) > 0.5 else "characters"


def find_preset(name: str) -> Preset:
    """Find a preset.

    Args:
        name: Its name.

    Returns:
        The preset.

    Raises:
        ParamsError: There is none of that name; the message has the nearest one.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.5)
    raise ParamsError(
        f"no preset {name!r}",
        place="scoring preset",
        wanted=f"one of {', '.join(PRESETS)}",
        remedy=f"did you mean {near[0]!r}?" if near else "see docs/scoring.md",
    )

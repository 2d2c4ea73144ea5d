"""The tokenizer that the alignment stage trains on its own corpus, built on Hugging Face tokenizers.

Every kind decodes to exactly the text that was encoded if all its characters were in the training texts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sign_models.data.scripts import is_unspaced, pattern

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = [PAD, START, END, UNKNOWN]  # ids 0 to 3
MANY_UNSEEN, FEW_UNSEEN = 0.5, 0.1  # shares of unseen dev words that decide between char, bpe and word


def choose_kind(train: list[str], dev: list[str]) -> str:
    """Choose a kind of tokenizer.

    Args:
        train: Training texts.
        dev: Validation texts. Without any, every tenth training text is used.

    Returns:
        "word" where nearly all words of dev are in training, "char" where few are, "bpe" between. "char" for unspaced
        scripts too: a clause would be one word, or one piece of BPE.
    """
    if is_unspaced(train):
        return "char"
    if not dev:
        dev = train[::10]
        train = [t for i, t in enumerate(train) if i % 10] or train
    known = {word for text in train for word in _words(text)}
    words = [word for text in dev for word in _words(text)]
    unseen = sum(word not in known for word in words) / max(1, len(words))
    return "char" if unseen > MANY_UNSEEN else "bpe" if unseen > FEW_UNSEEN else "word"


def train_tokenizer(train: list[str], dev: list[str], kind: str, vocabulary: int) -> Tokenizer:
    """Train a tokenizer. Words and characters are a unigram model, BPE is after Sennrich et al. (2016).

    Args:
        train: Training texts.
        dev: Validation texts, which only decide the kind "auto".
        kind: "auto", "word", "char" or "bpe".
        vocabulary: Number of tokens at most.

    Returns:
        The tokenizer. Its ids 0 to 3 are SPECIAL.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    kind = choose_kind(train, dev) if kind == "auto" else kind
    characters = {"▁"} | {c for text in train for c in text if c != " "}
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    split: list[Any] = [pre_tokenizers.Metaspace(prepend_scheme="never" if kind == "char" else "always")]
    if kind != "char":
        split.append(pre_tokenizers.Punctuation())
    pre_tokenizer = pre_tokenizers.Sequence(split)
    if kind != "bpe":
        counts = Counter(piece for text in train for piece, _ in pre_tokenizer.pre_tokenize_str(text))
        word_count = max(0, vocabulary - len(SPECIAL) - len(characters))
        pieces = [piece for piece, _ in counts.most_common() if len(piece) > 1][:word_count] if kind == "word" else []
        # a word always scores better than its characters, which are for words that training does not have
        scored = [(s, 0.0) for s in SPECIAL] + [(c, -100.0) for c in sorted(characters)] + [(p, -1.0) for p in pieces]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=SPECIAL.index(UNKNOWN), byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never" if kind == "char" else "always")
    if kind == "bpe":
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=SPECIAL,
            initial_alphabet=sorted(characters),
            show_progress=False,
            min_frequency=2,
        )
        tokenizer.train_from_iterator(train, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def _words(text: str) -> list[str]:
    """Words of a text, split at spaces and punctuation as the tokenizer does."""
    return list(pattern(r"[^\s\p{P}\p{S}]+").findall(text.casefold()))

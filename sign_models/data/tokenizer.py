"""The tokenizer that the alignment stage trains on its own corpus, built on Hugging Face tokenizers.

Every kind gives back exactly the text it was given, as long as its characters were in the training texts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sign_models.data.scripts import pattern, run_together

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = [PAD, START, END, UNKNOWN]  # ids 0 to 3
MANY_UNSEEN, FEW_UNSEEN = 0.5, 0.1  # shares of unseen dev words that decide between char, bpe and word


def choose_kind(train: list[str], dev: list[str]) -> str:
    """word where training shows nearly all words of dev, char where it shows few of them or where nothing tells words
    apart (a clause of Chinese would be one word, and one piece of bpe), bpe between.

    Where there is no dev text, every tenth training text stands for it.
    """
    if run_together(train):
        return "char"
    if not dev:
        dev = train[::10]
        train = [t for i, t in enumerate(train) if i % 10] or train
    known = {word for text in train for word in _words(text)}
    words = [word for text in dev for word in _words(text)]
    unseen = sum(word not in known for word in words) / max(1, len(words))
    return "char" if unseen > MANY_UNSEEN else "bpe" if unseen > FEW_UNSEEN else "word"


def train_tokenizer(train: list[str], dev: list[str], kind: str, vocabulary: int) -> Tokenizer:
    """train, dev: texts (dev only serves `kind` auto). vocabulary: most entries. -> tokenizer; its ids 0-3 are
    SPECIAL."""
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
        room = max(0, vocabulary - len(SPECIAL) - len(characters))
        pieces = [piece for piece, _ in counts.most_common() if len(piece) > 1][:room] if kind == "word" else []
        # a whole word always scores better than its characters, which are there for words never seen
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
    """Split as the tokenizer splits: at spaces and punctuation."""
    return list(pattern(r"[^\s\p{P}\p{S}]+").findall(text.casefold()))

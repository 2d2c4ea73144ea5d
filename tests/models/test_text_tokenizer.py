"""The tokenizer of a translator: what Transformers' would say, without Transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from sign_models.data.tokenizer import END, PAD, SPECIAL, START, UNKNOWN, train_tokenizer
from sign_models.models.text.tokenizer import TextTokenizer
from tests.data.test_tokenizer import KINDS, SCRIPTS

FOLDER = Path(__file__).parent / "earlier"
NAMES = {"pad_token": PAD, "bos_token": START, "eos_token": END, "unk_token": UNKNOWN}
STRANGE = [
    "",
    " ",
    "  two  spaces ",
    "tab\there",
    f"{END} inside {UNKNOWN}",
    "<pad",
    "e\u0301 in two, \u00e9 in one",
    "𝕏 👍🏽",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_reads_and_writes_as_that_of_transformers(kind: str, script: str, tmp_path: Path) -> None:
    trained = train_tokenizer(SCRIPTS[script], [], kind, 200)
    theirs = PreTrainedTokenizerFast(tokenizer_object=trained, clean_up_tokenization_spaces=False, **NAMES)
    theirs.save_pretrained(tmp_path / "theirs")
    TextTokenizer(trained).save_pretrained(tmp_path / "ours")
    for ours in (TextTokenizer.from_pretrained(tmp_path / name) for name in ("theirs", "ours")):
        assert len(ours) == len(theirs)
        rows = [ours(text)["input_ids"] for text in [*SCRIPTS[script], *STRANGE]]
        assert rows == [theirs(text, add_special_tokens=False)["input_ids"] for text in [*SCRIPTS[script], *STRANGE]]
        rows += [[*range(len(SPECIAL)), *row, 2, 0, 0] for row in rows] + [[i] for i in range(len(ours))]
        assert ours.batch_decode(rows) == theirs.batch_decode(rows, skip_special_tokens=True)


@pytest.mark.parametrize("folder", ["translator", "decoder/translator"])
def test_a_translator_loads_and_translates_without_transformers(folder: str) -> None:
    code = f"""
import sys
from pathlib import Path
from sign_models.models.storage import load
from tests.models import clips
model = load(Path({str(FOLDER / folder)!r}))
found = model.translate(*model(*clips.batch((24, 12))))
print(len(found), sorted({{"transformers", "sklearn", "scipy", "pandas", "torch._dynamo"}} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "2 []\n", done.stderr

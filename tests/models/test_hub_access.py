"""The Hugging Face Hub where it cannot be reached: asked once, and what the cache holds is read."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast, T5Config

from sign_models.data.tokenizer import END, PAD, START, UNKNOWN, train_tokenizer
from sign_models.errors import ResourceError
from sign_models.models.text.pretrained import PretrainedText
from tests.models import clips

TROUBLES = {
    "forbidden": None,  # HF_HUB_OFFLINE
    "no server": httpx.ConnectError,
    "silent": httpx.ConnectTimeout,
    "no proxy": httpx.ProxyError,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with its tokenizer."""
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(clips.TEXTS, [], "word", 100),
        **{"pad_token": PAD, "bos_token": START, "eos_token": END, "unk_token": UNKNOWN},
    )
    size = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    config = T5Config(**size, vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=TROUBLES)
def asked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the Hub is asked for. It cannot be reached, and nobody may wait to ask again; the cache is empty."""
    urls: list[str] = []
    error = TROUBLES[request.param]

    class Client:
        def request(self, *_: object, url: str, **__: object) -> None:
            urls.append(url)
            raise error("nobody is there")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", error is None)
    if error is not None:
        monkeypatch.setattr("huggingface_hub.utils._http.get_session", Client)
    clock = SimpleNamespace(**vars(time) | {"sleep": lambda _: pytest.fail("the client asks again")})
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    return urls


def test_what_the_cache_does_not_hold_is_one_message(asked: list[str]) -> None:
    with pytest.raises(ResourceError, match="pretrained=user/text: the Hub cannot be reached .*HF_HUB_OFFLINE"):
        PretrainedText.from_pretrained("user/text")
    assert len(asked) <= 1


def test_what_the_cache_holds_is_read_whatever_else_transformers_looks_for(
    asked: list[str], saved: Path, tmp_path: Path
) -> None:
    commit, repo = "0" * 40, tmp_path / "cache" / "models--user--text"
    shutil.copytree(saved, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    assert (
        PretrainedText.from_pretrained("user/text").vocabulary == PretrainedText.from_pretrained(str(saved)).vocabulary
    )
    assert len(asked) <= 2  # before the tokenizer, and before the weights

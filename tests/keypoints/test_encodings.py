"""Texts in eight bits a character: right, or refused. A text of another encoding never becomes wrong letters."""

from pathlib import Path

import numpy as np
import pytest

from sign_models.errors import DataError
from sign_models.keypoints.formats import read
from sign_models.keypoints.formats.files.encodings import decode
from tests.keypoints.signer import pixels

WESTERN = {
    "German": "Schöne Grüße aus Köln, das heißt: morgen übt Ägypten wieder – „gut“",
    "French": "Où êtes-vous allé ? Ça va, cœur naïf, l’été à l'hôtel",
    "Spanish": "¿Qué tal mañana? ¡Adiós, niño! 2ª lección",
    "Portuguese": "Amanhã não há lições, avó e avô vêm à tarde",
    "Italian": "Perché è così? Più città, già lunedì",
    "Dutch": "Één ideeën, vóór coördinatie",
    "Danish": "På gensyn, æbler og smørrebrød",
    "Swedish": "Vi ses på måndag, ät och drick",
    "Icelandic": "Það er gott að sjá þig, kæri",
    "Catalan": "Bon dia, col·legi i peça, què és això?",
    "signs only": "the price is 5 € – “cheap”, 20 °C",
}
OTHERS = {
    "koi8-r": "Доброе утро всем, сегодня будет дождь",
    "cp1251": "Доброе утро всем, сегодня будет дождь",
    "shift_jis": "おはようございます、皆さん。今日は雨です",
    "euc-jp": "おはようございます、皆さん。今日は雨です",
    "euc-kr": "안녕하세요 여러분 오늘은 비가 내리는 곳이 있겠습니다",
    "big5": "早安，大家好，今天下雨，明天會更好",
    "cp1250": "Dzień dobry wszystkim, żółw śpi",
    "iso-8859-2": "Dobrý den všem, děkuji za přání",
    "cp1254": "Günaydın, nasılsın şimdi? Teşekkürler",
    "mac_roman": "Schöne Grüße aus Köln, das heißt morgen",
    "cp437": "Schöne Grüße aus Köln, das heißt morgen",
    "cp1253": "Καλημέρα σε όλους",
    "cp1256": "صباح الخير",
    "tis-620": "สวัสดีตอนเช้า",
}
CHINESE = ("早上好，大家", "今天北方下雨，气温是十度", "苹果 香蕉 老师 医生", "颜色：红、绿、蓝")


@pytest.mark.parametrize("language", WESTERN)
def test_western_european_texts_are_read(language: str) -> None:
    assert decode(WESTERN[language].encode("cp1252"), "labels.csv") == WESTERN[language]


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_texts_are_read(text: str) -> None:
    assert decode(f"id;text\nclip_0;{text}\n".encode("gb18030"), "labels.csv") == f"id;text\nclip_0;{text}\n"


@pytest.mark.parametrize("encoding", OTHERS)
@pytest.mark.parametrize("repeated", [1, 20])
def test_another_encoding_is_refused(encoding: str, repeated: int) -> None:
    rows = "".join(f"clip_{i};{OTHERS[encoding]}\n" for i in range(repeated))
    with pytest.raises(DataError, match="encoding that cannot be told.*save it as UTF-8"):
        decode(f"id;text\n{rows}".encode(encoding), "labels.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["labels", "landmarks"])
def test_every_line_end_is_one(tmp_path: Path, end: str, kind: str) -> None:
    clip = pixels("mediapipe_75", 4)
    if kind == "labels":
        np.save(tmp_path / "clip_0.npy", clip)
        lines = ["id;text", "clip_0;Öl", "clip_1;b"]
    else:
        header = [f"{axis}{i}" for i in range(75) for axis in "xy"]
        lines = [",".join(["id", *header, "text"]), *(",".join(["clip_0", *map(str, f.ravel()), "Öl"]) for f in clip)]
    (tmp_path / "table.csv").write_text(end.join(lines) + end, encoding="utf-8", newline="")
    [found] = read(tmp_path)
    assert (found.id, found.text) == ("clip_0", "Öl")
    np.testing.assert_allclose(found.points, clip, rtol=1e-5)

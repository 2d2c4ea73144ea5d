import json
import pickle
import subprocess
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sign_models.datasets import demo
from sign_models.datasets.demo import demo_corpus, fingerspell, letters, word_lists, write_seed_files
from sign_models.errors import DataError
from sign_models.keypoints.layouts import LAYOUTS
from tests.conftest import ROOT

SMALL = dict(train_phrases=6, dev_phrases=2, test_phrases=3, letter_copies=2)
PLACE = {name: i for i, name in enumerate(LAYOUTS[demo.LAYOUT])}
WRIST = PLACE["right_hand.wrist"]
HAND = [i for name, i in PLACE.items() if name.startswith("right_hand.")]
SHOULDERS = [PLACE["body.left_shoulder"], PLACE["body.right_shoulder"]]


@pytest.fixture(scope="module")
def corpus():
    return demo_corpus(**SMALL)


def everything(corpus):
    return corpus.keypoints + corpus.videos


def test_the_counts_that_the_docs_tell_are_those_of_the_code():
    told = (ROOT / "docs" / "demo-corpus.md").read_text(encoding="utf-8").replace("\n", " ")
    made = demo_corpus()
    splits = Counter(video.split for video in made.videos)
    lengths = [len(video) for video in made.videos]
    assert f"{splits['train']} phrases for training, {splits['dev']} for dev, {splits['test']} for test" in told
    assert f"({sum(lengths):,} frames, {min(lengths)} to {max(lengths)} a phrase)" in told
    assert f"{len(made.keypoints) // 26} varied copies of each" in told
    assert f"{sum(map(len, word_lists().values()))} common English words" in told


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(corpus):
    again, other = demo_corpus(**SMALL), demo_corpus(seed=1, **SMALL)
    for a, b in zip(everything(corpus), everything(again), strict=True):
        assert (a.id, a.points.tobytes(), a.confidence.tobytes()) == (b.id, b.points.tobytes(), b.confidence.tobytes())
    assert corpus.texts == again.texts != other.texts


def test_more_phrases_leave_the_first_ones_as_they_were(corpus):
    more = demo_corpus(**SMALL | {"train_phrases": 9, "test_phrases": 4})
    assert more.texts[:6] == corpus.texts[:6]
    assert np.array_equal(more.videos[5].points, corpus.videos[5].points)
    assert more.texts[-4:-1] == corpus.texts[-3:]


def test_sequences_are_what_their_layout_and_unit_say(corpus):
    for sequence in everything(corpus):
        assert sequence.points.shape == (len(sequence), len(LAYOUTS["mediapipe_75"]), 2)
        assert sequence.confidence.shape == sequence.points.shape[:2]
        assert sequence.points.dtype == sequence.confidence.dtype == np.float32
        assert np.isfinite(sequence.points).all()
        assert sequence.confidence.min() >= 0 and sequence.confidence.max() <= 1
        assert (sequence.confidence[:, HAND] > 0).all()
        assert (sequence.layout, sequence.unit, sequence.fps) == ("mediapipe_75", "pixel", 25)
        assert sequence.size == (500, 500)


def test_every_video_has_its_text_and_split(corpus):
    assert [(row["id"], row["split"]) for row in corpus.texts] == [(v.id, v.split) for v in corpus.videos]
    assert [row["split"] for row in corpus.texts] == ["train"] * 6 + ["dev"] * 2 + ["test"] * 3
    lists = word_lists()
    for row in corpus.texts:
        words = row["text"].split(" ")
        assert 1 <= len(words) <= 3 and set(words) <= set(lists[row["split"]])
    assert len({sequence.id for sequence in everything(corpus)}) == len(everything(corpus))


def test_words_are_plain_and_no_word_is_in_two_splits():
    lists = word_lists()
    words = [word for words in lists.values() for word in words]
    assert len(words) == len(set(words)) > 1000
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) > 1 for word in words)
    assert 0.65 < len(lists["train"]) / len(words) < 0.75 and len(lists["test"]) > 200 and len(lists["dev"]) > 100


def test_training_words_hold_every_letter_in_many_contexts():
    contexts: dict[str, set[str]] = {letter: set() for letter in "abcdefghijklmnopqrstuvwxyz"}
    for word in word_lists()["train"]:
        for before, letter, after in zip(f"^{word}", word, f"{word[1:]}$", strict=False):
            contexts[letter].add(before + after)
    assert min(map(len, contexts.values())) >= 5
    assert sum(len(found) >= 20 for found in contexts.values()) >= 21


def test_letters_are_cut_to_the_still_hand_and_moving_ones_kept_whole():
    bank = letters()
    for letter, (start, stop) in bank.held.items():
        if letter == " ":
            continue
        first, last = bank.whole[letter]
        assert first <= start < stop <= last
        speed = np.linalg.norm(np.diff(bank.points[start:stop, HAND], axis=0), axis=-1).mean(-1) * 25 / bank.shoulders
        if letter in "jz":
            assert stop - start > 15 and speed.max() > 2
        else:
            assert stop - start == demo.HELD_FRAMES and speed.max() < demo.ARRIVAL_SPEED


def test_each_held_shape_is_nearest_to_itself_among_the_letters():
    """Half of a hold, centred and scaled, finds the other half: trimming kept 24 shapes, not the way to them."""
    bank = letters()
    static = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in "jz"]

    def shape(start, stop):
        hand = bank.points[start:stop, HAND].mean(0)
        return (hand - hand[0]) / np.linalg.norm(hand[9] - hand[0])

    spans = [bank.held[letter] for letter in static]
    early = np.stack([shape(start, (start + stop) // 2) for start, stop in spans])
    late = np.stack([shape((start + stop) // 2, stop) for start, stop in spans])
    distance = np.linalg.norm(early[:, None] - late[None], axis=-1).mean(-1)
    assert (distance.argmin(1) == np.arange(len(static))).all()


def test_a_space_lowers_the_hand_between_words():
    points, _ = fingerspell("ab by", np.random.default_rng(0))
    height = (points[:, WRIST, 1] - points[:, SHOULDERS, 1].mean(1)) / 200  # about shoulder widths below the shoulders
    lowered = np.flatnonzero(height > 0.6)
    assert len(lowered) >= 3 and (np.diff(lowered) == 1).all()
    assert lowered[0] > 5 and lowered[-1] < len(points) - 5
    one_word, _ = fingerspell("abby", np.random.default_rng(0))
    assert (one_word[:, WRIST, 1] - one_word[:, SHOULDERS, 1].mean(1)).max() < 100


def test_a_double_letter_slides_outwards():
    slides = []
    for seed in range(40):
        points, _ = fingerspell("ll", np.random.default_rng(seed))
        slides.append(points[-3:, WRIST, 0].mean() - points[:3, WRIST, 0].mean())
    assert np.mean(slides) < -20  # the signer's right is on the left of the picture


def test_speed_scale_and_noise_stay_in_their_ranges():
    fastest, slowest = (demo.HELD_FRAMES / factor for factor in demo.SPEED[::-1])
    for seed in range(30):
        points, _ = fingerspell("abc", np.random.default_rng(seed))
        assert (
            3 * (fastest - 1) + 2 * demo.TRANSITION_FRAMES
            <= len(points)
            <= 3 * (slowest + 1) + 2 * demo.TRANSITION_FRAMES
        )
        width = np.linalg.norm(points[:, SHOULDERS[0]] - points[:, SHOULDERS[1]], axis=-1)
        assert 0.8 < np.median(width) / letters().shoulders < 1.2
        still = np.diff(points[:4, SHOULDERS[0]], axis=0)
        assert 0 < np.abs(still).max() < 12  # pixels: noise, and nothing but noise
    assert len({len(fingerspell("abc", np.random.default_rng(seed))[0]) for seed in range(30)}) > 5


def test_transitions_are_short_and_without_jumps():
    points, _ = fingerspell("qz up", np.random.default_rng(2))
    step = np.linalg.norm(np.diff(points[:, HAND], axis=0), axis=-1).mean(-1) / letters().shoulders
    assert step.max() < 0.6  # of a shoulder width in one frame; the clips' own fastest is 0.55


def test_files_hold_the_corpus_in_the_forms_of_the_seed(tmp_path, corpus):
    write_seed_files(tmp_path, corpus)
    clips = pickle.loads((tmp_path / "sign_language_keypoints.pkl").read_bytes())
    videos = pickle.loads((tmp_path / "video_sequences.pkl").read_bytes())
    assert json.loads((tmp_path / "text_data.json").read_text()) == corpus.texts
    assert list(clips) == [each.id for each in corpus.keypoints]
    assert (videos["layout"], videos["fps"], len(videos["sequences"])) == ("mediapipe_75", 25.0, 11)
    for each in corpus.videos:
        array = videos["sequences"][each.id]
        assert np.array_equal(array[..., :2], each.points) and np.array_equal(array[..., 2], each.confidence)


def test_a_missing_or_other_package_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "version", lambda name: "0.3.9")
    with pytest.raises(DataError, match=r"spoken-to-signed 0\.3\.9 is installed; wanted 0\.4\.0; pip install"):
        demo.lexicon_folder()

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo, "version", absent)
    letters.cache_clear()
    result = CliRunner().invoke(demo.main, [str(tmp_path)])
    assert result.exit_code == 2 and "pip install spoken-to-signed==0.4.0" in result.stderr
    monkeypatch.setattr(demo, "version", lambda name: "0.4.0")
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="without its letter clips"):
        demo.lexicon_folder()


def test_building_it_imports_neither_torch_nor_the_package():
    code = (
        "import sys; from sign_models.datasets.demo import demo_corpus; demo_corpus(0, 1, 1, 1, 1);"
        "print({'torch', 'transformers', 'matplotlib', 'spoken_to_signed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_docs_count_as_the_code_does(root: Path) -> None:
    corpus, page = demo.demo_corpus(), " ".join((root / "docs" / "demo-corpus.md").read_text(encoding="utf-8").split())
    count = Counter(row["split"] for row in corpus.texts)
    lengths = [len(video) for video in corpus.videos]
    assert (
        f"{count['train']} phrases for training, {count['dev']} for dev, {count['test']} for test "
        f"({sum(lengths):,} frames, {min(lengths)} to {max(lengths)} a phrase) and {len(corpus.keypoints) // 26} varied copies"
    ) in page
    words = sum(map(len, demo.word_lists().values()))
    assert f"`sign_models/datasets/words.txt`, {words} common English words" in page
    assert (root / "sign_models" / "datasets" / "words.txt").is_file()

"""Each recipe's import, on a small synthetic tree in the layout that the recipe shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from entrypoints.import_ import main
from sign_models.cli.importing import parse
from sign_models.datasets.importing import import_corpus
from sign_models.datasets.store import open_store
from sign_models.params import load
from tests.keypoints.clips import FRAMES, SIZE, dump, scored
from tests.keypoints.eaf import Eaf
from tests.keypoints.file_examples import openpose_frame
from tests.keypoints.pose_examples import holistic, write_pose

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
SPLITS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "test": "test"}
TEXT = {"train": "erster Satz", "dev": "second sentence", "test": "第三句"}


def text_of(split: str) -> str:
    return TEXT[SPLITS[split]]


def phoenix14t(root: Path) -> dict[str, str]:
    ids = {}
    for seed, split in enumerate(("train", "dev", "test")):
        name = f"{split}/01April_2010_Thursday_heute-{seed}"
        keypoint = torch.from_numpy(scored("coco_wholebody_133", seed))
        record = {"name": name, "gloss": "GLOSSE", "text": text_of(split), "num_frames": FRAMES, "keypoint": keypoint}
        dump(root / f"Phoenix-2014T.{split}", {name: record})
        ids[name] = split
    return ids


def csl_daily(root: Path) -> dict[str, str]:
    ids = {}
    for seed, split in enumerate(("train", "dev", "test")):
        name, values = f"S00000{seed}_P0000_T00", scored("coco_wholebody_133", seed)
        clip = {
            "keypoints": [v[None, :, :2] / np.float32(SIZE) for v in values],
            "scores": [v[None, :, 2] for v in values],
        }
        dump(root / "pose_format" / f"{name}.pkl", clip)
        label = {"name": name, "gloss": ["一"], "text": text_of(split), "video_path": f"{name}.mp4"}
        dump(root / f"labels.{split}", {name: label}, zipped=True)
        ids[f"pose_format/{name}"] = split
    return ids


def how2sign(root: Path) -> dict[str, str]:
    ids = {}
    header = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE"
    for seed, split in enumerate(("train", "val", "test")):
        name = f"--7E2sU6zP4_{seed}-5-rgb_front"
        folder = root / "openpose_output" / "json" / name
        folder.mkdir(parents=True)
        for t, values in enumerate(scored("openpose_137", seed)):
            frame = {"version": 1.3, "people": [{"person_id": [-1], **openpose_frame(values)}]}
            (folder / f"{name}_{t:012d}_keypoints.json").write_text(json.dumps(frame))
        row = f"--7E2sU6zP4\t--7E2sU6zP4-5-rgb_front\t--7E2sU6zP4_{seed}\t{name}\t0.1\t2.2\t{text_of(split)}"
        (root / f"how2sign_realigned_{split}.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
        ids[f"openpose_output/json/{name}"] = split
    return ids


def openasl(root: Path) -> dict[str, str]:
    rows, ids = ["vid\tyid\tstart\tend\traw-text\tsplit\tsigner"], {}
    for seed, split in enumerate(("train", "valid", "test")):
        name = f"00ADU7t7IWI-00:00:0{seed}.460-00:00:0{seed + 1}.106"
        dump(root / "mmpose" / f"{name}.pkl", scored("coco_wholebody_133", seed))
        rows.append(
            f"{name}\t00ADU7t7IWI\t00:00:0{seed}.460\t00:00:0{seed + 1}.106\t{text_of(split)}\t{split}\tsigner {seed}"
        )
        ids[f"mmpose/{name}"] = split
    (root / "openasl-v1.0.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ids


def isharah(root: Path) -> dict[str, str]:
    clips, ids = {}, {}
    for seed, split in enumerate(("train", "dev")):
        name = f"0{seed}_0001"
        clips[name] = {"keypoints": scored("isharah_86", seed)[..., :2]}
        (root / f"{split}.csv").write_text(f"id|gloss\n{name}|{text_of(split)}\n", encoding="utf-8")
        ids[name] = split
    dump(root / "pose_data_isharah1000_hands_lips_body.pkl", clips)
    return ids


def poses(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        write_pose(folder / f"{name}.pose", holistic(468, world=False), scored("mediapipe_543", seed, frames=50))


def youtube_asl(root: Path) -> dict[str, str]:
    """Two captions of one second in each of three videos of two seconds, at 25 frames a second."""
    names, ids = ["-0FuD6Ok9mk", "Zz_1", "a-b"], {}
    poses(root / "poses", names)
    (root / "captions").mkdir()
    for name in names:
        cues = [(0.0, 1.0, "train"), (1.0, 2.0, "dev")]
        text = "".join(f"\n00:00:0{a:.3f} --> 00:00:0{b:.3f}\n{text_of(split)}\n" for a, b, split in cues)
        (root / "captions" / f"{name}.en.vtt").write_text("WEBVTT\n" + text, encoding="utf-8")
        ids |= {f"{name}/{a:.3f}-{b:.3f}": split for a, b, split in cues}
    return ids


def meinedgs(root: Path) -> dict[str, str]:
    """In each of three conversations a sentence of A in her film, one of B in his, in German and in English."""
    ids = {}
    names = [f"14134{i}1-11105600-11163240" for i in range(3)]
    poses(root / "poses", [f"{name}_{film}" for name in names for film in ("1a1", "1b1")])
    (root / "eaf").mkdir()
    for name in names:
        eaf = Eaf(f"{name}_1a1.mp4", f"{name}_1b1.mp4")
        for who, start, split in (("A", 0, "train"), ("B", 800, "dev")):
            eaf.timed(f"Deutsche_Übersetzung_{who}", [(start, start + 1000, text_of(split))], participant=who)
            eaf.timed(f"Translation_into_English_{who}", [(start, start + 1000, "other")], participant=who)
            eaf.timed(f"Lexem_Gebärde_r_{who}", [(start, start + 400, "GLOSSE1A")], participant=who)
            ids[f"{name}/{who}/{start / 1000:.3f}-{start / 1000 + 1:.3f}"] = split
        (root / "eaf" / f"{name}.eaf").write_text(str(eaf), encoding="utf-8")
    return ids


TREES: dict[str, Callable[[Path], dict[str, str]]] = {
    f.__name__: f for f in (phoenix14t, csl_daily, how2sign, openasl, isharah, youtube_asl, meinedgs)
}


def commands(recipe: str) -> list[list[str]]:
    text = (ROOT / "recipes" / f"{recipe}.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^mlflow run .*$", text, re.M)]


def given_to(words: list[str]) -> dict[str, str]:
    return dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-P")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_import_of_the_recipe_reads_its_tree(recipe: str, tmp_path: Path) -> None:
    given = given_to(next(words for words in commands(recipe) if "import" in words))
    root = tmp_path / recipe
    root.mkdir()
    ids = TREES[recipe](root)
    options = parse({**{str(option.name): "" for option in main.params}, **given, "relative_to": str(tmp_path)})
    report = import_corpus(options.source, options.out, options.rules, reading=options.reading, workers=0)
    corpus = open_store(options.out)
    assert dict(zip(corpus.ids, corpus.texts, strict=True)) == {name: text_of(split) for name, split in ids.items()}
    if options.rules.splitting is None:
        assert dict(zip(corpus.ids, corpus.splits, strict=True)) == {n: SPLITS[split] for n, split in ids.items()}
    else:  # no recording is in two splits
        assert len({(id.split("/")[0], split) for id, split in zip(corpus.ids, corpus.splits, strict=True)}) == 3
    assert report.numbers["clips"] == len(ids)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_settings_of_the_recipe_are_parameters(recipe: str) -> None:
    (given,) = [given_to(words) for words in commands(recipe) if "-e" not in words]
    assert given["config_override"] == f"recipes/{recipe}.yaml"
    params = load.resolve(None, given["preset"], ROOT / given["config_override"])
    assert f"`{params.generate.scoring}`" in (ROOT / "recipes" / f"{recipe}.md").read_text() or recipe == "isharah"


def test_every_recipe_is_listed_and_tested() -> None:
    listed = set(re.findall(r"\((\w+)\.md\)", (ROOT / "recipes" / "README.md").read_text()))
    assert listed == set(RECIPES) == set(TREES)

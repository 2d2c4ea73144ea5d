"""benchmarks/quality.py on tiny data: every variant and a peer's checkout really run, and all is logged."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests import tiny
from tests.conftest import use_store

CHECKOUT = {  # of our own making, with the names that Uni-Sign's code has
    "stgcn_layers/__init__.py": "class Graph: pass\ndef get_stgcn_chain(): pass\n",
    "datasets.py": """
import nobody_has_this
def crop_scale(): pass
def load_part_kp(skeletons, confs, force_ok=False):
    places = {"body": [0, *range(3, 11)], "left": range(91, 112), "right": range(112, 133)}
    return {name: torch.tensor(np.concatenate([np.stack(skeletons)[:, 0, list(at)],
                                               np.stack(confs)[:, 0, list(at), None]], -1)) for name, at in places.items()}
""",
    "models.py": """
import nobody_has_this_either
def trunc_normal_(): pass
def _no_grad_trunc_normal_(): pass
class Uni_Sign(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.pose_proj = nn.Linear(51 * 3, 768)
        self.mt5_model = MT5ForConditionalGeneration.from_pretrained(mt5_path)
        self.mt5_tokenizer = T5Tokenizer.from_pretrained(mt5_path)
    def _init_weights(self, module):
        pass
    def forward(self, source, target):
        x = self.pose_proj(torch.cat([source[name].flatten(2) for name in ("body", "left", "right")], -1))
        labels = self.mt5_tokenizer(target["gt_sentence"], return_tensors="pt", padding=True)["input_ids"]
        out = self.mt5_model(inputs_embeds=x, attention_mask=source["attention_mask"], labels=labels)
        return {"inputs_embeds": x, "attention_mask": source["attention_mask"], "loss": out.loss}
    def generate(self, encoded, max_new_tokens, num_beams):
        return self.mt5_model.generate(inputs_embeds=encoded["inputs_embeds"], attention_mask=encoded["attention_mask"],
                                       max_new_tokens=max_new_tokens, num_beams=num_beams)
""",
}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name, content in CHECKOUT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


def run(data: Path, out: Path, *more: object) -> list[dict]:
    from benchmarks import quality

    short = {
        f"{stage}.training.{name}": 2
        for stage in ("skeleton", "temporal", "alignment")
        for name in ("steps", "evaluations")
    }
    sets = tiny.sets() | short | {"alignment.generation.beams": 1}
    arguments = ["--data", data, "--seeds", 1, "--labels", 6, "--scoring", "split", "--out", out, *more]
    with pytest.MonkeyPatch.context() as patch:
        given = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
        patch.setattr(sys, "argv", ["quality", *map(str, arguments), *given])
        quality.main()
    return json.loads(out.read_text())


def test_what_several_runs_wrote_becomes_one_table_and_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import quality

    row = quality.Row("default", 6, 0, "test", "", dict.fromkeys(quality.FIGURES, 50.0), None, {"a": 1.0}, 1000, 2.0)
    files = []
    for seed, variant, bleu in ((0, "default", 40.0), (1, "default", 60.0), (0, "tiny", 10.0)):
        files.append(tmp_path / f"{variant}{seed}.json")
        found = replace(row, variant=variant, seed=seed, scores=row.scores | {"bleu4": bleu})
        files[-1].write_text(json.dumps([asdict(found)]))
    out = tmp_path / "all.json"
    line = ["quality", "--merge", *map(str, files), "--out", str(out), "--pictures", str(tmp_path / "pictures")]
    monkeypatch.setattr(sys, "argv", line)
    quality.main()
    assert "| default | 6 | test | 50.0 ± 14.1 |" in capsys.readouterr().out
    assert [row["scores"]["bleu4"] for row in json.loads(out.read_text())] == [40.0, 60.0, 10.0]
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"label_curve.png", "sizes.png"}


RUN = (
    "default",
    "scratch",
    "no_skeleton",
    "no_temporal",
    "contrast",
    "no_ctc",
    "no_self_training",
    "frozen",
    "no_augmentation",
)


def test_every_kind_of_variant_runs(tiny_data: Path, tmp_path: Path) -> None:
    rows = run(tiny_data, tmp_path / "rows.json", "--no-log", "--variants", ",".join(RUN))
    assert all(0 < row["dev_loss"] < 20 for row in rows)
    assert {(row["variant"], row["split"]) for row in rows} == {(v, s) for v in RUN for s in ("dev", "test")}
    trained = {
        row["variant"]: {stage for stage, seconds in row["seconds"].items() if seconds} - {"generate"} for row in rows
    }
    assert trained["default"] == trained["frozen"] == {"skeleton", "temporal", "alignment"}
    assert trained["scratch"] == {"alignment"}
    assert trained["no_skeleton"] == {"temporal", "alignment"} and trained["no_temporal"] == {"skeleton", "alignment"}


def test_each_number_of_labels_starts_from_the_same_pretraining(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import trainings

    began, train = [], trainings.alignment.train

    def spy(params, corpus, texts, model, *more):
        began.append([weight.detach().clone() for weight in model.parameters()])
        return train(params, corpus, texts, model, *more)

    monkeypatch.setattr(trainings.alignment, "train", spy)
    run(tiny_data, tmp_path / "rows.json", "--no-log", "--variants", "default", "--labels", "4,6")
    first, second = began
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_videos_without_a_text_can_be_left_out(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import trainings
    from sign_models.datasets.inputs import Inputs

    seen: dict[str, list] = {"skeleton": [], "temporal": []}
    for stage, corpora in seen.items():
        module = getattr(trainings, stage)

        def spy(params, corpus, *more, train=module.train, corpora=corpora):
            corpora.append(corpus)
            return train(params, corpus, *more)

        monkeypatch.setattr(module, "train", spy)
    run(tiny_data, tmp_path / "rows.json", "--no-log", "--variants", "default", "--labels", "4,6", "--only-labelled")
    inputs = Inputs.from_paths(tiny_data, None, None, None)
    assert [corpus.ids for corpus in seen["skeleton"]] == [inputs.keypoints.ids] * 2
    for count, corpus in zip((4, 6), seen["temporal"], strict=True):
        texts = trainings.labelled(inputs, count, 0)
        assert sorted(corpus.ids) == sorted(texts.keys() & {*inputs.videos.ids}) and len(corpus) < len(inputs.videos)
        for i, name in enumerate(corpus.ids):
            whole = inputs.videos.index[name]
            assert (corpus.clip(i) == inputs.videos.clip(whole)).all()
            assert corpus.splits[i] == inputs.videos.splits[whole]


@pytest.mark.parametrize("variant", ["contrast", "no_ctc", "frozen", "no_rotate", "no_augmentation"])
def test_a_variant_changes_what_it_names(variant: str) -> None:
    from benchmarks import quality
    from sign_models.params import load

    plain, changed = (load.flatten(load.resolve(sets=sets), "p") for sets in ({}, quality.VARIANTS[variant].sets))
    different = {name.removeprefix("p.") for name in plain if plain[name] != changed[name]}
    sets = quality.VARIANTS[variant].sets.items()
    assert different == {name for name, value in sets if plain[f"p.{name}"] != yaml.safe_load(value)}
    assert different


def test_a_size_is_the_preset_of_its_name(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import quality
    from sign_models.params import load

    presets, resolve = [], load.resolve

    def spy(file, preset, *more):
        presets.append(preset)
        return resolve(file, preset, *more)

    monkeypatch.setattr(quality.load, "resolve", spy)
    run(tiny_data, tmp_path / "rows.json", "--no-log", "--variants", "tiny,scratch", "--preset", "quick")
    assert presets == ["tiny", "quick"]
    assert {v.preset for v in quality.VARIANTS.values()} - {None} <= set(load.presets())


def test_the_peer_is_trained_and_scored_beside_the_pipeline(tiny_data: Path, tmp_path: Path, checkout: Path) -> None:
    rows = run(tiny_data, tmp_path / "rows.json", "--no-log", "--variants", "", "--peer", f"unisign={checkout}",
               "--peer-steps", 2, "--degraded")  # fmt: skip
    assert {(row["variant"], row["labels"], row["split"]) for row in rows} == {
        ("unisign", 6, "dev"),
        ("unisign", 6, "test"),
    }
    assert {row["kind"] for row in rows} > {"", "hands_lost", "rolled"}
    assert all(row["seconds"]["training"] > 0 for row in rows)


def test_the_peer_sees_each_landmark_at_its_place(checkout: Path, tiny_data: Path) -> None:
    from benchmarks import unisign
    from sign_models.datasets.inputs import Inputs
    from sign_models.keypoints.layouts import CANONICAL

    inputs = Inputs.from_paths(tiny_data, None, None, None)
    clips = unisign.Clips(unisign.Checkout(checkout), inputs.videos)
    body = clips[0]["body"]
    names = (
        "nose",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
    )
    wanted = inputs.videos.clip(0)[:, [CANONICAL.index(f"body.{name}") for name in names]]
    np.testing.assert_array_equal(body, wanted.astype(np.float32))
    batch = clips.batch(np.array([0, 1]))
    lengths = inputs.videos.lengths[:2]
    assert batch["attention_mask"].sum(1).tolist() == lengths.tolist()
    np.testing.assert_array_equal(batch["body"][lengths.argmin(), -1], clips[int(lengths.argmin())]["body"][-1])


def test_runs_are_children_of_one_with_the_table_and_the_curve(
    tiny_data: Path, tmp_path: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    use_store(tmp_path, monkeypatch)
    run(tiny_data, tmp_path / "rows.json", "--variants", "scratch")
    client = mlflow.MlflowClient()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    (child,) = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {"label_curve.png", "sizes.png", "table.md"} <= {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert child.data.params["variant"] == "scratch" and "test.plain.bleu4" in child.data.metrics

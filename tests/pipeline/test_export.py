"""An exported translator reads what torch reads, in any length, without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from numpy.random import default_rng

from sign_models import serving
from sign_models.errors import DataError, ResourceError, SignError
from sign_models.keypoints.normalise import normalise
from sign_models.keypoints.sequence import KeypointSequence, with_channels
from sign_models.models import storage
from sign_models.models.confidence import Confidence
from sign_models.models.export import export_onnx
from sign_models.models.translator import Translator
from sign_models.serving.exported import ExportedTranslator, ctc_likelihood, quantize
from sign_models.serving.predictor import Predictor
from sign_models.tracking.registered.registry import resolve
from tests import tiny
from tests.conftest import Command, exit_code, use_store

pytest.importorskip("onnxruntime", reason="the optional extra `onnx` is not installed")


def clips(count: int) -> list[KeypointSequence]:
    """Of 5 to 100 frames: from less than one vector to several windows."""
    made = []
    for i in range(count):
        frames = 5 + 95 * i // (count - 1)
        words = [tiny.WORDS[(i + k) % len(tiny.WORDS)] for k in range(1 + i % 4)]
        values = tiny.clip(i, frames, words)
        made.append(KeypointSequence(str(i), values[..., :2], values[..., 2], tiny.LAYOUT, "pixel", None, tiny.FPS))
    return made


@pytest.fixture(scope="module")
def exported(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `export` writes of the tiny pipeline's translator; its runs are in mlflow.db beside it."""
    folder = tmp_path_factory.mktemp("export")
    shutil.copy(built / "mlflow.db", folder)
    with pytest.MonkeyPatch.context() as patch:
        use_store(folder, patch)
        from sign_models.cli import commands

        patch.setattr(commands, "guard_process", lambda: None)
        assert exit_code("export", "--version", "1", "--format", "onnx", "--out", "onnx") == 0
    return folder / "onnx"


@pytest.mark.parametrize("beams", [None, 1])
def test_clips_of_any_length_read_as_torch_reads_them(
    exported: Path, monkeypatch: pytest.MonkeyPatch, beams: int | None
) -> None:
    use_store(exported.parent, monkeypatch)
    predictor, translator = serving.load(resolve("1", "translator").path()), ExportedTranslator(exported)
    assert predictor.model.generation.beams > 1
    wanted, found, scores = [], [], set()
    for clip in clips(20):
        [answer] = predictor.predict([clip], beams=beams, windows=True)
        wanted.append([(*w["frames"], w["text"]) for w in answer["windows"]])
        segments = translator.translate(clip, beams=beams)
        found.append([(s.begin, s.end, s.text) for s in segments])
        assert np.allclose([s.score for s in segments], [w["score"] for w in answer["windows"]], atol=1e-3)
        scores |= {round(s.score, 3) for s in segments}
    assert found == wanted
    # the tiny model knows few texts, but is sure of each clip in another way
    assert len({text for texts in found for *_, text in texts}) > 1 and max(map(len, found)) > 1
    assert len(scores) > 16


REGRESSION = Confidence(
    mean=(-1.0, -4.0, 1.0, -1.0, 0.5, 0.0),
    scale=(0.5, 2.0, 1.0, 0.5, 0.3, 1.0),
    weights=(0.9, 0.4, 0.7, 0.6, 1.1, -0.3),  # each feature counts
    bias=0.2,
)


@pytest.fixture(scope="module")
def judging(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Translator, Path]:
    """The same translator with a calibrated confidence, in memory and exported. Its graphs are the same."""
    folder = shutil.copytree(exported, tmp_path_factory.mktemp("judging"), dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        use_store(exported.parent, patch)
        model = storage.load(resolve("1", "translator").path())
        assert isinstance(model, Translator)
        model.confidence = REGRESSION
        patch.setattr("sign_models.models.export._export", lambda *_: None)
        export_onnx(model, folder)
    return model, folder


@pytest.mark.parametrize("beams", [None, 1])
def test_it_is_as_sure_as_torch_and_refuses_the_same(
    judging: tuple[Translator, Path], beams: int | None, tmp_path: Path
) -> None:
    model, folder = judging
    predictor = Predictor(model)
    sure = [w["confidence"] for a in predictor.predict(clips(20), beams=beams, windows=True) for w in a["windows"]]
    below = float(np.median(sure)) + 1e-4
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config["generation"]["reject_below"] = below  # as `generate -P reject_below=` writes it
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = set()
    translators = (ExportedTranslator(folder), below), (ExportedTranslator(tmp_path), None)
    for clip in clips(20):
        [answer] = predictor.predict([clip], beams=beams, windows=True, reject_below=below)
        for translator, asked in translators:
            segments = translator.translate(clip, beams=beams, reject_below=asked)
            for s, w in zip(segments, answer["windows"], strict=True):
                assert abs(s.confidence - w["confidence"]) < 1e-3
                assert (s.text, s.unsure, s.guess) == (w["text"], w["unsure"], w.get("guess", ""))
            told |= {s.unsure for s in segments}
    assert told == {True, False} and max(sure) - min(sure) > 0.1


def test_without_a_threshold_nothing_is_refused(judging: tuple[Translator, Path], exported: Path) -> None:
    for folder in (judging[1], exported):
        for clip in clips(3):
            assert all(s.text and not s.unsure for s in ExportedTranslator(folder).translate(clip, reject_below=0.0))
    [*segments] = ExportedTranslator(exported).translate(clips(3)[0], reject_below=1.0)  # not calibrated: raw
    assert segments and all(s.unsure and not s.text and s.guess for s in segments)
    assert segments[0].confidence == pytest.approx(np.exp(segments[0].score))


def test_an_export_of_before_is_refused_with_what_to_do(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    config = json.loads((exported / "config.json").read_text())
    del config["confidence"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="earlier version.*export again"):
        ExportedTranslator(tmp_path)


def test_the_run_says_what_was_exported(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_store(exported.parent, monkeypatch)
    [run] = mlflow.search_runs(filter_string="tags.`sign.stage` = 'export'", output_format="list")
    assert run.data.tags["sign.exported.version"] == "models:/sign-translator/1"
    assert run.data.metrics["same_texts"] == 1 and run.data.metrics["float32_mb"] > 0


def test_it_answers_without_torch(exported: Path, tiny_data: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from sign_models.keypoints import formats
from sign_models.serving.exported import ExportedTranslator
translator = ExportedTranslator(Path({str(exported)!r}))
clip = next(iter(formats.read(Path({str(tiny_data / "video_sequences.pkl")!r}))))
assert translator.translate(clip)[0].text
assert not {{"torch", "transformers", "mlflow"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_eight_bits_are_smaller_and_nearly_the_same(exported: Path, tmp_path: Path) -> None:
    small = shutil.copytree(exported, tmp_path / "int8")
    quantize(small)
    for name in ("encoder.onnx", "decoder.onnx"):
        assert (small / name).stat().st_size < 0.8 * (exported / name).stat().st_size
    pairs = [(ExportedTranslator(folder).translate(clip) for folder in (exported, small)) for clip in clips(8)]
    scores = [[segment.score for segment in segments] for pair in pairs for segments in pair]
    assert all(np.allclose(a, b, atol=0.5) for a, b in zip(scores[::2], scores[1::2], strict=True))


def test_ctc_scores_as_torch_does() -> None:
    rng = default_rng(0)
    for _ in range(100):
        vectors, count = int(rng.integers(1, 12)), int(rng.integers(0, 6))
        log_p = torch.tensor(rng.normal(size=(vectors, 6))).log_softmax(-1)
        tokens = rng.integers(0, 5, count).tolist()
        wanted = -torch.nn.functional.ctc_loss(
            log_p.unsqueeze(1),
            torch.tensor(tokens, dtype=torch.long).view(1, -1),
            torch.tensor([vectors]),
            torch.tensor([count]),
            blank=5,
            reduction="none",
        ).item()
        found = ctc_likelihood(log_p.numpy(), tokens, 5)
        assert found == wanted or np.isclose(found, wanted), (tokens, vectors)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--format", "tflite", "--out", "x"), "wanted onnx"),
        ((), "out: not given"),
        (("--out", "."), "holds files"),
        (("--out", "x", "--version", "9"), "no version 9"),
    ],
)
def test_a_mistake_is_one_message(pipeline: Command, arguments: tuple, wanted: str, tmp_path: Path) -> None:
    done = pipeline("export", *arguments, data=False, params=False)
    assert done.code == 2 and wanted in done.err and len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_what_is_not_installed_is_named(pipeline: Command, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = pipeline("export", "--out", "x", data=False, params=False)
    assert done.code == 2 and "sign-models[onnx]" in done.err
    with pytest.raises(SignError, match="pip install onnxruntime"):
        ExportedTranslator(exported)


def test_a_folder_that_is_no_export_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no encoder\.onnx.*-e export"):
        ExportedTranslator(tmp_path)


IN_THE_BROWSER = """async ({clip, shape, most, end}) => {
    const ort = await import("/dist/ort.wasm.bundle.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = "/dist/";
    const [encoder, decoder] = await Promise.all(
        ["/encoder.onnx", "/decoder.onnx"].map((file) => ort.InferenceSession.create(file)));
    const keypoints = new ort.Tensor("float32", Float32Array.from(clip), [1, ...shape]);
    const seen = new ort.Tensor("bool", new Uint8Array(shape[0]).fill(1), [1, shape[0]]);
    const {states, states_mask: mask, ctc} = await encoder.run({keypoints, mask: seen});
    const tokens = [];
    while (tokens.length < most) {
        const row = BigInt64Array.from([...tokens, 0].map(BigInt));
        const {log_probs} = await decoder.run({tokens: new ort.Tensor("int64", row, [1, row.length]), states, mask});
        const last = log_probs.data.slice(-log_probs.dims[2]);
        const token = last.indexOf(Math.max(...last));
        if (token === end) break;
        tokens.push(token);
    }
    return {tokens, ctc: Array.from(ctc.data)};
}"""


@pytest.mark.browser
def test_a_browser_reads_the_same(exported: Path, tmp_path: Path) -> None:
    """onnxruntime-web, in Chromium, with nothing but the exported files."""
    from sign_models.video.browser import package_files

    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make browser")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None or shutil.which("npm") is None:
        pytest.skip("needs Chromium and npm")
    lock = json.loads(Path(__file__).with_name("onnxruntime-web.lock.json").read_text())
    try:
        package = package_files(lock)
    except ResourceError as error:
        pytest.skip(str(error))
    shutil.copytree(exported, site := tmp_path / "site")
    shutil.copytree(package / "dist", site / "dist")
    (site / "index.html").write_text("<!doctype html><title>exported</title>")
    config = json.loads((exported / "config.json").read_text())
    translator = ExportedTranslator(exported)
    with serving_files(site) as url, api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--headless=new", "--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        for clip in clips(3)[1:2] + clips(5)[1:2]:
            frames = normalise(clip).astype(np.float16).astype(np.float32)
            frames = with_channels(frames[: len(frames) // config["stride"] * config["stride"]], 4)
            given = {
                "clip": frames.ravel().tolist(),
                "shape": frames.shape,
                "most": config["generation"]["max_length"],
                "end": config["end"],
            }
            found = page.evaluate(IN_THE_BROWSER, given)
            states, mask, ctc = translator._encode(frames)
            assert [found["tokens"]] == translator._search(states, mask, 1, given["most"])
            assert np.allclose(found["ctc"], ctc.ravel(), atol=1e-4)
        browser.close()


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """A server of a folder's files on loopback."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()

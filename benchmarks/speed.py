"""How fast every part is, beside peers in the same run and beside the hardware's limit.

usage: python -m benchmarks.speed [--rows temporal,generate,...] [--peer unisign=CHECKOUT] [--peer mska=CHECKOUT]
           [--preset NAME] [--set NAME=VALUE ...] [--rounds N] [--out FILE] [--no-log]

Clips are generated: a store with PHOENIX14T's lengths (mean 117, 95 % below 208 frames) and texts of 14 words. Training
is a stage's own `train`: reading, varying, masking, optimiser and averaging are counted. Between two of its reports
(training.LOG_STEPS steps) the peers train on clips of the same lengths, so that every ratio is of neighbours
in one run. Frames are real ones, without padding; warm-up is not counted; figures are medians (least - most). Roofs:
products counted by torch, bytes as unfused operations move them, beside a product and a copy measured on the device.
Rows: temporal, alignment, generate, represent, clip, cpu (temporal and clip on 2 cores), start, entry, loader, memory,
scaling. Results go to MLflow (--no-log: not), as JSON to --out, as a table to standard output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import roofline
from benchmarks.alternating import Alternating, Idle
from benchmarks.figures import Figure, record, table, written
from benchmarks.generated import decoder_folder, encoder, lengths_like_phoenix, stored, translator
from benchmarks.peers import FILES, LONGEST, MSKA, Batch, Peer, UniSign
from benchmarks.roofline import Ceiling, Work
from sign_models.data.batching import DeviceCorpus, Sampler
from sign_models.data.corpus import Corpus
from sign_models.data.splits import of_split
from sign_models.keypoints.sequence import of_canonical
from sign_models.models.predictor import Predictor
from sign_models.params import load
from sign_models.params.schema import PipelineParams
from sign_models.stages.alignment import AlignmentTask
from sign_models.stages.alignment import train as train_alignment
from sign_models.stages.generate import generate as generate_texts
from sign_models.stages.represent import represent as represent_videos
from sign_models.stages.temporal import TemporalTask
from sign_models.stages.temporal import train as train_temporal
from sign_models.step import to_device
from sign_models.training import LOG_STEPS, Hardware, Task, hardware

ROOT = Path(__file__).resolve().parents[1]
COUNTED = 8  # clips whose work is counted
TOKENS, BEAMS = 32, 4
SENTENCE = 15  # tokens of PHOENIX14T's mean sentence, its end included
PEER_FRAMES = {"cuda": 2**14, "cpu": 2**10}  # at most in a peer's batch: more of them are no faster
PEER_STEPS = {"cuda": 3, "cpu": 1}  # a round
BATCH = "256"  # clips a temporal step on a GPU: what a card is given that has the memory
WARM = {"cuda": 3, "cpu": 0}  # reports that are not counted beside the first: a GPU records the shapes of its steps


class Skipped(Exception):
    """A row that this machine or this command cannot measure."""


class Bench:
    """What the rows share."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder, self.rounds = given, folder, given.rounds
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.warm = WARM[self.device.type]
        self.preset = given.preset if given.preset is not None else "base" if self.device.type == "cuda" else ""
        self.peers = {name: Path(path).resolve() for name, path in (p.split("=", 1) for p in given.peer)}
        self._stores: dict[tuple[int, ...], Corpus] = {}

    @cached_property
    def ceiling(self) -> Ceiling:
        return roofline.ceiling(self.device)

    @property
    def asked(self) -> dict[str, str]:
        """Parameters beside the preset's."""
        larger = {"temporal.training.batch_size": BATCH} if self.device.type == "cuda" else {}
        return larger | dict(pair.split("=", 1) for pair in self.given.set)

    def params(self, **sets: object) -> PipelineParams:
        """Names with __ for dots."""
        own = {name.replace("__", "."): str(value) for name, value in sets.items()}
        return load.resolve(None, self.preset, None, self.asked | own)

    def command(self, stage: str, *options: str) -> list[str]:
        own = [f"--{name}={value}" for name, value in self.asked.items() if name.startswith(f"{stage}.")]
        return ["-m", f"entrypoints.{stage}", f"--preset={self.preset}", *own, *options]

    def training(self, stage: str, rounds: int, **sets: object) -> PipelineParams:
        """As long as `rounds` measured reports take."""
        once = {"steps": LOG_STEPS * (1 + self.warm + rounds), "evaluations": 1, "checkpoint_minutes": 1e6}
        return self.params(**{f"{stage}__training__{name}": value for name, value in once.items()}, **sets)

    def corpus(self, lengths: Sequence[int]) -> Corpus:
        if tuple(lengths) not in self._stores:
            self._stores[tuple(lengths)] = stored(self.folder / f"store-{len(self._stores)}", lengths)
        return self._stores[tuple(lengths)]

    def encoders(self) -> list[Peer]:
        made: dict[str, Callable[[], Peer]] = {
            "unisign": lambda: UniSign(self.peers["unisign"], self.device, whole=False),
            "mska": lambda: MSKA(self.peers["mska"], self.device),
        }
        return [made[name]() for name in self.peers]

    def batches(self, peer: Peer, corpus: Corpus, size: int, count: int) -> list[tuple[int, Batch]]:
        """Real frames and batch: clips of like length of this corpus, as ours come, `size` of them at most."""
        lengths = np.minimum(corpus.lengths, LONGEST.get(peer.key, corpus.lengths.max()))
        size = max(1, min(size, PEER_FRAMES[self.device.type] // int(np.median(lengths))))
        sampler = Sampler(corpus.lengths, np.arange(len(corpus)), size, seed=0)
        chosen = [lengths[sampler[step]].tolist() for step in range(count)]
        return [(sum(n), peer.batch(n, [corpus.texts[0] or ""] * len(n))) for n in chosen]

    def rate(self, peer: Peer, corpus: Corpus, size: int) -> Callable[[int], float]:
        """Frames a second of the peer's training, in rounds."""
        steps = PEER_STEPS[self.device.type]
        batches = self.batches(peer, corpus, size, steps * 4)

        def run(place: int) -> float:
            turn = [batches[(place * steps + i) % len(batches)] for i in range(steps)]
            spent = roofline.seconds(lambda: [peer.step(batch) for _, batch in turn], self.device)
            return sum(frames for frames, _ in turn) / spent

        return run


# Rows ----------------------------------------------------------------------------------------------------------------


def _beside(name: str, ours: Sequence[float], peers: Sequence[Peer], rates: list[list[float]], unit: str,
            goals: dict[str, float]) -> Iterator[Figure]:  # fmt: skip
    """The peers' own figures, and the ratios of neighbours."""
    for place, peer in enumerate(peers):
        theirs = [row[place] for row in rates][: len(ours)]
        yield Figure(f"{name}.{peer.key}", tuple(theirs), unit, about=peer.name)
        ratios = tuple(a / b for a, b in zip(ours, theirs, strict=True))
        yield Figure(f"{name}.times_{peer.key}", ratios, "times", goals.get(peer.key), about=peer.name)


def _work(task: Task, machine: Hardware) -> Work:
    """Of a training step of COUNTED clips, forward and backward, a real frame."""
    task.objective.to(machine.device)

    def step() -> float:
        batch, frames = task.batch(to_device(task.draw(0, slice(0, COUNTED)), machine.device))
        with machine.autocast():
            loss = task.objective(batch)["loss"]
        loss.backward()
        return float(frames)

    return roofline.count(step)


def _weights(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M weights"


def _train_temporal(b: Bench, params: PipelineParams, corpus: Corpus, recorder: Alternating) -> tuple[list[float], str]:
    """-> frames a second, one a measured round; what was trained."""
    p = params.temporal
    trained = train_temporal(p, corpus, encoder(params).skeleton, recorder)
    sampler = Sampler(corpus.lengths, of_split(corpus, "train"), p.training.batch_size, p.training.seed)
    frames = recorder.frames(sampler, p.max_frames, trained.progress)
    rates = [n / seconds for n, seconds in zip(frames, recorder.seconds, strict=True)]
    return rates, f"{_weights(trained.model)}, {p.training.batch_size} clips a step"


def _temporal_work(params: PipelineParams, corpus: Corpus) -> Work:
    machine = hardware(params.temporal.model.width)
    return _work(TemporalTask(params.temporal, corpus, encoder(params).skeleton, machine), machine)


def temporal(b: Bench) -> Iterator[Figure]:
    params = b.training("temporal", b.rounds)
    size = params.temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    peers = b.encoders()
    work = _temporal_work(params, corpus)
    recorder = Alternating(b.device, b.warm, [b.rate(peer, corpus, size) for peer in peers])
    rates, about = _train_temporal(b, params, corpus, recorder)
    gpu = b.device.type == "cuda"
    yield Figure("temporal.train", tuple(rates), "frames/s", 2e6 if gpu else None, work=work, about=about)
    share = tuple(100 * rate * work.flops / b.ceiling.products for rate in rates)
    yield Figure("temporal.ceiling", share, "% of the products' ceiling", 25 if gpu else None)
    yield from _beside("temporal", rates, peers, recorder.rates, "frames/s", {"unisign": 20 if gpu else 40})


def alignment(b: Bench) -> Iterator[Figure]:
    """The text model has mT5-base's layers and width, as Uni-Sign's; ours keeps the vocabulary of the texts only."""
    folder = decoder_folder(b.folder / "decoder", b.device)
    for size in b.given.alignment_batches:
        decoder = {"alignment__decoder__pretrained": folder, "alignment__decoder__prune": "true"}
        params = b.training("alignment", b.rounds, **decoder, alignment__training__batch_size=size)
        p = params.alignment
        corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
        texts = {name: text for name, text in zip(corpus.ids, corpus.texts, strict=True) if text}
        peers: list[Peer] = [UniSign(b.peers["unisign"], b.device, whole=True)] if "unisign" in b.peers else []
        machine = hardware(params.temporal.model.width)
        work = _work(AlignmentTask(p, corpus, texts, encoder(params), machine, "split", None), machine)
        recorder = Alternating(b.device, b.warm, [b.rate(peer, corpus, size) for peer in peers])
        trained = train_alignment(p, corpus, texts, encoder(params), recorder, "split")
        sampler = Sampler(corpus.lengths, of_split(corpus, "train"), size, p.training.seed)
        frames = recorder.frames(sampler, p.max_frames, trained.progress)
        rates = [n / seconds for n, seconds in zip(frames, recorder.seconds, strict=True)]
        name, about = f"alignment.batch_{size}", f"{_weights(trained.model)}, {size} clips a step"
        yield Figure(f"{name}.train", tuple(rates), "frames/s", work=work, about=about)
        yield from _beside(name, rates, peers, recorder.rates, "frames/s", {"unisign": 5})


def generate(b: Bench) -> Iterator[Figure]:
    gpu = b.device.type == "cuda"
    for big in (False, True):
        name, clips = ("mt5_base", 256) if big else ("default", 1024)
        params = b.params(generate__batch_size=64 if big else 256)
        corpus = b.corpus(lengths_like_phoenix(clips if gpu else clips // 32))
        model = translator(params, big, TOKENS, BEAMS, b.device)
        few = DeviceCorpus(corpus, b.device).whole(np.arange(COUNTED))
        work = roofline.count(lambda m=model, x=few: len(m.translate(*m(x.x, x.mask))))
        peers = [UniSign(b.peers["unisign"], b.device, whole=True)] if big and "unisign" in b.peers else []
        asked = [(peer, batch) for peer in peers for _, batch in b.batches(peer, corpus, 64, 1)]
        rates, theirs = list[float](), list[list[float]]()
        for turn in range(b.rounds + 1):
            spent = roofline.seconds(lambda m=model, c=corpus, p=params: generate_texts(m, c, {}, p.generate), b.device)
            row = [
                len(batch["gt_sentence"])
                / roofline.seconds(lambda p=peer, x=batch: p.generate(x, TOKENS, BEAMS), b.device)
                for peer, batch in asked
            ]
            if turn:
                rates.append(len(corpus) / spent)
                theirs.append(row)
        goal = None if not gpu else 200 if big else 1500
        about = f"beam {BEAMS}, {TOKENS} tokens, {_weights(model)}"
        yield Figure(f"generate.{name}", tuple(rates), "sentences/s", goal, work=work, about=about)
        yield from _beside(f"generate.{name}", rates, peers, theirs, "sentences/s", {})


def represent(b: Bench) -> Iterator[Figure]:
    gpu = b.device.type == "cuda"
    params = b.params()
    corpus = b.corpus(lengths_like_phoenix(8192 if gpu else 256))
    model = encoder(params).to(b.device)
    few = DeviceCorpus(corpus, b.device).whole(np.arange(COUNTED))
    with torch.no_grad():
        work = roofline.count(lambda: (model.encode(few.x, few.mask), float(few.lengths.sum()))[1])
    peers = b.encoders()
    batches = [(peer, *b.batches(peer, corpus, 10**6, 1)[0]) for peer in peers]
    rates, theirs = list[float](), list[list[float]]()
    for turn in range(b.rounds + 1):
        spent = roofline.seconds(lambda: list(represent_videos(model, corpus, params.represent.batch_frames)), b.device)
        row = [n / roofline.seconds(lambda p=peer, x=batch: p.encode(x), b.device) for peer, n, batch in batches]
        if turn:
            rates.append(len(corpus.frames) / spent)
            theirs.append(row)
    goal = 5e6 if gpu else None
    yield Figure("represent", tuple(rates), "frames/s", goal, work=work, about=_weights(model))
    yield from _beside("represent", rates, peers, theirs, "frames/s", {})


def clip(b: Bench) -> Iterator[Figure]:
    """One clip of 256 frames to text, in process, as the served model answers."""
    sequence = of_canonical("clip", b.corpus([256] * 4).clip(0))
    for tokens, goal in ((SENTENCE, 60.0), (TOKENS, None)):
        model = Predictor(translator(b.params(), False, tokens, BEAMS, torch.device("cpu")))
        spent = [roofline.seconds(lambda m=model: m.predict([sequence], beams=BEAMS), b.device) for _ in range(3 + 30)]
        goal = goal if b.device.type == "cpu" else None
        values = tuple(1000 * s for s in spent[3:])
        yield Figure(f"clip.{tokens}_tokens", values, "ms", goal, most=True, about=f"beam {BEAMS}")


def cpu(b: Bench) -> Iterator[Figure]:
    """temporal and clip again in a process that has 2 cores and no GPU."""
    out = b.folder / "cpu.json"
    command = [sys.executable, "-m", "benchmarks.speed", "--rows=temporal,clip", f"--rounds={min(3, b.rounds)}"]
    command += [*(f"--set={pair}" for pair in b.given.set), "--no-log", f"--out={out}"]
    command += [f"--preset={b.given.preset}"] if b.given.preset else []
    command += [f"--peer=unisign={b.peers['unisign']}"] if "unisign" in b.peers else []
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    cores = sorted(os.sched_getaffinity(0))[:2]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
                   preexec_fn=lambda: os.sched_setaffinity(0, cores))  # fmt: skip
    for row in json.loads(out.read_text())["figures"]:
        work = None if row["work"] is None else Work(**row["work"])
        yield Figure(**row | {"name": f"cpu.{row['name']}", "values": tuple(row["values"]), "work": work})


def start(b: Bench) -> Iterator[Figure]:
    """Commands as they are typed, the median of three."""
    commands = sorted(path.stem for path in ROOT.glob("entrypoints/[a-z]*.py"))
    took = {name: [_run(["-m", f"entrypoints.{name}", "--help"], ROOT) for _ in range(3)] for name in commands}
    slowest = max(took, key=lambda name: statistics.median(took[name]))
    yield Figure("start.help", tuple(took[slowest]), "s", 1, most=True, about=f"the slowest, {slowest}")
    if importlib.util.find_spec("mlflow") is None:
        raise Skipped("the skipped pipeline needs MLflow")
    few = {"steps": 2, "batch_size": 4}
    _run(["-m", "entrypoints.pipeline", *(f"--{k.replace('_', '-')}={v}" for k, v in few.items())], b.folder)
    given = [f"-P{k}={v}" for k, v in (few | {"skip_trained": "true"}).items()]
    line = ["-m", "mlflow", "run", str(ROOT), "-e", "pipeline", "--env-manager", "local", *given]
    skipped = tuple(_run(line, b.folder) for _ in range(3))
    yield Figure("start.skipped", skipped, "s", 8, most=True, about="mlflow run -e pipeline, every stage skipped")


def _run(arguments: Sequence[str], folder: Path) -> float:
    """Wall time of a Python of this environment, in `folder`."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PATH": path}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def loader(b: Bench) -> Iterator[Figure]:
    """What a step waits for: reading and varying its clips, and how long the GPU stands still, whatever for."""
    params = b.training("temporal", b.rounds)
    size = params.temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    recorder = Idle(b.device, b.warm) if b.device.type == "cuda" else Alternating(b.device, b.warm)
    _train_temporal(b, params, corpus, recorder)
    task = TemporalTask(params.temporal, corpus, encoder(params).skeleton, hardware(params.temporal.model.width))

    def make(step: int) -> Any:
        return task.batch(to_device(task.draw(step, slice(0, size)), b.device))

    making = list[float]()
    for steps in recorder.steps:
        spent = roofline.seconds(lambda s=steps: [make(i) for i in s], b.device)
        making.append(100 * spent / recorder.seconds[len(making)])
    yield Figure("loader.batches", tuple(making), "% of a step", about="reading and varying, on the device")
    if isinstance(recorder, Idle):
        idle = tuple(100 * share for share in recorder.idle)
        yield Figure("loader.idle", idle, "% of the time", 2, most=True, about="the GPU runs nothing, for any reason")


def memory(b: Bench) -> Iterator[Figure]:
    """Peak of a training step, weights and optimizer included, of 64 clips of 128 frames."""
    if b.device.type != "cuda":
        raise Skipped("torch counts a GPU's memory only")
    size, length = 64, 128
    params = b.training("temporal", 1, temporal__training__batch_size=size, temporal__augment__tempo=0)
    corpus = b.corpus([length] * size * LOG_STEPS)

    def peak(work: Callable[[], Any]) -> float:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - held) / (size * length)

    ours = peak(lambda: _train_temporal(b, params, corpus, Alternating(b.device, b.warm)))
    yield Figure("memory.train", (ours / 1e3,), "KB a frame", about="with the corpus on the device")
    if "unisign" in b.peers:

        def train() -> None:
            peer = UniSign(b.peers["unisign"], b.device, whole=False)
            for _ in range(3):
                peer.step(peer.batch([length] * size, ["w"] * size))

        theirs = peak(train)
        yield Figure("memory.unisign", (theirs / 1e3,), "KB a frame")
        yield Figure("memory.share", (ours / theirs,), "of Uni-Sign's", 0.25, most=True)


def scaling(b: Bench) -> Iterator[Figure]:
    """Temporal training as the corpus, the clips and the model grow."""
    size = b.params().temporal.training.batch_size
    frames = size * 117
    kinds: dict[str, list[tuple[str, Sequence[int], dict[str, object]]]] = {
        "frames": [(f"{n:.0e}", lengths_like_phoenix(n // 117), {}) for n in (10**5, 10**6, 10**7)],
        "length": [
            (f"{t}", [t] * (frames // t * LOG_STEPS),
             {"temporal__training__batch_size": frames // t, "temporal__max_frames": t})
            for t in (64, 256, 1024, 2048)
        ],
        "weights": [
            (f"{width}x{layers}", lengths_like_phoenix(size * LOG_STEPS),
             {f"temporal__model__{n}": v for n, v in (("width", width), ("layers", layers), ("heads", width // 64))})
            for width, layers in ((128, 4), (256, 6), (512, 6), (1024, 11))
        ],
    }  # fmt: skip
    for kind in b.given.scaling.split(","):
        costs = []
        for point, lengths, sets in kinds[kind]:
            params = b.training("temporal", 2, **sets)
            corpus = b.corpus(lengths)
            rates, about = _train_temporal(b, params, corpus, Alternating(b.device, b.warm))
            work = _temporal_work(params, corpus)
            rate = statistics.median(rates)
            costs.append(1 / rate if kind != "weights" else 1 / (rate * work.flops))
            yield Figure(f"scaling.{kind}.{point}", tuple(1e9 / r for r in rates), "ns a frame", about=(
                f"{about}, {work.flops / 1e6:.1f} MFLOP a frame, {rate * work.flops / b.ceiling.products:.1%} of the "
                "products' ceiling"))  # fmt: skip
        spread = 100 * (max(costs) / min(costs) - 1)
        yield Figure(f"scaling.{kind}", (spread,), "% spread", 10, most=True,
                     about="of the cost a " + ("FLOP" if kind == "weights" else "frame"))  # fmt: skip


def entry(b: Bench) -> Iterator[Figure]:
    """The steps of temporal training through its command with MLflow, and through its function, in turn."""
    if importlib.util.find_spec("mlflow") is None:
        raise Skipped("needs MLflow")
    from mlflow import MlflowClient

    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    _run(b.command("skeleton", f"--data={corpus.sources}", "--steps=2"), b.folder)
    params = b.training("temporal", 2)
    line = [f"--data={corpus.sources}", f"--steps={params.temporal.training.steps}", "--training.evaluations=1"]
    shares = []
    for _ in range(b.rounds):
        _run(b.command("temporal", *line), b.folder)
        client = MlflowClient(f"sqlite:///{b.folder / 'mlflow.db'}")
        run = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
        points = client.get_metric_history(run.info.run_id, "train.loss")
        whole = (points[-1].timestamp - points[0].timestamp) / 1000
        recorder = Alternating(b.device, 0)
        _train_temporal(b, params, corpus, recorder)
        shares.append(100 * (whole / sum(recorder.seconds) - 1))
    yield Figure("entry.overhead", tuple(shares), "% slower", 3, most=True, about="reports to MLflow included")


ROWS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    f.__name__: f for f in (temporal, alignment, generate, represent, clip, cpu, start, entry, loader, memory, scaling)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="temporal,alignment,generate,represent,cpu,start,entry,loader,memory,scaling")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=CHECKOUT", help=" or ".join(FILES))
    parser.add_argument("--preset", help="base on a GPU, none on a CPU")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alignment-batches", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--scaling", default="frames,length,weights")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-log", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.rows.split(",")) - ROWS.keys():
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    for name, path in (pair.split("=", 1) for pair in given.peer):
        if name not in FILES or not (Path(path) / FILES[name]).is_file():
            parser.error(
                f"--peer {name}={path}: wanted one of {', '.join(FILES)} and a checkout with {FILES.get(name)}"
            )
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="sign-speed-") as folder:
        b = Bench(given, Path(folder))
        for row in given.rows.split(","):
            began = time.perf_counter()
            try:
                for figure in ROWS[row](b):
                    figures.append(figure)
                    print(figure.line(b.ceiling), file=sys.stderr, flush=True)
            except Skipped as reason:
                print(f"{row}: {reason}", file=sys.stderr)
            print(f"{row}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            if given.out:
                given.out.write_text(written(figures, b.device, b.ceiling))
        if not given.no_log:
            record(figures, b.device, b.ceiling)
        print(table(figures, b.device, b.ceiling))


if __name__ == "__main__":
    main()

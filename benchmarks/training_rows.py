"""Rows of benchmarks/speed.py about training: its speed, what it waits for, what it takes, how it grows."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from benchmarks import roofline
from benchmarks.alternating import Alternating, Idle, stored_frames
from benchmarks.bench import COUNTED, Bench, Skipped, beside, run, weights
from benchmarks.figures import Figure
from benchmarks.generated import decoder_folder, encoder, lengths_like_phoenix
from benchmarks.peers import Peer, UniSign
from benchmarks.roofline import Work
from sign_models.data.corpus import Corpus
from sign_models.data.sampler import MIN_POOL_BATCHES, Sampler
from sign_models.data.splits import clips_of_split
from sign_models.params.schema import PipelineParams
from sign_models.stages.alignment import train as train_alignment
from sign_models.stages.alignment_task import AlignmentTask
from sign_models.stages.temporal import TemporalTask
from sign_models.stages.temporal import train as train_temporal
from sign_models.training.device import Device, find_device, to_device
from sign_models.training.loop import LOG_STEPS
from sign_models.training.task import Task

ENTRY_REPORTS = {"cuda": 20, "cpu": 5}  # that are compared, after those that are not counted and two more, in which
# the first points are stored
PROCESSES_GOALS = {2: 1.85, 4: 3.7, 8: 7.2}  # times one, with as many clips a GPU
LARGE_RATE = 1e-4  # of a text model of mT5-base's size, from random weights; the default is for small ones


def _work(task: Task, device: Device) -> Work:
    """Of a training step of COUNTED clips, forward and backward, a real frame."""
    task.objective.to(device.torch_device)

    def step() -> float:
        batch, frames = task.batch(to_device(task.plan_batch(0, slice(0, COUNTED)), device.torch_device))
        with device.autocast():
            loss = task.objective(batch)["loss"]
        loss.backward()
        return float(frames)

    return roofline.count(step)


def _long_enough(b: Bench, corpus: Corpus, rounds: int, **sets: object) -> tuple[PipelineParams, list[int]]:
    """Parameters of a temporal training that has `rounds` reports which count, and which these are."""
    counted = b.counted(_temporal_task(b.params(**sets), corpus), rounds)
    return b.training("temporal", counted[-1] + 1, **sets), counted


def _temporal_task(params: PipelineParams, corpus: Corpus) -> TemporalTask:
    device = find_device()
    return TemporalTask(params.temporal, corpus, encoder(params).skeleton, device)


def _train_temporal(b: Bench, params: PipelineParams, corpus: Corpus, logger: Alternating) -> tuple[list[float], str]:
    """-> frames a second, one a measured round; what was trained."""
    p = params.temporal
    trained = train_temporal(p, corpus, encoder(params).skeleton, logger)
    sampler = Sampler(corpus.lengths, clips_of_split(corpus, "train"), p.training.batch_size, p.training.seed)
    frames = logger.frames(sampler, p.max_frames, trained.progress)
    rates = [n / seconds for n, seconds in zip(frames, logger.seconds, strict=True)]
    return rates, f"{weights(trained.model)}, {p.training.batch_size} clips a step"


def _temporal_work(params: PipelineParams, corpus: Corpus) -> Work:
    return _work(_temporal_task(params, corpus), find_device())


def _recordings(name: str, logger: Alternating) -> Iterator[Figure]:
    """What a training spends once, on shapes that a GPU has not recorded yet: beyond the median of rounds without."""
    usual, rounds = statistics.median(logger.seconds), logger.whole[1:]
    if logger.device.type == "cuda":
        about = f"once, in the {len(rounds)} reports until enough were without a new shape"
        yield Figure(f"{name}.recording", (sum(rounds) - usual * len(rounds),), "s", about=about)


def temporal(b: Bench) -> Iterator[Figure]:
    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    params, rounds = _long_enough(b, corpus, b.rounds)
    peers = b.encoders()
    work = _temporal_work(params, corpus)
    logger = Alternating(b.device, rounds, [b.rate(peer, corpus, size) for peer in peers])
    rates, about = _train_temporal(b, params, corpus, logger)
    gpu = b.device.type == "cuda"
    yield Figure("temporal.train", tuple(rates), "frames/s", 2e6 if gpu else None, work=work, about=about)
    share = tuple(100 * rate * work.flops / b.ceiling.products for rate in rates)
    yield Figure("temporal.ceiling", share, "% of the products' ceiling", 25 if gpu else None)
    yield from _recordings("temporal", logger)
    yield from beside("temporal", rates, peers, logger.rates, "frames/s", {"unisign": 20 if gpu else 40})


def alignment(b: Bench) -> Iterator[Figure]:
    """The text model has mT5-base's layers and width, as Uni-Sign's; ours keeps the vocabulary of the texts only."""
    folder = decoder_folder(b.folder / "decoder", b.device)
    for size in b.given.alignment_batches:
        decoder = {"alignment__decoder__pretrained": folder, "alignment__decoder__prune": "true"}
        own = {"alignment__training__batch_size": size, "alignment__training__lr": LARGE_RATE, **decoder}
        params = b.params(**own)
        corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
        texts = {name: text for name, text in zip(corpus.ids, corpus.texts, strict=True) if text}
        peers: list[Peer] = [UniSign(b.peers["unisign"], b.device, whole=True)] if "unisign" in b.peers else []
        device = find_device()
        task = AlignmentTask(params.alignment, corpus, texts, encoder(params), device, "split", None)
        rounds, work = b.counted(task, b.rounds), _work(task, device)
        del task
        p = b.training("alignment", rounds[-1] + 1, **own).alignment
        logger = Alternating(b.device, rounds, [b.rate(peer, corpus, size) for peer in peers])
        trained = train_alignment(p, corpus, texts, encoder(params), logger, "split")
        sampler = Sampler(corpus.lengths, clips_of_split(corpus, "train"), size, p.training.seed)
        frames = logger.frames(sampler, p.max_frames, trained.progress)
        rates = [n / seconds for n, seconds in zip(frames, logger.seconds, strict=True)]
        name, about = f"alignment.batch_{size}", f"{weights(trained.model)}, {size} clips a step"
        yield Figure(f"{name}.train", tuple(rates), "frames/s", work=work, about=about)
        yield from beside(name, rates, peers, logger.rates, "frames/s", {"unisign": 5})
        yield from _recordings(name, logger)


def loader(b: Bench) -> Iterator[Figure]:
    """What a step waits for: reading and varying its clips, and how long the GPU stands still, whatever for."""
    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    params, rounds = _long_enough(b, corpus, b.rounds)
    if b.device.type == "cuda":
        with Idle(b.device, rounds) as watched:
            _train_temporal(b, params, corpus, watched)
        logger: Alternating = watched
        idle = tuple(100 * share for share in watched.idle)
        yield Figure("loader.idle", idle, "% of the time", 2, most=True, about="the GPU runs no step, for any reason")
    else:
        logger = Alternating(b.device, rounds)
        _train_temporal(b, params, corpus, logger)
    task = _temporal_task(params, corpus)

    def make(step: int) -> Any:
        return task.batch(to_device(task.plan_batch(step, slice(0, size)), b.device))

    making = list[float]()
    for steps in logger.steps:
        spent = roofline.seconds(lambda steps: [make(i) for i in steps], b.device, steps)
        making.append(100 * spent / logger.seconds[len(making)])
    yield Figure("loader.batches", tuple(making), "% of a step", about="reading and varying, on the device")


def memory(b: Bench) -> Iterator[Figure]:
    """Peak of a training step, weights and optimizer included, of 64 clips of 128 frames."""
    if b.device.type != "cuda":
        raise Skipped("torch counts a GPU's memory only")
    size, length = 64, 128
    params = b.training("temporal", 2 + b.warm, temporal__training__batch_size=size, temporal__augment__tempo=0)
    corpus = b.corpus([length] * size * LOG_STEPS)

    def peak(work: Callable[[], Any]) -> float:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - held) / (size * length)

    ours = peak(lambda: _train_temporal(b, params, corpus, Alternating(b.device, [1])))
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
    frames = -(-size * 117 // 2048) * 2048  # of a step, which the longest clips fill too
    kinds: dict[str, list[tuple[str, Sequence[int], dict[str, object]]]] = {
        "frames": [(f"{n:.0e}", lengths_like_phoenix(n // 117), {}) for n in (10**5, 10**6, 10**7)],
        "length": [
            (f"{t}", [t] * (frames // t * LOG_STEPS),
             {"temporal__training__batch_size": frames // t, "temporal__max_frames": t})
            for t in (64, 256, 1024, 2048)
        ],
        "weights": [
            (f"{millions}", lengths_like_phoenix(size * LOG_STEPS),
             {f"temporal__model__{n}": v for n, v in (("width", width), ("layers", layers), ("heads", width // 64))})
            for millions, width, layers in ((2, 128, 4), (6, 256, 6), (25, 512, 7), (150, 1024, 11))
        ],
    }  # fmt: skip
    for kind in b.given.scaling.split(","):
        costs = []
        for point, lengths, sets in kinds[kind]:
            corpus = b.corpus(lengths)
            params, rounds = _long_enough(b, corpus, 2, **sets)
            rates, about = _train_temporal(b, params, corpus, Alternating(b.device, rounds))
            work = _temporal_work(params, corpus)
            rate = statistics.median(rates)
            costs.append(1 / rate if kind != "weights" else 1 / (rate * work.flops))
            yield Figure(f"scaling.{kind}.{point}", tuple(1e9 / r for r in rates), "ns a frame", work=work, about=(
                f"{about}, {work.flops / 1e6:.1f} MFLOP a frame, {rate * work.flops / b.ceiling.products:.1%} of the "
                "products' ceiling"))  # fmt: skip
        spread = 100 * (max(costs) / min(costs) - 1)
        yield Figure(f"scaling.{kind}", (spread,), "% spread", 10, most=True,
                     about="of the cost a " + ("FLOP" if kind == "weights" else "frame"))  # fmt: skip


def entry(b: Bench) -> Iterator[Figure]:
    """The same steps of temporal training through its command with MLflow, and through its function, in turn."""
    _needs_mlflow()
    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    run(b.command("skeleton", f"--data={corpus.sources}", "--steps=2"), b.folder)
    rounds = range(1 + b.warm, 3 + b.warm + (reports := ENTRY_REPORTS[b.device.type]))
    params = b.training("temporal", rounds[-1] + 1)
    shares = []
    for _ in range(b.rounds):
        whole = sum(_through_command(b, corpus, params)[-reports:])
        logger = Alternating(b.device, rounds)
        _train_temporal(b, params, corpus, logger)
        shares.append(100 * (whole / sum(logger.seconds[-reports:]) - 1))
    yield Figure("entry.overhead", tuple(shares), "% slower", 3, most=True, about="reports to MLflow included")


def processes(b: Bench) -> Iterator[Figure]:
    """Temporal training through its command in one process and in each number of `--processes`, with a GPU each where
    there are GPUs: with as many clips a process, and with as many a step. Of so many clips that batches of every size
    are of like length."""
    _needs_mlflow()
    most = max(b.given.processes)
    if torch.cuda.is_available() and torch.cuda.device_count() < most:
        raise Skipped(f"needs {most} GPUs")
    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(most * size * MIN_POOL_BATCHES))
    run(b.command("skeleton", f"--data={corpus.sources}", "--steps=2"), b.folder)

    def rates(count: int, clips: int) -> list[float]:
        """Frames a second, as the store has them: what training leaves out is alike."""
        params, rounds = _long_enough(b, corpus, 4 * b.rounds, temporal__training__batch_size=clips)
        seconds = _through_command(b, corpus, params, f"--processes={count}")
        p = params.temporal
        sampler = Sampler(corpus.lengths, clips_of_split(corpus, "train"), clips, p.training.seed)
        steps = [range(LOG_STEPS * place, LOG_STEPS * (place + 1)) for place in rounds]
        frames = [stored_frames(sampler, p.max_frames, of_round) for of_round in steps]
        return [n / seconds[place - 1] for n, place in zip(frames, rounds, strict=True)]

    alone = rates(1, size)
    yield Figure("processes.1", tuple(alone), "frames/s", about=f"{size} clips a step")
    for count in b.given.processes:
        goal = PROCESSES_GOALS.get(count) if torch.cuda.is_available() else None
        for name, clips, wanted in ((f"{count}", count * size, goal), (f"{count}_same_batch", size, None)):
            together = rates(count, clips)
            yield Figure(f"processes.{name}", tuple(together), "frames/s", about=f"{clips} clips a step")
            times = statistics.median(together) / statistics.median(alone)
            yield Figure(f"processes.{name}.times", (times,), "times one", wanted)


def _needs_mlflow() -> None:
    if importlib.util.find_spec("mlflow") is None:
        raise Skipped("needs MLflow")


def _through_command(b: Bench, corpus: Corpus, params: PipelineParams, *options: str) -> list[float]:
    """Temporal training by its command -> seconds between its reports to MLflow."""
    from mlflow import MlflowClient

    training = params.temporal.training
    line = [f"--data={corpus.sources}", f"--steps={training.steps}", "--training.evaluations=1", *options]
    run(b.command("temporal", *line, temporal__training__batch_size=training.batch_size), b.folder)
    client = MlflowClient(f"sqlite:///{b.folder / 'mlflow.db'}")
    found = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
    points = sorted(client.get_metric_history(found.info.run_id, "train/loss"), key=lambda point: point.step)
    return [(after.timestamp - before.timestamp) / 1000 for before, after in pairwise(points)]

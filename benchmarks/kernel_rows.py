"""Row `kernels` of benchmarks/speed.py: what each Triton kernel is worth alone in a temporal training step."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from unittest import mock

from benchmarks.alternating import Alternating
from benchmarks.bench import Bench, Skipped
from benchmarks.figures import Figure
from benchmarks.generated import encoder, lengths_like_phoenix
from sign_models.data import batching
from sign_models.data.sampler import Sampler
from sign_models.data.splits import clips_of_split
from sign_models.kernels import fused
from sign_models.models import blocks, restoration, rotary, skeleton
from sign_models.stages.temporal import train as train_temporal
from sign_models.training.loop import LOG_STEPS

# Kernel -> what to put in place of which name, so that torch's own operations do its work and the others stay fused.
OFF: dict[str, list[tuple[object, str, object]]] = {
    "norm": [(blocks, "fused", lambda: False)],
    "rotary": [(rotary, "fused", lambda: False)],
    "parts": [(skeleton, "fused", lambda: False)],
    "restoration": [(restoration, "fused", lambda: False)],
    "variation": [(batching, "fused", lambda: False)],
}
OFF["all"] = [off for kernel in OFF.values() for off in kernel]


def kernels(b: Bench) -> Iterator[Figure]:
    """Time of a temporal step without a kernel over its time with all, in per cent more; neighbours in one run."""
    if b.device.type != "cuda" or not fused():
        raise Skipped("the kernels run on a GPU, with Triton")
    _rate(b, "")  # compiles the kernels
    for name in OFF:
        before, without, after = _rate(b, ""), _rate(b, name), _rate(b, "")
        more = tuple(100 * (statistics.mean(pair) / without - 1) for pair in ((before, after), (before,), (after,)))
        yield Figure(f"kernels.{name}", more, "% of a step", None, about=f"{without:,.0f} frames/s without it")


def _rate(b: Bench, name: str) -> float:
    """Median frames a second of a temporal training without the kernel `name`; "": with all."""
    size = b.params().temporal.training.batch_size
    corpus = b.corpus(lengths_like_phoenix(size * LOG_STEPS))
    rounds = list(range(b.warm, b.warm + b.rounds))
    params = b.training("temporal", rounds[-1] + 1)
    logger = Alternating(b.device, rounds)
    with ExitStack() as stack:
        for module, attribute, value in OFF.get(name, ()):
            stack.enter_context(mock.patch.object(module, attribute, value))
        trained = train_temporal(params.temporal, corpus, encoder(params).skeleton, logger)
    p = params.temporal
    sampler = Sampler(corpus.lengths, clips_of_split(corpus, "train"), p.training.batch_size, p.training.seed)
    frames = logger.frames(sampler, p.max_frames, trained.progress)
    return statistics.median(n / seconds for n, seconds in zip(frames, logger.seconds, strict=True))

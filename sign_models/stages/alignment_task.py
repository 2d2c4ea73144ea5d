"""What alignment brings to the training loop: clips, texts, their batches, validation and what is chosen by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sign_models.data.batching import Batch, BatchPlan, DeviceCorpus, augment_batch, sample_windows
from sign_models.data.corpus import Corpus
from sign_models.data.rng import RngSlice
from sign_models.data.sampler import Sampler, batches_by_length
from sign_models.data.splits import clips_of_split, describe_clips, hold_out
from sign_models.data.windows import split_long_clips
from sign_models.errors import DataError
from sign_models.evaluation.metrics import score
from sign_models.evaluation.presets import resolve_preset
from sign_models.keypoints.layouts import CANONICAL
from sign_models.models.alignment import AlignmentModel
from sign_models.models.earlier import own_blank
from sign_models.models.temporal import TemporalModel
from sign_models.models.text import IGNORED
from sign_models.models.translator import Generation, Hypothesis, Translator
from sign_models.params.schema import AlignmentParams
from sign_models.stages.calibrate import Calibrated, Examples, calibrate
from sign_models.stages.labels import LABEL_BUCKET, label_table, labelled_clips, text_side, too_short
from sign_models.stages.objective import Labelled, Translation
from sign_models.stages.reading import best_of, by_window, stack, text_of
from sign_models.stages.skeleton import EVALUATION_FRAMES
from sign_models.training.device import Device
from sign_models.training.memory import MAX_CLIP_MEMORY_SHARE, device_memory, longest_clip
from sign_models.training.task import ALL, Group

T = TypeVar("T")
RECORDED_LABELS = 16  # the same where each shape is recorded as a graph of its own (step.py)
LONGER = 1.5  # than the longest training text: tokens written at most; than usual training clips: frames read at once
USUAL_SHARE = 0.99  # of the training clips are no longer than usual
CTC_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # in ranking, of which the validation videos choose
USUAL_CTC = 0.3  # until they have, and where they cannot tell
HELD_OUT = 0.1  # of the training clips, to validate, where no split says which
EVALUATED = 200  # dev clips at most that are translated at each evaluation
SELF_TRAINED_RATE = 0.5  # of the encoder whose own texts self-training trusts, where params name no rate


class AlignmentTask:
    """What alignment brings to the training loop, see training.task.Task.

    Attributes:
        objective: The translator and its losses.
        facts: What a reader of the run should know of the data, by name.
        dev: Clips that are held out for validation.
        held_out: Whether those are other clips than the training's.
        self_trained: Whether videos without a text are there, and self-training is to give them one.
        own: Sampler of the videos that self-training has given texts to; None before it has.
        tolerance: What the validation score may fall by through chance alone, in percent.
    """

    def __init__(
        self,
        params: AlignmentParams,
        corpus: Corpus,
        texts: dict[str, str],
        temporal: TemporalModel,
        device: Device,
        scoring: str,
        representations: dict[str, np.ndarray] | None,
    ) -> None:
        """Split the clips, make tokenizer and model, find which clips the device has memory for.

        Args:
            params: Of the stage.
            corpus: Videos with splits.
            texts: By video id.
            temporal: The encoder, trained before.
            device: Device and processes that train.
            scoring: Preset of the validation scores.
            representations: (S, D) float32 by video id, read in place of videos where params.finetune is false.
        """
        self.params, self.scoring = params, resolve_preset(scoring, [*texts.values()])
        self.representations = None if params.finetune else representations
        self.frames = DeviceCorpus(corpus, device.torch_device)
        self.texts = [texts.get(name) for name in corpus.ids]
        train, held_out = self._split(corpus)
        model = self._translator(temporal, train, held_out)
        self.objective = Translation(model, params, device.process_group.gather)
        train = self._that_fit(train, device)
        self.tolerance = 100 / len(self.dev)  # in percent: one sentence
        self._set_window(model, corpus.lengths[train])
        ctc_labels = model.alignment.ctc_label_mask(self.labels)
        for name, clips in (("training", train), ("validation", self.dev)):
            self.facts |= too_short(corpus, clips, name, self.labels, ctc_labels, temporal.stride)
        self.facts |= self.frames.facts
        size = labelled_clips(params, len(train), len(self.unlabelled))
        self.sampler = Sampler(corpus.lengths, train, size, params.training.seed)
        # self-training goes through the other videos beside them, so that a pass takes as long as if all were labelled
        passed = len(train) + (len(self.unlabelled) if params.self_training.share else 0)
        self.epoch_steps = -(-passed // params.training.batch_size)
        self.own: Sampler | None = None  # of the videos that self-training has given texts to

    def _split(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """Choose clips for validation and those without a text -> places of the training clips, and of all held out."""
        params, labelled = self.params, np.array([text is not None for text in self.texts])
        held_out = hold_out(corpus, HELD_OUT, params.training.seed, self.texts)
        self.facts, self.held_out, dev = held_out.facts, held_out.disjoint, held_out.validation
        self.dev = dev[np.random.default_rng(params.training.seed).permutation(len(dev))[:EVALUATED]]
        videos = clips_of_split(corpus, "train", None)
        unlabelled = ~labelled[videos] & (corpus.lengths[videos] <= EVALUATION_FRAMES)  # longer: no single sentence
        self.unlabelled = videos[unlabelled] if params.finetune else videos[:0]
        self.self_trained = bool(params.self_training.share and len(self.unlabelled))
        self.twice = bool(params.losses.agreement_weight) and not (self.self_trained or params.losses.contrast_weight)
        return held_out.train, dev

    def _translator(self, temporal: TemporalModel, train: np.ndarray, held_out: np.ndarray) -> Translator:
        """Make tokenizer, labels and model with the seed of params."""
        params = self.params
        torch.manual_seed(params.training.seed)
        tokenizer, text = text_side(params, [self.texts[i] for i in train], [self.texts[i] for i in held_out])
        self.labels = label_table(tokenizer, self.texts, text)
        self.label_lengths = (self.labels != IGNORED).sum(1).numpy()
        alignment = AlignmentModel(temporal.width, text.vocabulary, text)
        given = {"ctc_weight": USUAL_CTC} | params.generation.model_dump(exclude_none=True)
        temporal.skeleton.parts.depth.requires_grad_(self.frames.has_depth)
        if not params.finetune:
            temporal.requires_grad_(False)
        # a beam that has lost its way would go on to the end
        given["max_length"] = min(given["max_length"], round(LONGER * self.label_lengths[train].max()))
        return Translator(temporal, alignment, tokenizer, Generation(**given, window=1), params.finetune)

    def _set_window(self, model: Translator, lengths: np.ndarray) -> None:
        """Have longer clips than training's translated in windows. One that tells a whole story is no usual clip."""
        usual = np.quantile(lengths, USUAL_SHARE)
        model.generation = self.generation = replace(model.generation, window=round(LONGER * usual))
        self.cut = split_long_clips(self.frames.corpus, self.dev, self.generation.window)

    def _that_fit(self, train: np.ndarray, device: Device) -> np.ndarray:
        """The training videos that the device has memory for, whole; the others are left out, and so are those of dev.

        A part of a video beside its whole text would teach to write what was not signed.
        """
        lengths, params = self.frames.corpus.lengths, self.params
        if lengths[[*train, *self.dev]].max() <= params.training.batch_size * params.max_frames:
            return train  # a step takes as much
        memory = MAX_CLIP_MEMORY_SHARE * device_memory(device.torch_device) / device.process_group.world_size
        labels = self.labels[train[self.label_lengths[train].argmax()]].unsqueeze(0).to(device.torch_device)
        self.objective.to(device.torch_device)

        def loss(frames: int) -> Tensor:
            with device.autocast():
                losses: dict[str, Tensor] = self.objective(Labelled(self._silent(frames), labels, contrasted=False))
                return losses["loss"]

        longest = device.process_group.broadcast_object(lambda: longest_clip(loss, memory))
        for name, clips in (("training", train), ("validation", self.dev)):
            if len(long := clips[lengths[clips] > longest]):
                self.facts[f"left_out.{name}"] = (
                    f"{len(long)} of {len(clips)} {name} videos are longer than the {longest} frames that this device "
                    f"has the memory to train on, and are left out: {describe_clips(self.frames.corpus, long)}"
                )
        if max(lengths[train].min(), lengths[self.dev].min()) > longest:
            raise DataError(
                self.facts.get("left_out.training") or self.facts["left_out.validation"],
                place=self.frames.corpus.sources,
                wanted="a video for each text",
                remedy="cut them where their sentences end, or choose a smaller preset",
            )
        self.dev = self.dev[lengths[self.dev] <= longest]
        self.unlabelled = self.unlabelled[lengths[self.unlabelled] <= longest]
        fitting: np.ndarray = train[lengths[train] <= longest]
        return fitting

    def _silent(self, frames: int) -> Batch | tuple[Tensor, Tensor]:
        """A clip in which nothing moves, as training reads one."""
        device, vectors = self.frames.device, -(-frames // self.objective.model.temporal.stride)
        if self.representations is not None:
            there = torch.ones(1, vectors, dtype=torch.bool, device=device)
            return torch.zeros(1, vectors, self.objective.model.temporal.width, device=device), there
        there = torch.ones(1, frames, dtype=torch.bool, device=device)
        return Batch(torch.ones(1, frames, len(CANONICAL), 3, device=device), there, there.sum(1))

    def clips(self, step: int) -> np.ndarray:
        """Labelled clips, and beside them those that self-training has labelled. See Task.clips()."""
        clips = self.sampler[step]
        return clips if self.own is None else np.concatenate([clips, self.own[step]])

    def advance(self, averaged: Any, done: float) -> None:
        """Give the videos without text the averaged model's own texts, from self_training.start on. See Task.advance().

        A video is used where both heads read the same text and are sure of it; which, is decided anew each time.
        """
        p = self.params.self_training
        if not p.share or done < p.start or not len(self.unlabelled):
            return
        model = averaged.model
        end = model.alignment.text.eos_id
        rows = torch.full((len(self.unlabelled), self.labels.shape[1]), IGNORED)
        place = {int(clip): i for i, clip in enumerate(self.unlabelled)}
        for clips in batches_by_length(self.frames.corpus, self.unlabelled, EVALUATION_FRAMES):
            batch = self.frames.unaugmented(clips)
            found = model.alignment.self_training_labels(
                *model(batch.x, batch.mask),
                ctc_weight=self.generation.ctc_weight,
                longest=rows.shape[1],
                threshold=p.confidence,
            )
            for clip, tokens in zip(clips, found, strict=True):
                if tokens:
                    rows[place[int(clip)], : len(tokens) + 1] = torch.tensor([*tokens, end])
        self.restore({"own_labels": rows})

    def state(self) -> dict[str, Tensor]:
        """The texts that self-training gave. See Task.state()."""
        return {"own_labels": self.labels[torch.from_numpy(self.unlabelled)]} if len(self.unlabelled) else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take the texts of a checkpoint: "own_labels" (videos without text, L) token ids. See Task.restore()."""
        rows = state.get("own_labels")
        if rows is None:
            return
        self.labels[torch.from_numpy(self.unlabelled)] = rows.cpu()
        lengths = (rows != IGNORED).sum(1).cpu().numpy()
        self.label_lengths[self.unlabelled] = lengths
        chosen = self.unlabelled[lengths > 0]
        t = self.params.training
        size = round(t.batch_size * self.params.self_training.share)
        self.own = Sampler(self.frames.corpus.lengths, chosen, size, t.seed + 1) if len(chosen) and size else None

    def migrate(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Make a moment of before CTC's blank was an id of its own what it is now. See Task.migrate()."""
        return own_blank(name, tensor, shape)

    @property
    def recordable(self) -> bool:
        """Whether `batch` does without the host."""
        return self.representations is None and self.frames.capturable

    def micro_batches(self, step: int) -> list[slice]:
        """As many clips at a time as take the memory of so many of max_frames, or one longer one.

        See Task.micro_batches().
        """
        lengths, found, begin = self.frames.corpus.lengths[self.clips(step)], list[slice](), 0
        for end in range(1, len(lengths) + 1):
            if end - begin > 1 and (end - begin) * lengths[begin:end].max() > len(lengths) * self.params.max_frames:
                found.append(slice(begin, end - 1))
                begin = end - 1
        return [*found, slice(begin, len(lengths))]

    def plan_batch(self, step: int, part: slice, micro_batch: slice = ALL) -> BatchPlan:
        """Draw a batch, labels among it. See Task.plan_batch()."""
        p, clips = self.params, self.clips(step)[micro_batch]
        labels = {"labels": self._labels(clips)[part]}
        if len(clips) < len(self.clips(step)):
            labels["apart"] = torch.empty(0)  # says so by being there
        if self.representations is not None:
            representations, mask = stack([self.representations[self.frames.corpus.ids[i]] for i in clips[part]])
            frames = torch.from_numpy(self.frames.corpus.lengths[clips[part]])
            before, after = torch.empty(part.start), torch.empty(len(clips) - part.stop)  # as in sample_windows()
            read = {"representations": representations, "mask": mask, "frames": frames}
            return read | {"before": before, "after": after} | labels
        rng = np.random.default_rng([p.training.seed, step, *([micro_batch.start] if micro_batch.start else [])])
        return sample_windows(self.frames, clips, part, rng, p.max_frames, p.augment, whole=True) | labels

    def batch(self, plan: BatchPlan) -> tuple[Labelled, Tensor]:
        """Make a batch. See Task.batch()."""
        labels, contrasted = plan["labels"], "apart" not in plan
        rows = RngSlice(len(plan["before"]), len(plan["after"]))
        if self.representations is not None:
            read = plan["representations"], plan["mask"]
            return Labelled(read, labels, rows, contrasted), plan["frames"].sum()
        batch = augment_batch(self.frames, plan, self.params.augment, two_views=self.twice)
        return Labelled(batch, labels, rows, contrasted), batch.lengths.sum()

    def _whole(self, clips: np.ndarray) -> Batch | tuple[Tensor, Tensor]:
        """The clips as they are, or what represent made of them."""
        if self.representations is None:
            return self.frames.unaugmented(clips)
        found = stack([self.representations[self.frames.corpus.ids[i]] for i in clips])
        return found[0].to(self.frames.device), found[1].to(self.frames.device)

    def _labels(self, clips: np.ndarray) -> Tensor:
        size = RECORDED_LABELS if self.recordable else LABEL_BUCKET
        longest = -(-int(self.label_lengths[clips].max()) // size) * size
        return self.labels[torch.from_numpy(clips), :longest]

    def evaluate(self, objective: Any) -> dict[str, float]:
        """Losses, and scores of texts found by greedy search; the beam is for the end. See Task.evaluate()."""
        sums = np.zeros(3)
        for clips in batches_by_length(self.frames.corpus, self.dev, EVALUATION_FRAMES):
            out = objective(Labelled(self._whole(clips), self._labels(clips).to(self.frames.device)))
            sums += len(clips) * np.array([1.0, float(out["text"]), float(out["ctc"])])
        model, greedy = objective.model, replace(self.generation, beams=1)
        best = self._by_window(model, best_of(model, greedy))
        scores = score([text_of(self.cut, i, best).text for i in self.dev], self._references(), self.scoring)
        _, text, ctc = sums / sums[0]
        return {"text": text, "ctc": ctc, **scores.metrics(), "score": scores.chrf}

    def _by_window(self, model: Translator, translate: Callable[[Tensor, Tensor], list[T]]) -> dict[int, T]:
        """What is said of the validation videos, in the windows in which generation reads them."""
        frames = self.frames.with_clips(self.cut.corpus)
        return dict(by_window(model, frames, self.cut, self.dev, translate, EVALUATION_FRAMES, self.representations))

    def _references(self) -> list[str]:
        return [str(self.texts[i]) for i in self.dev]

    @torch.no_grad()
    def best_ctc_weight(self) -> float:
        """The weight of CTC's score in ranking that translates the validation videos best.

        All weights rank the same n-best texts. Of those that chance could have put in another order, the one nearest to
        the usual is taken.

        Signing in the order of the text is read best by CTC, signing in another order by the text model alone.

        Returns:
            One of CTC_WEIGHTS.
        """
        model, g = self.objective.model, self.generation

        def by_weight(y: Tensor, mask: Tensor) -> list[list[Hypothesis]]:
            """Of each window the best text by each of CTC_WEIGHTS."""
            found = model.alignment.n_best(
                y, mask, beams=g.beams, max_length=g.max_length, length_penalty=g.length_penalty, ask_ctc=True
            )
            ranked = [found.ranked(len(mask), weight, g.length_penalty) for weight in CTC_WEIGHTS]
            texts = [model.decode([best[0] for best in tokens]) for tokens, _ in ranked]
            return [
                [Hypothesis(of[i], scores[i][0]) for of, (_, scores) in zip(texts, ranked, strict=True)]
                for i in range(len(mask))
            ]

        found, scores = self._by_window(model, by_weight), dict[float, float]()
        for place, weight in enumerate(CTC_WEIGHTS):
            best = {i: of_weights[place] for i, of_weights in found.items()}
            texts = [text_of(self.cut, i, best).text for i in self.dev]
            scores[weight] = score(texts, self._references(), self.scoring).chrf
        good = [weight for weight, score in scores.items() if score >= max(scores.values()) - self.tolerance]
        return min(good, key=lambda weight: abs(weight - USUAL_CTC))

    def calibrate(self) -> Calibrated:
        """Fit the model's confidence on the validation videos, and choose from which on it answers.

        Returns:
            What was fitted, and its figures.
        """
        found = self._by_window(self.objective.model, best_of(self.objective.model, self.generation))
        dev = Examples(self.frames.corpus, self.dev, self.cut, found, self._references(), self.scoring)
        return calibrate(self.objective.model, dev, self.held_out)

    def groups(self) -> Iterable[Group]:
        """The encoder, with its share of the learning rate, and the rest. See Task.groups().

        What has been pretrained waits until what is new has learned to read it: before, it would only be spoilt (Kumar
        et al. 2022). It then learns as the rest does, which new signers gain from; where self-training is to write
        texts, more slowly, so that its first texts are right.
        """
        model, rate = self.objective.model, self.params.encoder_lr
        if self.params.finetune:
            rate = (SELF_TRAINED_RATE if self.self_trained else 1.0) if rate is None else rate
            yield Group(list(model.temporal.parameters()), rate, self.params.encoder_start)
        yield Group([p for p in model.alignment.parameters() if p.requires_grad])

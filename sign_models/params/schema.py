"""Every parameter of every stage: its type, range and unit. Values stand in params/*.yaml, nowhere else.

The schema is closed: a key that is not here is refused with the nearest one that is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sign_models.evaluation.presets import AUTO, PRESETS

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


def _preset(name: str) -> str:
    if name not in (known := (AUTO, *PRESETS)):
        raise ValueError(f"one of {', '.join(known)}")
    return name


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Closed):
    """The loop. One of steps and epochs is null: the other one says how long."""

    steps: Positive | None  # optimizer steps
    epochs: Annotated[float, Field(gt=0)] | None  # passes over the training clips, batch_size a step
    min_steps: Count  # with epochs: at least this many steps, for few clips; 0 where a command gives epochs
    batch_size: Positive  # clips (skeleton: windows) a step, over all devices; accumulated where memory ends
    lr: Annotated[float, Field(gt=0)]  # peak learning rate of AdamW
    weight_decay: NonNegative
    warmup: Fraction  # share of all steps in which the rate rises from 0; a cosine then lowers it to 0
    clip_norm: Annotated[float, Field(gt=0)]  # gradients are scaled down to this norm
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of the averaged weights that are scored and kept; 0: none
    evaluations: Positive  # times the validation split is scored during training
    patience: Count  # stop after this many evaluations without a better one; 0: never
    checkpoint_minutes: Annotated[float, Field(gt=0)]  # least time between two checkpoints
    seed: Count


class Augment(Closed):
    """How far a training clip is varied, on the device, in the batch. Angles in degrees, the rest in shoulder widths
    or 1."""

    rotate: NonNegative  # in the picture's plane, up to this angle
    yaw: NonNegative  # of the camera around the body's vertical axis: narrows x by its cosine
    shear: NonNegative
    scale: Annotated[float, Field(ge=0, lt=1)]  # x and y apart, factor 1 +- scale
    translate: NonNegative
    limb_scale: Annotated[float, Field(ge=0, lt=1)]  # arms and hands, factor 1 +- limb_scale
    mirror: Fraction  # share of clips whose left and right change places
    tempo: NonNegative  # played up to 1 + tempo times as fast or as slowly, a batch alike, changing within a clip
    arm_reach: NonNegative  # how far hands move from their mean place, factor 1 +- arm_reach, each its own
    hand_shift: NonNegative  # where each hand's mean place is, up to this
    landmark_jitter: NonNegative  # standard deviation of each landmark's offset within a clip; of a hand's a quarter
    drop_hand: Fraction  # share of frames whose hand is unseen, in spans; drawn up to this
    drop_frames: Annotated[float, Field(ge=0, lt=1)]  # share of frames left out; drawn up to this, one for a batch
    noise: NonNegative  # standard deviation of coordinate noise; drawn up to this


class Mask(Closed):
    """What the self-supervised stages hide and must restore. Shares of joints, body parts and frames."""

    joints: Fraction
    parts: Fraction
    frames: Fraction
    span: Positive  # length in frames of a hidden span


class SkeletonModel(Closed):
    part_width: Positive  # of a body part's token
    width: Positive  # of a frame's feature
    layers: Positive  # convolution blocks
    context: Positive  # frames on either side that a frame's feature sees
    dropout: Annotated[float, Field(ge=0, lt=1)]


class SkeletonParams(Closed):
    model: SkeletonModel
    mask: Mask
    augment: Augment
    window: Positive  # frames a training window
    velocity_weight: NonNegative  # of the loss on frame-to-frame motion, beside 1 for coordinates
    validation: Annotated[float, Field(gt=0, lt=1)]  # share of clips held out where no split is given
    training: Training


class TemporalModel(Closed):
    width: Positive
    layers: Positive
    heads: Positive
    stride: Positive  # frames a representation vector
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, given: ValidationInfo) -> int:
        width = given.data.get("width")
        if width is not None and width % (2 * heads):
            raise ValueError(f"a number that divides the width {width} into even shares")
        return heads


class TemporalParams(Closed):
    model: TemporalModel
    mask: Mask
    augment: Augment
    max_frames: Positive  # longer clips are cut to a random window in training, represented in windows afterwards
    velocity_weight: NonNegative
    contrast_weight: NonNegative  # of the two-view contrast: one clip, two augmentations
    skeleton_lr: NonNegative  # learning rate of the skeleton part as a share of training.lr; 0: frozen
    validation: Annotated[float, Field(gt=0, lt=1)]
    training: Training


class RepresentParams(Closed):
    batch_frames: Positive  # frames a batch; execution only, the result is the same


class Tokenizer(Closed):
    kind: Literal["auto", "word", "char", "bpe"]  # auto: by script, and how many dev words are new
    vocabulary: Positive  # at most this many entries


class Decoder(Closed):
    pretrained: str  # Hugging Face name or local folder of a seq2seq or causal model; "": trained from scratch
    prune: bool  # of a pretrained model: keep only the vocabulary that writes the training texts
    lora: Count  # of a pretrained model: rank of the changes that its frozen weights learn; 0: all weights learn
    width: Positive
    layers: Positive
    heads: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @field_validator("prune", "lora")
    @classmethod
    def _of_pretrained(cls, value: int, given: ValidationInfo) -> int:
        if value and not given.data.get("pretrained"):
            raise ValueError("none without decoder.pretrained")
        return value


class Losses(Closed):
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    ctc_weight: NonNegative  # of the monotonic side loss on the text's words
    contrast_weight: NonNegative  # of the sentence-level contrast of video and text


class SelfTraining(Closed):
    """Training on the model's own texts for videos without one."""

    share: NonNegative  # clips beside a batch's own, as a share of batch_size; labelled ones, where all are; 0: none
    start: Fraction  # of training, before which the model's texts are not good enough
    confidence: Fraction  # texts below this mean token probability are not used


class Generation(Closed):
    beams: Positive
    max_length: Positive  # tokens; never more than half as many again as the longest training text has
    length_penalty: float
    ctc_weight: Fraction | None  # of the side head's score when hypotheses are ranked; 0: its reading is no candidate
    # either; null: by which the validation videos are translated best


class AlignmentParams(Closed):
    finetune: bool  # train through the temporal model; false: on its frozen representations
    encoder_lr: NonNegative  # learning rate of the temporal part as a share of training.lr
    encoder_start: Fraction  # of training, before which the temporal part stays as it was pretrained
    tokenizer: Tokenizer
    decoder: Decoder
    losses: Losses
    self_training: SelfTraining
    mask: Mask  # what training hides of a clip, so that the decoder learns to go by what was said before
    augment: Augment
    max_frames: Positive  # longer videos are trained whole, fewer at once: as much memory as a batch of max_frames each
    generation: Generation
    training: Training


class GenerateParams(Closed):
    splits: list[Literal["train", "dev", "test", "none"]]  # whose videos are translated; empty: every video
    scoring: Annotated[str, AfterValidator(_preset)]  # in evaluation.PRESETS, or auto: by script; docs/scoring.md
    beams: Positive | None  # null: as the alignment model was trained to
    length_penalty: float | None
    window: Positive | None  # frames; longer clips are translated in windows; null: as long as training saw them
    batch_size: Positive  # execution only
    strict_extractor: bool  # refuse videos whose keypoints come from another extractor than training's; false: warn


class PipelineParams(Closed):
    skeleton: SkeletonParams
    temporal: TemporalParams
    represent: RepresentParams
    alignment: AlignmentParams
    generate: GenerateParams

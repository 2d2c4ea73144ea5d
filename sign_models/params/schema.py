"""Every parameter of every stage: its type, range, unit and meaning. Values stand in params/*.yaml, nowhere else.

`--help` and docs/parameters.md are made from the descriptions. The schema is closed: a key that is not here is refused
with the nearest one that is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sign_models.evaluation.presets import AUTO, PRESETS
from sign_models.keypoints.resample import MAX_FPS, MIN_FPS

MAX_COUNT = 2**31 - 1  # what seeds and counts may be wherever they go: numpy, torch, kernels
Positive = Annotated[int, Field(gt=0, le=MAX_COUNT)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Dropout rate.")]
ValidationShare = Annotated[
    float,
    Field(gt=0, lt=1, description="Share of clips that are held out for validation where the data has no splits."),
]
VelocityWeight = Annotated[
    float,
    Field(ge=0, description="Weight of the loss on frame-to-frame motion. The loss on coordinates has weight 1."),
]
TRAINING_OPTIONS = ("epochs", "steps", "batch_size", "lr", "seed")  # each is short for training.<name>


def _preset(name: str) -> str:
    if name not in (known := (AUTO, *PRESETS)):
        raise ValueError(f"one of {', '.join(known)}")
    return name


class Closed(BaseModel):
    """A section of parameters: immutable, with finite numbers, and without keys that it does not declare."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Closed):
    """The training loop. One of steps and epochs is null: the other one says how long training takes."""

    steps: Positive | None = Field(
        description="Optimizer steps. null: epochs says how long training takes. Exactly one of the two is given."
    )
    epochs: PositiveFloat | None = Field(
        description="Passes over the training clips. null: steps says how long training takes."
    )
    min_steps: Count = Field(
        description="Least number of optimizer steps with epochs, for small corpora. 0 where a command or file "
        "gives epochs."
    )
    batch_size: Positive = Field(
        description="Clips (skeleton: windows) per optimizer step, over all devices. Split into micro-batches where "
        "memory runs out."
    )
    lr: PositiveFloat = Field(description="Peak learning rate of AdamW.")
    weight_decay: NonNegative = Field(description="Weight decay of AdamW.")
    warmup: Fraction = Field(
        description="Share of the steps in which the learning rate rises linearly from 0. A cosine then lowers it to 0."
    )
    clip_norm: PositiveFloat = Field(
        description="Largest norm of the gradients. Larger gradients are scaled down to it."
    )
    ema: Rate = Field(
        description="Decay of the exponential moving average of the weights, which is what is scored and kept. 0: "
        "no average."
    )
    evaluations: Positive = Field(description="How many times the validation split is scored during training.")
    patience: Count = Field(description="Stop after this many evaluations without a better score. 0: never stop early.")
    checkpoint_minutes: PositiveFloat = Field(description="Least time between two checkpoints, in minutes.")
    shard_optimizer: bool = Field(
        description="With several processes, each keeps a part of the optimizer's state, for text models that would "
        "not fit otherwise. Steps are then not captured as CUDA graphs. Changes memory and speed only."
    )
    seed: Count = Field(description="Seed of all random choices in training.")


class Augment(Closed):
    """Random changes of a training clip, made on the device. Each value is the largest change; 0 means none."""

    rotate: NonNegative = Field(description="Largest rotation in the picture's plane, in degrees.")
    yaw: NonNegative = Field(
        description="Largest rotation of the camera around the body's vertical axis, in degrees. Narrows x by its "
        "cosine; with depth, landmarks move by how deep they are."
    )
    pitch: NonNegative = Field(
        description="Largest rotation of the camera up or down, in degrees. Only of clips with depth."
    )
    shear: NonNegative = Field(description="Largest shear of x by y, as a factor.")
    scale: Rate = Field(description="Scaling of x and of y: each is multiplied by a factor of 1 +- this.")
    translate: NonNegative = Field(description="Largest shift of the whole body, in shoulder widths.")
    limb_scale: Rate = Field(description="Length of arms and hands: multiplied by a factor of 1 +- this.")
    mirror: Fraction = Field(description="Share of clips whose left and right sides are swapped.")
    tempo: NonNegative = Field(
        description="Playback speed: up to 1 + this times as fast or as slow, changing within a clip. All clips of "
        "a batch alike."
    )
    arm_reach: NonNegative = Field(
        description="How far a hand moves around its mean position: multiplied by a factor of 1 +- this, each hand "
        "its own."
    )
    hand_shift: NonNegative = Field(description="Largest shift of each hand's mean position, in shoulder widths.")
    landmark_jitter: NonNegative = Field(
        description="Per-clip Gaussian offset of each landmark: standard deviation in shoulder widths (hands: one "
        "quarter)."
    )
    drop_hand: Fraction = Field(description="Largest share of frames in which a hand is unseen, in spans.")
    drop_depth: Fraction = Field(description="Share of clips with depth whose depth is unseen.")
    drop_frames: Rate = Field(description="Largest share of frames that are left out. One share per batch.")
    noise: NonNegative = Field(
        description="Largest standard deviation of Gaussian noise on each coordinate and frame, in shoulder widths."
    )


class Mask(Closed):
    """What is masked in a training clip. The self-supervised stages restore it."""

    joints: Fraction = Field(description="Share of single landmarks that are masked.")
    parts: Fraction = Field(description="Share of body parts that are masked.")
    frames: Fraction = Field(description="Share of whole frames that are masked.")
    span: Positive = Field(description="Length of a masked span, in frames.")


class SkeletonModelParams(Closed):
    """Architecture of the skeleton model, which encodes single frames and their neighbours."""

    part_width: Positive = Field(description="Width of a body part's token.")
    width: Positive = Field(description="Width of a frame's feature vector.")
    layers: Positive = Field(description="Number of convolution blocks.")
    context: Positive = Field(description="Frames on either side that a frame's feature vector sees.")
    dropout: Dropout


class SkeletonParams(Closed):
    """Stage skeleton: self-supervised training of the frame encoder."""

    model: SkeletonModelParams
    mask: Mask
    augment: Augment
    window: Positive = Field(description="Length of a training window, in frames.")
    velocity_weight: VelocityWeight
    validation: ValidationShare
    training: Training


class TemporalModelParams(Closed):
    """Architecture of the temporal model, a transformer over the frame features of a clip."""

    width: Positive = Field(description="Width of the representation vectors.")
    layers: Positive = Field(description="Number of transformer blocks.")
    heads: Positive = Field(description="Number of attention heads. They divide the width into even shares.")
    stride: Positive = Field(description="Frames per representation vector.")
    dropout: Dropout

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, given: ValidationInfo) -> int:
        width = given.data.get("width")
        if width is not None and width % (2 * heads):
            raise ValueError(f"a number that divides the width {width} into even shares")
        return heads


class TemporalParams(Closed):
    """Stage temporal: self-supervised training of the clip encoder."""

    model: TemporalModelParams
    mask: Mask
    augment: Augment
    max_frames: Positive = Field(
        description="Longest clip in training, in frames. Longer ones are cut to a random window, and represented "
        "in windows afterwards."
    )
    velocity_weight: VelocityWeight
    contrast_weight: NonNegative = Field(
        description="Weight of the contrastive loss between two augmentations of a clip. 0: none."
    )
    skeleton_lr: NonNegative = Field(
        description="Learning rate of the skeleton model, as a share of training.lr. 0: frozen."
    )
    validation: ValidationShare
    training: Training


class RepresentParams(Closed):
    """Stage represent: vectors of every video, written to a file."""

    batch_frames: Positive = Field(description="Frames per batch. Changes memory and speed only, not the result.")


class TokenizerParams(Closed):
    """Tokenizer of a decoder trained from scratch."""

    kind: Literal["auto", "word", "char", "bpe"] = Field(
        description="Unit of the tokens. auto: by the script, and by how many words of dev are new."
    )
    vocabulary: Positive = Field(description="Largest number of tokens.")


class DecoderParams(Closed):
    """Text decoder, either pretrained or trained from scratch."""

    pretrained: str = Field(
        description='Hugging Face name or local folder of a sequence-to-sequence or causal language model. "": a '
        "decoder trained from scratch."
    )
    prune: bool = Field(description="Keep only the tokens of the pretrained model that the training texts need.")
    lora: Count = Field(
        description="Rank of the LoRA update of the pretrained model, whose own weights are frozen. 0: all weights "
        "are trained."
    )
    width: Positive = Field(description="Width of the decoder trained from scratch.")
    layers: Positive = Field(description="Number of its transformer blocks.")
    heads: Positive = Field(description="Number of its attention heads. They divide the width into even shares.")
    dropout: Dropout

    @field_validator("prune", "lora")
    @classmethod
    def _of_pretrained(cls, value: int, given: ValidationInfo) -> int:
        if value and not given.data.get("pretrained"):
            raise ValueError("none without decoder.pretrained")
        return value


class Losses(Closed):
    """Losses of the alignment stage."""

    label_smoothing: Rate = Field(description="Label smoothing of the text loss.")
    ctc_weight: NonNegative = Field(description="Weight of the CTC loss on the text's words. 0: none.")
    contrast_weight: NonNegative = Field(
        description="Weight of the contrastive loss between the vectors of a video and of its text. 0: none."
    )
    agreement_weight: NonNegative = Field(
        description="Weight of the divergence between what is read from two variations of a clip, which are then both "
        "trained on. Only where self-training uses no pseudo-labels, and without contrast. 0: none."
    )


class SelfTraining(Closed):
    """Self-training: pseudo-labels for videos without a text."""

    share: NonNegative = Field(
        description="Clips with pseudo-labels (the model's own texts) per step, as a share of batch_size. Videos "
        "without text are taken first. 0: none."
    )
    start: Fraction = Field(description="Share of training before which no pseudo-labels are used.")
    confidence: Fraction = Field(description="Least mean token probability of a pseudo-label.")


class GenerationParams(Closed):
    """Beam search by which texts are generated."""

    beams: Positive = Field(description="Beam width of the search.")
    max_length: Positive = Field(
        description="Longest text, in tokens. Never more than 1.5 times the longest training text."
    )
    length_penalty: float = Field(
        description="Exponent of the length by which a hypothesis's log-probability is divided. Larger values "
        "favour longer texts."
    )
    ctc_weight: Fraction | None = Field(
        description="Weight of the CTC score when hypotheses are ranked. 0 disables CTC. null picks the weight with "
        "the best validation chrF."
    )


class AlignmentParams(Closed):
    """Stage alignment: supervised training of the text decoder."""

    finetune: bool = Field(description="Train the temporal model too. false: train on its frozen representations.")
    encoder_lr: NonNegative | None = Field(
        description="Learning rate of the temporal model, as a share of training.lr. null: 0.5 where self-training "
        "gives texts to other videos, else 1."
    )
    encoder_start: Fraction = Field(description="Share of training before which the temporal model is frozen.")
    tokenizer: TokenizerParams
    decoder: DecoderParams
    losses: Losses
    self_training: SelfTraining
    mask: Mask
    augment: Augment
    max_frames: Positive = Field(
        description="Frames that a batch holds per clip. Longer videos are trained whole, fewer at once: the memory of "
        "batch_size clips of this length."
    )
    generation: GenerationParams
    training: Training


class GenerateParams(Closed):
    """Stage generate: texts of videos and their scores."""

    splits: list[Literal["train", "dev", "test", "none"]] = Field(
        description="Splits whose videos are translated. Empty: every video."
    )
    scoring: Annotated[str, AfterValidator(_preset)] = Field(
        description="Preset by which texts are compared (docs/scoring.md). auto: by the script."
    )
    beams: Positive | None = Field(description="Beam width of the search. null: as the alignment model was trained to.")
    length_penalty: float | None = Field(
        description="Exponent of the length penalty. null: as the alignment model was trained to."
    )
    window: Positive | None = Field(
        description="Longest window, in frames. Longer clips are translated in several. null: as long as training "
        "saw them."
    )
    reject_below: Fraction | None = Field(
        default=None,
        description="Confidence below which a text is marked unsure, and the served model gives none. Scores are of "
        "the texts before that. 0: never. null: as alignment chose it on dev (docs/confidence.md).",
    )
    tempo: Annotated[float, Field(ge=0.25, le=4)] | None = Field(
        default=None,
        description="Tempo of the signers, as a multiple of training's: 0.5 is half as fast. 1: videos are read as "
        "they are. null: told by what is read, for the videos of each signer alike (docs/frame-rate.md).",
    )
    batch_size: Positive = Field(description="Videos per batch. Changes memory and speed only.")
    strict_extractor: bool = Field(
        description="Refuse videos whose keypoints another extractor made than training's. false: warn."
    )


class DataParams(Closed):
    """What clips are brought to before any stage reads them."""

    fps: Annotated[float, Field(ge=MIN_FPS, le=MAX_FPS)] | None = Field(
        description="Frames a second that clips are brought to where their files tell a rate. It stands in the models, "
        "which bring what they are asked about to it. null: clips are read at their own rate."
    )


class Execution(Closed):
    """How the stages are executed. Changes speed, not the result."""

    eager: bool = Field(
        description="On a GPU, run each step operation by operation: no CUDA graphs, no own kernels. For debugging."
    )


class PipelineParams(Closed):
    """The parameters of all stages, one section each."""

    skeleton: SkeletonParams
    temporal: TemporalParams
    represent: RepresentParams
    alignment: AlignmentParams
    generate: GenerateParams
    data: DataParams
    execution: Execution

"""The schema of a recipe: everything that decides how a model is trained.

Each section that comes in kinds (optimizer, schedule) is a union told apart by `name`, so that an option which the
chosen kind does not have is an error and not silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Fraction, NotNegative, Positive, Section
from .smaller import CompressionSection, DistillationSection, SparseTrainingSection

ModelArgument = bool | int | float | str | list[int] | None


# Arguments of the factories that training gives, and where they come from.
_DECIDED = {
    "classes": "it follows from the data",
    "input_shape": "it follows from the data and from input.size and input.channels",
    "users": "it follows from the data",
    "items": "it follows from the data",
    "include_top": "what is trained is a classifier",
    "weights": "name a run with --weights",
}


class ModelSection(Section):
    """The architecture by its name in the catalogue, and arguments for its factory."""

    name: str
    arguments: dict[str, ModelArgument] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _leaves_to_kzoo_what_follows(self) -> ModelSection:
        for argument, source in _DECIDED.items():
            if argument in self.arguments:
                raise ValueError(f"model.arguments.{argument} is not for a recipe: {source}")
        return self


class DataSection(Section):
    """What to train on: the name of a built-in dataset, a folder of class folders, a CSV or an `.npz` file."""

    source: str = "digits"
    # Shares of train, validation and test where the source has no splits of its own.
    fractions: tuple[Positive, Positive, Positive] = (0.7, 0.15, 0.15)
    # auto: decoded images stay in memory when they fit; none: every epoch decodes, memory stays flat.
    cache: Literal["auto", "none"] = "auto"
    # Of files in class folders: the folder, or what stands before the first _ of the file's name (a speaker, say).
    classes_from: Literal["folders", "file_names"] = "folders"

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> DataSection:
        if abs(sum(self.fractions) - 1.0) > 1e-6:
            raise ValueError(f"fractions must sum to 1, received {self.fractions}")
        return self


class InputSection(Section):
    """Size of the model's input; what is not given follows from the data."""

    # Pixels of a side, or (height, width).
    size: int | tuple[int, int] | None = None
    channels: Literal[1, 3, 4] | None = None
    fit: Literal["crop", "pad", "stretch"] = "crop"


class SoundSection(Section):
    """How recordings become frames of features, see `kzoo.data.SoundFrontEnd`; what is not given follows from them."""

    # Samples a second. None: the recordings' own where they share one, else 16,000.
    sample_rate: Annotated[int, Field(ge=1000)] | None = None
    # What the model hears at once. None: what holds 95 of 100 training recordings, up to 10.
    seconds: Positive | None = None
    kind: Literal["log_mel", "mfcc"] = "log_mel"
    window_ms: Positive = 32.0
    hop_ms: Positive = 16.0
    mels: Annotated[int, Field(ge=1)] = 40
    # Of mfcc.
    coefficients: Annotated[int, Field(ge=1)] = 13
    low_hz: NotNegative = 20.0
    # None: half the sample rate.
    high_hz: Positive | None = None


class TextSection(Section):
    """How texts become numbers, see `kzoo.data.TextFrontEnd`."""

    # Words that occur at least twice in the training split, the most frequent first; two are padding and unknown.
    vocabulary_size: Annotated[int, Field(ge=3)] = 8000
    # Words of a text. None: what holds 95 of 100 training texts, up to 128.
    length: Annotated[int, Field(ge=1)] | None = None


class SpecAugmentSection(Section):
    """SpecAugment (Park et al. 2019, arXiv 1904.08779): masks of random place and width over a recording's features.

    The widths are shares of the frames and of the bins; each mask is from nothing to that wide.
    """

    time_masks: Annotated[int, Field(ge=0)] = 2
    time_width: Fraction = 0.2
    frequency_masks: Annotated[int, Field(ge=0)] = 2
    frequency_width: Fraction = 0.2


class RandAugmentSection(Section):
    """RandAugment (Cubuk et al. 2019, arXiv 1909.13719): `operations` random changes of strength `magnitude`."""

    operations: Annotated[int, Field(ge=1)] = 2
    magnitude: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3


class AugmentationSection(Section):
    """Random changes of training images and recordings; all off by default."""

    flip: Literal["horizontal", "vertical", "horizontal_and_vertical"] | None = None
    # Share of height and width by which an image is shifted at most, in whole pixels; black moves in (shift-crop).
    shift: Fraction = 0.0
    # Degrees, to either side.
    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    # Strength of the change of brightness, contrast, saturation and hue.
    colour: Fraction = 0.0
    # Side of the erased square as a share of the image's (DeVries and Taylor 2017, arXiv 1708.04552).
    cutout: Fraction = 0.0
    # Alpha of the beta distribution (Zhang et al. 2017, arXiv 1710.09412; Yun et al. 2019, arXiv 1905.04899).
    mixup: NotNegative = 0.0
    cutmix: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    randaugment: RandAugmentSection | None = None
    # Recordings: seconds by which one is shifted at most, to either side; silence moves in.
    time_shift: NotNegative = 0.0
    # Recordings: white noise, at most so strong to the recording (root mean square): 0.1 is 20 dB below it.
    noise: NotNegative = 0.0
    spec_augment: SpecAugmentSection | None = None


class OptimizerSection(Section):
    """What all optimizers share."""

    learning_rate: Positive = 1e-3
    # Decoupled from the gradient (Loshchilov and Hutter 2017, arXiv 1711.05101); biases and norms are left out.
    weight_decay: NotNegative = 0.0
    # Largest norm of the whole gradient, of each variable's gradient, and of each element.
    global_clipnorm: Positive | None = None
    clipnorm: Positive | None = None
    clipvalue: Positive | None = None
    # Batches whose gradients are averaged before one update.
    accumulation: Annotated[int, Field(ge=1)] = 1
    # Decay of the moving average of the weights that is validated and saved; None: no average.
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _one_kind_of_clipping(self) -> OptimizerSection:
        chosen = [name for name in ("global_clipnorm", "clipnorm", "clipvalue") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ValueError(f"choose one kind of gradient clipping, received {' and '.join(chosen)}")
        return self


class Sgd(OptimizerSection):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it."""

    name: Literal["sgd"]
    learning_rate: Positive = 0.05
    momentum: Fraction = 0.9
    nesterov: bool = False


class Adam(OptimizerSection):
    """Adam (Kingma and Ba 2014, arXiv 1412.6980) and AdamW (arXiv 1711.05101)."""

    name: Literal["adam", "adamw"]
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999


class RmsProp(OptimizerSection):
    """RMSprop, with momentum."""

    name: Literal["rmsprop"]
    rho: Fraction = 0.9
    momentum: Fraction = 0.0


class Adagrad(OptimizerSection):
    """Adagrad (Duchi et al. 2011)."""

    name: Literal["adagrad"]
    learning_rate: Positive = 0.01


class ScheduleSection(Section):
    """What all schedules share: the rate rises linearly from nearly zero over the warm-up."""

    warmup_epochs: NotNegative = 0.0


class Constant(ScheduleSection):
    """The optimizer's learning rate throughout."""

    name: Literal["constant"]


class Step(ScheduleSection):
    """The rate is multiplied by `factor` every `every` epochs."""

    name: Literal["step"]
    every: Positive = 30
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1


class Cosine(ScheduleSection):
    """Half a cosine down to `final` × the learning rate (Loshchilov and Hutter 2016, arXiv 1608.03983)."""

    name: Literal["cosine"]
    final: Fraction = 0.0


class OneCycle(ScheduleSection):
    """Up from `initial` × the rate until `peak` of the run, down to `final` × it (Smith 2018, arXiv 1803.09820)."""

    name: Literal["one_cycle"]
    peak: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    initial: Fraction = 0.04
    final: Fraction = 0.0004


class Exponential(ScheduleSection):
    """The rate is multiplied by `factor` each epoch, smoothly."""

    name: Literal["exponential"]
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95


class Plateau(ScheduleSection):
    """The rate is multiplied by `factor` when the validation loss has not improved for `patience` epochs."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    patience: Annotated[int, Field(ge=1)] = 5
    minimum: NotNegative = 0.0


AnyOptimizer = Annotated[Sgd | Adam | RmsProp | Adagrad, Field(discriminator="name")]
AnySchedule = Annotated[Constant | Step | Cosine | OneCycle | Exponential | Plateau, Field(discriminator="name")]


class RegularisationSection(Section):
    """What keeps a model from learning its training data by heart."""

    label_smoothing: Fraction = 0.0
    # Penalties on kernels, part of the loss; for weight decay apart from the gradient see optimizer.weight_decay.
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    # Share of the head's features left out; None: as the factory has it.
    dropout: Fraction | None = None


class CallbacksSection(Section):
    """Keras callbacks beside those that every run has."""

    # Epochs without a better validation loss after which training ends; None: never early.
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    # Logs for TensorBoard; written where Keras runs on TensorFlow.
    tensorboard: bool = True


class TransferSection(Section):
    """Start from trained weights: first the new head alone, then everything at a lower rate."""

    # A run directory, a `.keras` file that kzoo wrote, or published weights as SOURCE:TAG.
    weights: str
    head_epochs: Annotated[int, Field(ge=0)] = 3
    # Multiplies the learning rate once all layers train.
    learning_rate_factor: Positive = 0.1


class SimilaritySection(Section):
    """The loss of models that compare two samples.

    `contrastive` (Hadsell et al. 2006) compares all pairs of a batch, `triplet` (Schroff et al. 2015, arXiv 1503.03832)
    all triplets with semi-hard negatives.
    """

    loss: Literal["contrastive", "triplet"] = "contrastive"
    # contrastive: a distance of vectors of length 1, at most 2; triplet: a difference of squared distances.
    margin: Annotated[float, Field(gt=0.0, lt=4.0)] = 1.0


class ReconstructionSection(Section):
    """What models that give back their input hold to be normal, and what to be an anomaly."""

    # Class that is learned; all others are anomalies. None: normal, good or ok, if there is one of them, or the first.
    # YAML reads the name of a digit as a number.
    normal: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    # Share of normal validation samples, in percent, whose error is no alarm: it sets the threshold.
    percentile: Annotated[float, Field(gt=0.0, le=100.0)] = 95.0


class Recipe(Section):
    """A whole recipe; see each section."""

    model: ModelSection
    data: DataSection = DataSection()
    input: InputSection = InputSection()
    sound: SoundSection = SoundSection()
    text: TextSection = TextSection()
    augmentation: AugmentationSection = AugmentationSection()
    optimizer: AnyOptimizer = Adam(name="adamw", weight_decay=0.01)
    schedule: AnySchedule = Cosine(name="cosine")
    regularisation: RegularisationSection = RegularisationSection()
    callbacks: CallbacksSection = CallbacksSection()
    # None: the section's defaults where the model compares two samples.
    similarity: SimilaritySection | None = None
    # None: the section's defaults where the model gives back its input.
    reconstruction: ReconstructionSection | None = None
    transfer: TransferSection | None = None
    # Of a run that kzoo compress made.
    compression: CompressionSection | None = None
    distillation: DistillationSection | None = None
    sparse_training: SparseTrainingSection | None = None
    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=1)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    # What training computes in; the saved model is float32. auto: the fastest here by a few real steps, then recorded.
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    # balanced: each class weighs as much as any other; or a weight by class name; None: each sample weighs the same.
    class_weights: Literal["balanced"] | dict[str, Positive] | None = None

    @model_validator(mode="after")
    def _warmup_leaves_time_to_train(self) -> Recipe:
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be less than epochs, received warmup_epochs="
                f"{self.schedule.warmup_epochs:g}, epochs={self.epochs}; lower the one or raise the other"
            )
        if self.transfer is not None and self.transfer.head_epochs >= self.epochs:
            raise ValueError(
                f"transfer.head_epochs must be less than epochs, received head_epochs="
                f"{self.transfer.head_epochs}, epochs={self.epochs}; lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _sparse_from_the_start(self) -> Recipe:
        if self.sparse_training is not None and self.transfer is not None:
            raise ValueError("sparse_training starts from fresh weights; leave out either it or transfer")
        return self

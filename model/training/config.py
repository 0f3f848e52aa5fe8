"""What a training is made of, checked strictly."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from manifests.clip import TIERS
from manifests.pair import EDITS
from manifests.strict import Strict
from model.sizes import Sizes

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class Weights(Strict):
    """How often a sample is drawn, against one whose weight is 1: those of its edit and of its domain are multiplied."""

    edits: dict[Literal[EDITS], Weight] = {}
    domains: dict[Literal["sound", "music", "speech"], Weight] = {}


class Dropout(Strict):
    """Share of the samples that are trained without a condition, each drawn by itself. Guidance needs the instruction's."""

    instruction: Share = 0.1
    source: Share = 0.0


class Lora(Strict):
    """Train low-rank additions to the DiT's attention alone (Hu et al. 2021)."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 16.0


class Every(Strict):
    """After how many steps something is done; 0: never."""

    log: PositiveInt = 10
    val: int = Field(500, ge=0)
    listen: int = Field(1000, ge=0)
    checkpoint: PositiveInt = 500


class Ranks(Strict):
    """Processes that train together, each with its share of every batch; so many times one may die. fsdp: weights and optimizer are shared out among them."""

    count: PositiveInt = 1
    failures: int = Field(3, ge=0)
    cpus: PositiveFloat = 1.0
    gpus: Weight = 0.0
    parallel: Literal["ddp", "fsdp"] = "ddp"


class TrainConfig(Strict):
    """A training's configuration.

    `model`: sizes of a fresh model; left out where one is given to begin with. `tiers`: of the pairs that are trained on. `batch`: samples of a step, of
    all ranks together, which go through the model in `accumulate` turns. `time_shift` s: s·t / (1 + (s − 1)·t) stands in the place of t, so that above 1
    more is learned near the noise, where the instruction alone tells what is wanted. `span_weight`: of the loss inside the edit span, against 1 outside.
    `warmup`: steps over which the learning rate rises; `cooldown`: the last share of all steps, over which it falls. `ema`: how much of the average a step
    keeps. `listen`: how many val samples are edited to be heard, in `listen_steps` of the sampler (None: as many as the model has). `copying`: steps after
    which a model that does no better than copying its input is told of. `bad_steps`: so many steps in a row without a finite gradient end the training.
    """

    model: Sizes | None = None
    tiers: list[Literal[TIERS]] = ["real", "synthetic"]
    seed: int = Field(0, ge=0)
    steps: PositiveInt
    batch: PositiveInt = 8
    accumulate: PositiveInt = 1
    weights: Weights = Weights()
    dropout: Dropout = Dropout()
    times: Literal["uniform", "logit_normal"] = "logit_normal"
    time_shift: PositiveFloat = 1.0
    span_weight: PositiveFloat = 1.0
    learning_rate: PositiveFloat = 1e-4
    warmup: int = Field(1000, ge=0)
    cooldown: Share = 0.0
    weight_decay: Weight = 1e-3
    clip: PositiveFloat = 1.0
    ema: Share = 0.9999
    lora: Lora | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_activations: bool = False
    compile: bool = False
    workers: int = Field(2, ge=0)
    ranks: Ranks = Ranks()
    every: Every = Every()
    keep: PositiveInt = 3
    listen: PositiveInt = 4
    listen_steps: PositiveInt | None = None
    copying: PositiveInt = 2000
    bad_steps: PositiveInt = 20

    @model_validator(mode="after")
    def _whole(self):
        if self.batch % (self.accumulate * self.ranks.count):
            raise ValueError(f"batch: {self.batch} samples do not part evenly into {self.ranks.count} ranks and {self.accumulate} turns each")
        if self.ema == 1:
            raise ValueError("ema: less than 1 is wanted, or nothing would ever change")
        return self

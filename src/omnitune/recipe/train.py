"""Train: how long a run learns, and how its weights move."""

from typing import Annotated, Literal

from pydantic import Field

from omnitune.recipe.data import Share
from omnitune.settings import Settings, settings

Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Optimizer = Literal[
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"
]  # fmt: skip


@settings
class Train(Settings):
    """How long and how the weights move. `auto` values are resolved in `training/auto.py` and saved resolved.

    Args:
        epochs: passes over the training rows.
        minutes: stop in time: the schedule follows the clock where that is ahead of the epochs.
        batch: rows a step learns from.
        micro_batch: rows in memory at once; gradients add up to exactly those of `batch`.
        lr: learning rate of pretrained weights and adapters.
        head_lr: learning rate of what starts from scratch: heads, fusion, small encoders.
        layer_decay: factor on `lr` per block below the top one.
        weight_decay: decoupled from the gradient; biases and norms are spared.
        optimizer: name of an optimiser of torch.optim, in lower case.
        schedule: how the rate falls after warm-up.
        warmup: share of the steps in which the rate rises from zero.
        clip: largest norm of the gradient; 0 turns it off.
        dropout: in the layers of backbones; `checkpoint` keeps each checkpoint's own.
        attention_dropout: of attention weights in backbones; `checkpoint` keeps each checkpoint's own, `auto` is 0 where it would keep
            attention off its fastest path.
        patience: rounds of validation without progress before stopping; 0 turns it off.
        stop_on: what validation watches: `loss`, or a metric as `task.metric`.
        validate_every: epochs between rounds of validation.
        average: average the weights of so many best rounds, kept if validation agrees.
        precision: `auto` is bfloat16 where the device computes it natively, float32 elsewhere.
        checkpointing: recompute activations in the backward pass to save memory.
        compile: let torch compile the blocks that learn; `auto` does on a GPU where a run is long enough to gain by it.
        cache: GiB on disk for what frozen parts of backbones make of each row, and for decoded files, kept over epochs and runs; 0 does all again,
            and reads texts anew in every epoch.
        cache_bits: of each number that a frozen part made; 16 take half the room and move a row's vector by a thousandth at most, 32 nothing.
        flat: read texts without padding where the backbone can, on a CPU, or in bfloat16 on a GPU; the same tokens but for rounding.
        narrow: let the last block of a backbone make only the token that pooling reads, where it can; the same token but for rounding.
        channels_last: give convolutional networks the channels of a pixel side by side in memory; the same but for rounding.
        save_minutes: minutes between checkpoints to resume from, besides each round of validation.
        balance: how the losses of several tasks become one gradient: `static` by each task's `weight`; `uncertainty` learns a variance a task
            (Kendall et al. 2018); `gradnorm` learns factors that even out how fast tasks learn (Chen et al. 2018); `pcgrad` takes conflicts out
            of gradients (Yu et al. 2020). The last two cost a backward pass a task.
        mix: how batches of several tables (see `Recipe.tables`) are mixed, each batch being of one: by `size`, every row once an epoch; in `turns`,
            as many batches of each; `{temperature: T}`, in proportion to the size to the power of 1/T; or exactly so many batches an epoch of each
            table: `{data: 30, other: 10}`.
        seed: of every random choice.
    """

    epochs: Positive | Auto = "auto"
    minutes: Positive | None = None
    batch: Count | Auto = "auto"
    micro_batch: Count | Auto = "auto"
    lr: Positive | Auto = "auto"
    head_lr: Positive | Auto = "auto"
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: NotNegative = 0.01
    optimizer: Optimizer = "adamw"
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.06
    clip: NotNegative = 1.0
    dropout: Share | Literal["checkpoint"] = "checkpoint"
    attention_dropout: Share | Literal["checkpoint"] | Auto = "auto"
    patience: Annotated[int, Field(ge=0)] = 0
    stop_on: str = "loss"
    validate_every: Positive = 1.0
    average: Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpointing: bool = False
    compile: bool | Auto = "auto"
    cache: NotNegative = 10.0
    cache_bits: Literal[32, 16] = 32
    flat: bool = True
    narrow: bool = True
    channels_last: bool = True
    save_minutes: Positive = 10.0
    mix: Literal["size", "turns"] | dict[str, Positive] = "size"
    balance: Literal["static", "uncertainty", "gradnorm", "pcgrad"] = "static"
    seed: Annotated[int, Field(ge=0)] = 0

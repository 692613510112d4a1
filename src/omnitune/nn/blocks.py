"""Blocks: where the like layers of a model lie, and which of its parameters lie before, between and after them."""

import re

from torch import nn

MOST_STAGES = 5
_STAGE = re.compile(r"(.*?)\b\d+\.")


def find_blocks(model: nn.Module) -> tuple[list[str], list[nn.Module]]:
    """Names and modules of the longest ModuleList whose members share one class; none where there is none. Experts of a mixture are no blocks,
    nor are the convolutions that make tokens of a wave.

    Where a model has stages, each with such a list (Swin, ConvNeXt, ResNet), the lists of all stages are one.
    """
    groups: dict[str, list[tuple[str, nn.Module]]] = {}
    for name, found in model.named_modules():
        if isinstance(found, nn.ModuleList) and not name.endswith(("experts", "conv_layers")):
            like = _STAGE.sub(r"\1*.", name + ".", count=1) if _staged(model, name) else name
            groups.setdefault(like, []).extend((f"{name}.{i}", block) for i, block in enumerate(found))
    alike = [group for group in groups.values() if len({type(block) for _, block in group}) == 1]
    longest = max(alike, key=len, default=[])
    return [name for name, _ in longest], [block for _, block in longest]


def inside(blocks: list[str], name: str) -> int:
    """The number of the block, from 1, that a name lies in; 0 where it lies in none."""
    return next((i for i, block in enumerate(blocks, 1) if name.startswith(block + ".")), 0)


def outside(blocks: list[str], parameters: list[str]) -> dict[str, int]:
    """Depths of parameters in no block, by where they are defined: before the blocks 0, right before a block its number, after all n + 1.

    Embeddings, and the norms and positions that go with them, come first wherever they are defined.
    """
    depths, last = {}, 0
    for name in parameters:
        last = inside(blocks, name) or last
        if not inside(blocks, name):
            depths[name] = last + 1 if last and "embed" not in name and "relative" not in name else 0
    return depths


def unread(name: str) -> bool:
    """Weights behind `pooler_output`, which nobody reads here, and the token that stands for hidden patches or stretches of sound."""
    return ".pooler." in name or name.endswith(("mask_token", "masked_spec_embed"))


def _staged(model: nn.Module, name: str) -> bool:
    """Whether a list lies in a member of a list of a few, as blocks lie in stages; and not, as parts of a block would, in one of many."""
    match = _STAGE.match(name + ".")
    return match is not None and len(list(model.get_submodule(match[1].rstrip(".")).children())) <= MOST_STAGES

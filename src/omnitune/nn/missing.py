"""Missing: inputs that a row lacks, or that training hides, and the learned stand-ins in their place, in training and in prediction alike.

M is the number of inputs. Inputs are told apart by their order, so names may be anything.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from omnitune.nn.tokens import Tokens


def shown(tokens: Iterable[Tokens], hide: float) -> Tensor:
    """Which inputs of each row are read, (B, M) bool: those that are present, less some that are hidden; see `hidden`."""
    return hidden(torch.stack([t.present for t in tokens], 1), hide)


def hidden(present_BM: Tensor, hide: float) -> Tensor:
    """`present_BM` with each input hidden with probability `hide`, but never the last one of a row (after ModDrop, Neverova et al. 2015,
    https://arxiv.org/abs/1501.00102). So stand-ins learn even where no training row lacks an input."""
    if not hide or present_BM.shape[1] == 1:
        return present_BM
    luck_BM = torch.rand(present_BM.shape, device=present_BM.device) * present_BM
    return present_BM & ((luck_BM >= hide) | (luck_BM == luck_BM.amax(1, keepdim=True)))


def vectors(tokens: Iterable[Tokens], shown_BM: Tensor, norms: Iterable[nn.Module], stand_ins: Iterable[Tensor]) -> list[Tensor]:
    """The normed pooled vector of each input, (B, width of the input), its stand-in where it is not shown."""
    each = zip(tokens, shown_BM.T, norms, stand_ins, strict=True)
    return [torch.where(shown_B[:, None], norm(t.pooled()), stand_in) for t, shown_B, norm, stand_in in each]


def sequence(tokens: Tokens, projection: nn.Module, stand_in: Tensor) -> tuple[Tensor, Tensor]:
    """Projected tokens of one input (B, L, D) and their mask (B, L); where the row has none, the stand-in is its first."""
    stands_BL = torch.zeros_like(tokens.mask_BL)
    stands_BL[:, 0] = ~tokens.present
    x_BLD = torch.where(stands_BL[..., None], stand_in, projection(tokens.x_BLD))
    return x_BLD, tokens.mask_BL | stands_BL


def embedding(width: int) -> nn.Parameter:
    """One learned vector."""
    return nn.Parameter(torch.randn(width) * 0.02)

"""The last layer of a language model and its loss in one, a chunk of tokens at a time, so that the logits of all tokens never exist at once.

The gradients are made in the forward pass, while the probabilities of a chunk are at hand: three products of the same size as without chunks,
and memory for one chunk of logits (as in Wijmans et al. 2024, Cut Your Losses, https://arxiv.org/abs/2411.09009).

Shape letters: N tokens that are asked about, D width, V vocabulary, C tokens of a chunk.
"""

from typing import Any

import torch
from torch import Tensor

LOGITS = 2**24
"""Logits of a chunk, 64 MiB in float32."""
FEWEST, MOST = 64, 1024
"""Tokens of a chunk: fewer make slow products, more leave the processor's cache."""


def linear_cross_entropy(
    x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, y_N: Tensor, scale_N: Tensor, cap: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of `scale` times the cross-entropy of each token, with gradients; and of each token its loss and whether its likeliest answer is
    right, without.

    Args:
        x_ND: float32.
        weight_VD: one row a word.
        bias_V: None for none.
        y_N: int64, the right words.
        scale_N: how much each token counts.
        cap: what tanh keeps logits below, see `capped`.
    """
    total, losses_N, right_N = _Chunked.apply(x_ND, weight_VD, bias_V, y_N, scale_N, cap)  # type: ignore[no-untyped-call]
    return total, losses_N, right_N


def capped(logits: Tensor, cap: float | None) -> Tensor:
    """Logits between `-cap` and `cap` (Gemma 2: Riviere et al. 2024, https://arxiv.org/abs/2408.00118); as they are where it is None."""
    return logits if cap is None else torch.tanh(logits / cap) * cap


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, y_N: Tensor, scale_N: Tensor, cap: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `linear_cross_entropy`."""
        wanted = [tensor is not None and needed for tensor, needed in zip((x_ND, weight_VD, bias_V), ctx.needs_input_grad, strict=False)]
        grads = [torch.zeros_like(t) if t is not None and w else None for t, w in zip((x_ND, weight_VD, bias_V), wanted, strict=True)]
        losses_N, right_N = torch.empty(len(x_ND), device=x_ND.device), torch.empty(len(x_ND), dtype=torch.bool, device=x_ND.device)
        size = min(MOST, max(FEWEST, LOGITS // len(weight_VD)))
        for start in range(0, len(x_ND), size):
            here = slice(start, start + size)
            x_CD, y_C1 = x_ND[here], y_N[here, None]
            logits_CV = capped(x_CD @ weight_VD.T if bias_V is None else torch.addmm(bias_V, x_CD, weight_VD.T), cap)
            right_N[here] = logits_CV.argmax(1) == y_N[here]
            spread_C1 = logits_CV.logsumexp(1, keepdim=True)
            losses_N[here] = (spread_C1 - logits_CV.gather(1, y_C1))[:, 0]
            if any(wanted):
                bend_CV = None if cap is None else 1 - (logits_CV / cap) ** 2  # of tanh
                slopes_CV = logits_CV.sub_(spread_C1).exp_()
                slopes_CV.scatter_add_(1, y_C1, -torch.ones_like(spread_C1)).mul_(scale_N[here, None])
                slopes_CV = slopes_CV if bend_CV is None else slopes_CV.mul_(bend_CV)
                _add(grads, slopes_CV, x_CD, weight_VD, here)
        ctx.save_for_backward(losses_N, *grads)
        ctx.mark_non_differentiable(losses_N, right_N)
        return (losses_N * scale_N).sum(), losses_N, right_N

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        """What the forward pass made, times the gradient of the sum."""
        losses_N, *grads = ctx.saved_tensors
        x_ND, weight_VD, bias_V = (None if g is None else g * outer[0] for g in grads)
        return x_ND, weight_VD, bias_V, None, losses_N * outer[0] if ctx.needs_input_grad[4] else None, None


def _add(grads: list[Tensor | None], slopes_CV: Tensor, x_CD: Tensor, weight_VD: Tensor, here: slice) -> None:
    of_x, of_weight, of_bias = grads
    if of_x is not None:
        torch.mm(slopes_CV, weight_VD, out=of_x[here])
    if of_weight is not None:
        of_weight.addmm_(slopes_CV.T, x_CD)
    if of_bias is not None:
        of_bias += slopes_CV.sum(0)

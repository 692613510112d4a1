"""LoRA as one product: the adapter is added to its weight before it meets the tokens, wherever there are more tokens than inputs.

y = x (W + s B A)^T + b. The product B A is as small as the weight; beside it, x A^T B^T would cost two thin products and two passes over y.
The gradients of A and B come from thin products too, so that none as large as W is made.

Shape letters: T tokens, I inputs, O outputs, R rank.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Product(torch.autograd.Function):
    """x (W + scale * B A)^T + bias, with gradients for x, A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_RI: Tensor, b_OR: Tensor, scale: float) -> Tensor:
        """(..., I) to (..., O)."""
        merged_OI = torch.addmm(weight_OI, b_OR, a_RI, alpha=scale)
        ctx.save_for_backward(x, merged_OI, a_RI, b_OR)
        ctx.scale = scale
        return linear(x, merged_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """From the gradient of the result, (..., O)."""
        x, merged_OI, a_RI, b_OR = ctx.saved_tensors
        g_TO, x_TI = grads[0].flatten(0, -2), x.flatten(0, -2)
        grad_x = (g_TO @ merged_OI).view_as(x) if ctx.needs_input_grad[0] else None
        grad_a = ((g_TO @ b_OR).T @ x_TI) * ctx.scale
        grad_b = ((x_TI @ a_RI.T).T @ g_TO).T * ctx.scale  # this way round, the large matrix is read as it lies: three times as fast
        return grad_x, None, None, grad_a, grad_b, None


def merge_products(model: nn.Module) -> None:
    """Every plain LoRA layer of `peft` beside a frozen `nn.Linear`, without dropout of its own, multiplies once."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if type(module) is Linear and _plain(module):
            layer: Any = module
            layer.__class__ = _one_product()


def _plain(layer: Any) -> bool:
    base, names = layer.get_base_layer(), list(layer.lora_A)
    frozen = not any(p.requires_grad for p in base.parameters())
    dropped = any(not isinstance(layer.lora_dropout[name], nn.Identity) for name in names)
    return type(base) is nn.Linear and frozen and len(names) == 1 and not dropped and not layer.lora_variant and not layer.fan_in_fan_out


@cache
def _one_product() -> type[nn.Module]:
    from peft.tuners.lora import Linear

    class OneProduct(Linear):
        """`peft`'s LoRA beside a linear layer, as one product where that is cheaper."""

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """See `peft`."""
            base: Any = self.get_base_layer()
            whole = x.dtype == base.weight.dtype and not torch.is_autocast_enabled(x.device.type)
            if args or kwargs or self.merged or self.disable_adapters or not whole or x.numel() < x.shape[-1] ** 2:
                kept: Tensor = super().forward(x, *args, **kwargs)
                return kept
            (name,) = self.lora_A
            a, b = self.lora_A[name].weight, self.lora_B[name].weight
            apply: Any = Product.apply  # torch gives it no types
            made: Tensor = apply(x, base.weight, base.bias, a, b, self.scaling[name])
            return made

    return OneProduct

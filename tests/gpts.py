"""Small GPTs of every generation with weights large enough for differences to show."""

from typing import Any, get_args

import torch

from omnitune.nn.gpt import GPT, GPTConfig, GPTForCausalLM
from omnitune.nn.gpt_config import Generation

GENERATIONS = list(get_args(Generation))
WINDOW, VOCAB, PAD = 5, 61, 0


def config(generation: str, **more: Any) -> GPTConfig:
    sizes: dict[str, Any] = {"width": 32, "heads": 4, "context": 48, "vocab": VOCAB, "pad": PAD, "eos": 1}
    if generation == "gpt3":
        sizes["window"] = WINDOW
    if generation == "modern":
        sizes |= {"inner": 48, "kv_heads": 2}
    return GPTConfig.of(generation, 4, **sizes | more)  # type: ignore[arg-type]


def randomised(model: torch.nn.Module, seed: int = 0) -> Any:
    """Norms and biases are random too, so that a weight in the wrong place shows."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.2, generator=random)
            if weight.ndim == 1:
                weight.add_(0.5)
    return model.eval()


def base(generation: str, **more: Any) -> GPT:
    return randomised(GPT(config(generation, **more)))


def language_model(generation: str, **more: Any) -> GPTForCausalLM:
    return randomised(GPTForCausalLM(config(generation, **more)))


def rows(lengths: list[int], seed: int = 0, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their mask, (B, L) each."""
    random, L = torch.Generator().manual_seed(seed), max(lengths)
    place = torch.arange(L).flip(0) if left else torch.arange(L)
    mask = place < torch.tensor(lengths)[:, None]
    return torch.randint(2, VOCAB, mask.shape, generator=random) * mask, mask.long()

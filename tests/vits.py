"""Small ViTs and MAEs with weights large enough for differences to show."""

from typing import Any

import torch

from gpts import randomised
from omnitune.nn.mae import MAE, MAEConfig
from omnitune.nn.vit import ViT, ViTForImageClassification
from omnitune.nn.vit_config import VisionTransformerConfig

SIDE, PATCH, LABELS = 16, 4, 5
PATCHES = (SIDE // PATCH) ** 2


def config(**more: Any) -> VisionTransformerConfig:
    return VisionTransformerConfig.of(3, **{"width": 32, "heads": 4, "inner": 48, "size": SIDE, "patch": PATCH} | more)


def base(**more: Any) -> ViT:
    return learning_randomised(ViT(config(**more)))


def classifier(**more: Any) -> ViTForImageClassification:
    made = config(**more)
    made.num_labels = LABELS
    return randomised(ViTForImageClassification(made))


def mae_config(**more: Any) -> MAEConfig:
    decoder = {"decoder_hidden_size": 24, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 3, "decoder_intermediate_size": 40}
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "image_size": SIDE, "patch_size": PATCH}
    return MAEConfig(**decoder | sizes | more)


def mae(**more: Any) -> MAE:
    return learning_randomised(MAE(mae_config(**more)))


def learning_randomised(model: Any) -> Any:
    """All weights are random but those that the model keeps fixed."""
    fixed = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    randomised(model)
    with torch.no_grad():
        for name, weight in fixed.items():
            model.get_parameter(name).copy_(weight)
    return model


def pictures(n: int = 2, height: int = SIDE, width: int = SIDE, seed: int = 0) -> torch.Tensor:
    """(B, 3, H, W)."""
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def noise(n: int = 2, seed: int = 1) -> torch.Tensor:
    """(B, P), which decides what is hidden."""
    return torch.rand(n, PATCHES, generator=torch.Generator().manual_seed(seed))

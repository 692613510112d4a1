"""Masked words: the layers by which a family of models says hidden words, read from a checkpoint and written to one as transformers has them.

BERT and its heirs all have a layer, an activation and a norm, then the table of words and a bias for each; their names differ, and are found.

Shape letters: N tokens that are asked about, D width of tokens, E width of the table, V vocabulary.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from omnitune.nn import checkpoints, weights

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

VOCABULARY = 16
"""Of the small model that shows how its family says words."""
ACTIVATIONS: tuple[nn.Module, ...] = (nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ReLU())


@dataclass(frozen=True)
class Family:
    """How the masked-language models of a family say words.

    Args:
        dense, norm: their names in such a model.
        decoder: name of the layer that holds the table.
        bias: all names of the bias of each word; empty where there is none.
        layers: fresh ones, `dense`, the activation and `norm`.
    """

    dense: str
    norm: str
    decoder: str
    bias: tuple[str, ...]
    layers: nn.Sequential


class MaskedWords(nn.Module):
    """From tokens to vectors that are compared with those of words, as the family of `encoder` does it, else as BERT does.

    Its weights are those of the checkpoint where that has them (`trained`).

    Args:
        encoder: its backbone.
    """

    def __init__(self, encoder: "Encoder") -> None:
        super().__init__()
        words, inner = encoder.model.get_input_embeddings().weight.shape
        self.family = family(encoder.model.config)
        self.layers = self.family.layers if self.family else nn.Sequential(nn.Linear(encoder.width, inner), nn.GELU(), nn.LayerNorm(inner))
        self.bias = nn.Parameter(torch.zeros(words)) if self.family is None or self.family.bias else None
        self.trained = bool(self.family and encoder.folder and encoder.filled and self._read(self.family, encoder.folder, encoder.added))

    def forward(self, x_ND: Tensor) -> Tensor:
        """(N, E)."""
        y_NE: Tensor = self.layers(x_ND)
        return y_NE

    @torch.no_grad()
    def _read(self, family: Family, folder: Path, added: int) -> bool:
        """Whether the checkpoint has these weights, which are taken from it; all or none. It does not know `added` words."""
        wanted = {name: _older(names) for name, names in _names(self, family).items()}
        there = weights.some(weights.files(folder, str(folder)), {name for names in wanted.values() for name in names}, str(folder))
        found = {own: there[name] for own, names in wanted.items() for name in names if name in there}
        if added and "bias" in found:
            found["bias"] = checkpoints.widened(found["bias"], added)
        own = self.state_dict()
        fits = found.keys() == own.keys() and all(found[name].shape == tensor.shape for name, tensor in own.items())
        if fits:
            self.load_state_dict(found)
        return fits


def joined(model: Any, state: Mapping[str, Tensor], words: MaskedWords) -> tuple[Any, dict[str, Tensor]]:
    """The masked-language model of transformers, without memory for weights, and its weights: those of `model` (`state`) and `words`.

    Where transformers has none of this family, `model` and `state` themselves.
    """
    from transformers import AutoModelForMaskedLM

    if words.family is None:
        return model, dict(state)
    with torch.device("meta"):
        made = AutoModelForMaskedLM.from_config(deepcopy(model.config))
    own = words.state_dict()
    whole = {f"{made.base_model_prefix}.{name}": tensor for name, tensor in state.items()}
    whole |= {name: own[key] for key, names in _names(words, words.family).items() for name in names}
    return made, whole | {f"{words.family.decoder}.weight": model.get_input_embeddings().weight.detach()}


def family(config: Any) -> Family | None:
    """How models of this configuration say hidden words; None where transformers has no such model, or one that does it otherwise.

    Nothing is taken on trust: a small model must say the same through the layers that are found.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

    if config.is_encoder_decoder or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        return None
    small = deepcopy(config)
    try:
        small.vocab_size, small.num_hidden_layers, small.pad_token_id = VOCABULARY, 1, 0
        twin: Any = AutoModelForMaskedLM.from_config(small).eval()
    except (NotImplementedError, ValueError, RuntimeError, TypeError):  # of a family that cannot be so small
        return None
    decoder, inside = twin.get_output_embeddings(), {*twin.base_model.modules()}
    rest = {name: module for name, module in twin.named_modules() if module not in inside and module is not decoder}
    dense, norm = ([name for name, module in rest.items() if isinstance(module, kind)] for kind in (nn.Linear, nn.LayerNorm))
    if not isinstance(decoder, nn.Linear) or len(dense) != 1 or len(norm) != 1 or decoder.weight is not twin.get_input_embeddings().weight:
        return None
    fresh = [deepcopy(twin.get_submodule(name[0])) for name in (dense, norm)]
    with checkpoints.quiet():
        activation = _activation(twin, twin.get_submodule(dense[0]), twin.get_submodule(norm[0]), decoder)
    if activation is None:
        return None
    bias = tuple(name for name, p in twin.named_parameters(remove_duplicate=False) if p is decoder.bias)
    place = next(name for name, module in twin.named_modules() if module is decoder)
    return Family(dense[0], norm[0], place, bias, nn.Sequential(fresh[0], deepcopy(activation), fresh[1]))


@torch.no_grad()
def _activation(twin: Any, dense: nn.Linear, norm: nn.LayerNorm, decoder: nn.Linear) -> nn.Module | None:
    """The activation with which these layers say what the model says; None where none does.

    In float64: the two GELUs differ by so little that float32 takes the one for the other.
    """
    random, inside = torch.Generator().manual_seed(0), {*twin.double().base_model.parameters()}
    for weight in (weight for weight in twin.parameters() if weight not in inside):
        weight.normal_(0.0, dense.in_features**-0.5 if weight.ndim == 2 else 1.0, generator=random)
    ids, mask = torch.arange(1, VOCABULARY - 1).view(2, -1), torch.ones(2, (VOCABULARY - 2) // 2, dtype=torch.int64)
    x_BLD, wanted_BLV = twin.base_model(ids, attention_mask=mask).last_hidden_state, twin(ids, attention_mask=mask).logits
    said = {activation: linear(norm(activation(dense(x_BLD))), decoder.weight, decoder.bias) for activation in ACTIVATIONS}
    return next((a for a, logits_BLV in said.items() if torch.allclose(logits_BLV, wanted_BLV, rtol=1e-9, atol=1e-9)), None)


def _names(words: MaskedWords, family: Family) -> dict[str, tuple[str, ...]]:
    """Of each weight here its names in a masked-language model."""
    places = {"layers.0": family.dense, "layers.2": family.norm}
    found = {own: own.rpartition(".") for own in words.state_dict() if own != "bias"}
    return {own: (f"{places[module]}.{leaf}",) for own, (module, _, leaf) in found.items()} | ({"bias": family.bias} if family.bias else {})


def _older(names: tuple[str, ...]) -> tuple[str, ...]:
    """Also what the first checkpoints of BERT called the weights of norms."""
    return (*names, *(name.removesuffix("weight") + "gamma" for name in names), *(name.removesuffix("bias") + "beta" for name in names))

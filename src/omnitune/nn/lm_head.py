"""LMHead: what a checkpoint says words with, behind its base model: a transform, a table, a bias.

Shape letters: N places that are asked about, D width, V vocabulary.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, rename_source_key
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import BaseModelOutputWithPast

from omnitune.checksums import AGAIN
from omnitune.errors import Mistake
from omnitune.nn import checkpoints, weights
from omnitune.nn.linear_cross_entropy import capped

CAP = "final_logit_softcapping"
"""What configurations call the value that tanh keeps logits below (Gemma 2: Riviere et al. 2024, https://arxiv.org/abs/2408.00118)."""


class LMHead(nn.Module):
    """The layers of a checkpoint from its tokens to its words, by transformers' own code: its language model with the base model taken out, which
    stops before the table. So scales of logits (Granite, Cohere), transforms (CTRL) and names in files are its own.

    A table that is tied to the words that are read stays with the base model, and is handed in.

    Args:
        config: of a checkpoint that transformers has a language model for.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        with no_init_weights():  # all comes from a file; what is not touched takes no memory
            self.whole = checkpoints.language_model(config)._from_config(copy.deepcopy(config), dtype=torch.float32)
        self.whole.tie_weights()  # which is not done either
        self._renamings = [rule for rule in get_model_conversion_mapping(self.whole) if isinstance(rule, WeightRenaming)]
        self.base, read, last = self.whole.base_model_prefix, self.whole.get_input_embeddings().weight, self.whole.get_output_embeddings()
        self.last = next(name for name, module in self.whole.named_modules() if module is last)
        setattr(self.whole, self.base, _Given())
        self.tied = self.out.weight is read
        for module in self.whole.modules():
            module._parameters.update({name: None for name, p in module._parameters.items() if p is read})
        self.cap: float | None = getattr(config, CAP, None)
        self._stop(True)
        self.eval()

    @classmethod
    def of(cls, config: Any) -> Self | None:
        """The layers without their weights; None where transformers has no language model of that kind."""
        return cls(config) if checkpoints.language_model(config) else None

    @property
    def out(self) -> Any:
        """The last layer: `weight` (V, D), None where it is tied, and `bias` (V,) or None."""
        return self.whole.get_submodule(self.last)

    def table(self, read_VD: Tensor) -> Tensor:
        """A vector a word, (V, D), where `read_VD` are those of the words that are read."""
        return read_VD if self.tied else self.out.weight

    def forward(self, x_ND: Tensor) -> Tensor:
        """Tokens as they are multiplied with the table, (N, D)."""
        made: Tensor = self.whole(inputs_embeds=x_ND[None]).logits[0]
        return made

    def lacking(self, names: set[str]) -> list[str]:
        """Its weights that a file with these `names` does not hold."""
        return [own[0] for own in self._own() if self._called(names).keys().isdisjoint(own)]

    @torch.no_grad()
    def fill(self, folder: Path, base: Any, where: str, added: int = 0) -> None:
        """Reads its weights; `added` words of the model `base` are not in the file.

        Raises:
            Mistake: the checkpoint lacks them, or makes its logits in a way that is not known here.
        """
        files, read_VD = weights.files(folder, where), base.get_input_embeddings().weight
        names = weights.names(files, where)
        called = self._called(names)
        self._untie(files, called, read_VD[: len(read_VD) - added], where)
        if lacking := self.lacking(names):
            raise Mistake(where, f"the checkpoint holds no {lacking[0]}, with which it says words", "Choose one saved with its language head")
        for own in self._own():
            parameter, name = self.whole.get_parameter(own[0]), next(called[name] for name in own if name in called)
            weight = weights.some(files, {name}, where)[name]
            weight = checkpoints.widened(weight.float(), added) if len(parameter) - len(weight) == added > 0 else weight
            if weight.shape != parameter.shape:
                raise Mistake(where, f"{own[0]} is {tuple(weight.shape)}, and by its config.json {tuple(parameter.shape)}", AGAIN)
            parameter.data = weight.to(parameter.device, torch.float32)
        self._prove(read_VD, where)

    def state(self) -> dict[str, Tensor]:
        """Its own weights, by their names in the file of the whole model."""
        return {own[0]: self.whole.get_parameter(own[0]) for own in self._own()}

    def assemble(self, base: Any) -> Any:
        """The language model of transformers around `base`, whose weights it shares."""
        with torch.device("meta"):
            made = checkpoints.language_model(base.config)._from_config(base.config)
        setattr(made, self.base, base)
        for name, weight in self.state().items():
            place, _, last = name.rpartition(".")
            made.get_submodule(place)._parameters[last] = weight
        last = made.get_submodule(self.last)
        last.weight, last.bias = self.table(base.get_input_embeddings().weight), self.out.bias
        return made.eval()

    def joined(self, base: Any, state: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """The language model and its weights, those of `base` being `state`; `base` alone where it has all of them."""
        if not self.state():
            return base, state
        return self.assemble(base), {f"{self.base}.{name}": tensor for name, tensor in state.items()} | self.state()

    def _own(self) -> list[list[str]]:
        """The names of each of its weights: several where one is used twice."""
        found: dict[int, list[str]] = {}
        for name, parameter in self.whole.named_parameters(remove_duplicate=False):
            found.setdefault(id(parameter), []).append(name)
        return list(found.values())

    def _stop(self, before: bool, read_VD: Tensor | None = None) -> None:
        """Whether transformers' code stops before the table; else it makes logits."""
        self.out.forward = _same if before or read_VD is None else partial(linear, weight=self.table(read_VD), bias=self.out.bias)
        if self.cap is not None:
            setattr(self.whole.config, CAP, None if before else self.cap)

    def _called(self, names: set[str]) -> dict[str, str]:
        """What the file calls weights, by their names in the model: transformers has renamed some."""
        return {rename_source_key(name, self._renamings, [])[0]: name for name in names}

    def _untie(self, files: list[Path], called: dict[str, str], read_VD: Tensor, where: str) -> None:
        """A table of the file that is another one than that of the words that are read is not tied, whatever config.json says."""
        name = called.get(self.last + ".weight")
        if self.tied and name:
            table = weights.some(files, {name}, where)[name]
            if table.shape != read_VD.shape or not torch.equal(table.float(), read_VD.cpu()):
                self.tied, self.out.weight = False, nn.Parameter(torch.empty(self.whole.config.vocab_size, table.shape[1], device=read_VD.device))

    def _prove(self, read_VD: Tensor, where: str) -> None:
        """Nothing is taken on trust: two random tokens must get the logits that transformers gives them."""
        x_ND = torch.randn(2, read_VD.shape[1], generator=torch.Generator().manual_seed(0)).to(read_VD.device)
        wrong = Mistake(where, f"{type(self.whole).__name__} makes its logits in a way that is not known here", "Choose another checkpoint")
        try:
            ours_NV = capped(linear(self(x_ND), self.table(read_VD), self.out.bias), self.cap)
            self._stop(False, read_VD)
            theirs_NV = self(x_ND)
        except (AttributeError, TypeError, RuntimeError, IndexError):
            raise wrong from None
        finally:
            self._stop(True)
        if not torch.allclose(ours_NV, theirs_NV, rtol=1e-4, atol=1e-4 * float(theirs_NV.abs().max())):
            raise wrong


class _Given(nn.Module):
    """Stands where the base model was, and gives what is handed in."""

    @property
    def decoder(self) -> nn.Module:
        """OPT asks the decoder inside its base model."""
        return self

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> "_Output":
        """What the base model would have made."""
        return _Output(last_hidden_state=inputs_embeds)


class _Output(BaseModelOutputWithPast):  # type: ignore[misc]
    """Has nothing of what models hand through besides: attentions, states, choices of experts."""

    def __getattr__(self, name: str) -> None:
        return None


def _same(x: Tensor) -> Tensor:
    return x

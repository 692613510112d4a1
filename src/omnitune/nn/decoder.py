"""Decoder: what an encoder-decoder (T5, BART, Whisper) writes with, behind its encoder: its decoder, a table, a bias.

Shape letters: B rows, L tokens of what is read, T tokens that are written, D width, V vocabulary.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import BaseModelOutput

from omnitune.errors import Mistake
from omnitune.nn import adapters, checkpoints, kernels

BIAS = "final_logits_bias"
"""What BART and its heirs call the bias of each word, which does not learn."""
FIX = "Choose a T5, a BART or a Whisper"
MASKLESS = ("whisper",)
"""Model types whose decoders see all that the encoder made, silence that fills up a batch included."""


class Decoder(nn.Module):
    """The decoder of a checkpoint, by transformers' own code: its model with the encoder taken out, which stops before the table. So the scale of
    what the table is multiplied with (T5: Raffel et al. 2020, https://arxiv.org/abs/1910.10683), positions and masks are its own.

    Tables that are tied to the words that the encoder reads stay with the encoder, and are handed in; an encoder of sounds reads none, and the
    decoder keeps its own. Rows are padded: a token sees those before it, so what stands behind the last one changes nothing.

    Args:
        config: of a checkpoint that transformers has such a model for.
    """

    whole: Any  # the Hugging Face model without its encoder
    bias: Tensor | None

    def __init__(self, config: Any) -> None:
        super().__init__()
        with no_init_weights():  # all comes from a file; what is not touched takes no memory
            whole = checkpoints.conditional(config)._from_config(copy.deepcopy(config), dtype=torch.float32)
        whole.tie_weights()  # which is not done either
        self.tokens = Counter[str]()
        self.seen_BL: Tensor | None = None
        """What is real of what the encoder made, for a decoder that asks no mask."""
        self._take(whole)

    def _take(self, whole: Any) -> None:
        """Makes `whole` stop before its table, and leaves out its encoder and the tables that are the encoder's."""
        read, encoder, last = whole.get_input_embeddings(), whole.get_encoder(), whole.get_output_embeddings()
        self.encoder, self.read, self.last = (next(n for n, m in whole.named_modules() if m is part) for part in (encoder, read, last))
        table = read.weight
        self.tied, self.own = last.weight is table, all(p is not table for p in encoder.parameters())
        whole.set_submodule(self.encoder, nn.Identity())
        held = [] if self.own else list(whole.modules())
        self.tables = [(module, name) for module in held for name, p in module._parameters.items() if p is table]
        for module in whole.modules() if whole.config.model_type in MASKLESS else ():
            if isinstance(crossed := getattr(module, "encoder_attn", None), nn.Module):
                crossed.register_forward_pre_hook(self._masked, with_kwargs=True)
        self._give(None)
        last.forward = _same
        self.register_buffer("bias", getattr(whole, BIAS, None))
        if self.bias is not None:
            self.bias = self.bias[0].clone()
            whole.register_buffer(BIAS, torch.zeros(1, 1))
        kernels.quicken(whole)
        self.whole = whole.eval()

    def forward(self, x_BLD: Tensor, mask_BL: Tensor, y_BTD: Tensor) -> Tensor:
        """What is multiplied with the table, (B, T, D), from the tokens that were read and the vectors of the words before those that are written."""
        seen_BL = self.look(mask_BL)
        read = BaseModelOutput(last_hidden_state=x_BLD)
        made: Tensor = self.whole(encoder_outputs=read, attention_mask=seen_BL.long(), decoder_inputs_embeds=y_BTD, use_cache=False).logits
        return made

    def look(self, mask_BL: Tensor) -> Tensor:
        """From now on these of the encoder's tokens are seen, (B, L) bool: of a row without any the first, since attention over nothing is NaN."""
        first_BL = torch.arange(mask_BL.shape[1], device=mask_BL.device) == 0
        self.seen_BL = mask_BL | (first_BL & ~mask_BL.any(1, keepdim=True))
        return self.seen_BL

    def _masked(self, crossed: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gives attention over the encoder's tokens the mask that Whisper does not hand through; of several beams the same."""
        assert self.seen_BL is not None, "look comes first"
        x = args[0]
        seen_BL = self.seen_BL.repeat_interleave(len(x) // len(self.seen_BL), 0)
        mask_B11L = torch.zeros_like(seen_BL, dtype=x.dtype).masked_fill(~seen_BL, torch.finfo(x.dtype).min)[:, None, None]
        return args, options | {"attention_mask": mask_B11L}

    def words(self, base: Any) -> Any:
        """The table that it reads words by: its own, or that of its encoder `base`."""
        return (self.whole if self.own else base).get_input_embeddings()

    def table(self, read_VD: Tensor) -> Tensor:
        """A vector a word, (V, D), where `read_VD` are those of the words that are read."""
        return read_VD if self.tied else self.whole.get_submodule(self.last).weight

    @torch.no_grad()
    def fill(self, folder: Path, base: Any, where: str, added: int = 0) -> None:
        """Reads its weights; `added` words of the encoder `base` are not in the file.

        Raises:
            Mistake: the checkpoint lacks them, reads words by another table in its decoder, or makes its logits in a way that is not known here.
        """
        whole = checkpoints.read_whole(folder, where)
        read_VD = (whole if self.own else base).get_input_embeddings().weight
        if added:
            _widen(whole, added)
        wrong = Mistake(where, f"{type(whole).__name__} makes its logits in a way that is not known here", FIX)
        try:
            ids = torch.arange(8).view(2, 4) % len(read_VD)
            embedded = whole.get_decoder().get_input_embeddings()(ids)
            known = embedded if self.own else whole.get_encoder().get_input_embeddings()(ids)
            x_BLD = torch.randn_like(embedded) if self.own else whole.get_encoder()(input_ids=ids).last_hidden_state
            wanted = whole(encoder_outputs=BaseModelOutput(last_hidden_state=x_BLD), decoder_input_ids=ids).logits
            device = next(base.parameters()).device
            self._take(whole.to(device))
            made = self(*(t.to(device) for t in (x_BLD, torch.ones_like(ids, dtype=torch.bool), embedded)))
            made = linear(made, self.table(self.words(base).weight), self.bias).cpu()
        except (AttributeError, TypeError, RuntimeError, IndexError, ValueError):
            raise wrong from None
        if not torch.equal(embedded, known):
            raise Mistake(where, "its decoder reads words by another table than its encoder", FIX)
        if not torch.allclose(made, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())):  # nothing is taken on trust
            raise wrong

    @contextmanager
    def around(self, base: Any) -> Iterator[Any]:
        """The encoder-decoder of transformers around the encoder `base`, whose weights it shares meanwhile; it makes logits."""
        last, apart, bias = self.whole.get_submodule(self.last), self.whole.get_submodule(self.encoder), getattr(self.whole, BIAS, None)
        caches, base.config.use_cache = getattr(base.config, "use_cache", None), False  # a T5's encoder takes the word of its config for a decoder's
        self.whole.set_submodule(self.encoder, base)
        self._give(self.words(base).weight)
        del last.forward
        if self.bias is not None:
            setattr(self.whole, BIAS, self.bias[None])
        try:
            yield self.whole
        finally:
            base.config.use_cache = caches
            self.whole.set_submodule(self.encoder, apart)
            self._give(None)
            last.forward = _same
            if bias is not None:
                setattr(self.whole, BIAS, bias)

    def _give(self, table: Tensor | None) -> None:
        """Sets the tables that are the encoder's."""
        for module, name in self.tables:
            module._parameters[name] = table

    def state(self) -> dict[str, Tensor]:
        """Its own weights, by their names in the file of the whole model."""
        twice = f"{self.last}.weight" if self.own and self.tied else None
        own: dict[str, Tensor] = {name: tensor for name, tensor in self.whole.state_dict().items() if name != twice}
        return own if self.bias is None else own | {BIAS: self.bias[None]}

    def joined(self, base: Any, state: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """The encoder-decoder of transformers, without memory for weights, and its weights, those of its encoder being `state`."""
        with torch.device("meta"):
            made = checkpoints.conditional(base.config)._from_config(copy.deepcopy(base.config))
        table = {} if self.own else {f"{self.read}.weight": base.get_input_embeddings().weight.detach()}
        return made, {f"{self.encoder}.{name}": tensor for name, tensor in state.items()} | adapters.without(self.state()) | table

    def path(self) -> str:
        """How what it writes was read, and what share of the tokens was padding, for a report."""
        total = self.tokens.total()
        return "padded: a decoder reads no flat rows" + (f"; {self.tokens['padding'] / total:.1%} of the tokens were padding" if total else "")


def _widen(whole: Any, rows: int) -> None:
    """Gives the tables of `whole` so many rows more, each the mean of those that are there."""
    last = whole.get_output_embeddings()
    own = None if last.weight is whole.get_input_embeddings().weight else last.weight.clone()
    checkpoints.widen(whole, len(whole.get_input_embeddings().weight) + rows)
    if own is not None:
        whole.get_output_embeddings().weight = nn.Parameter(checkpoints.widened(own, rows))  # transformers has tied it meanwhile


def _same(x: Tensor) -> Tensor:
    return x

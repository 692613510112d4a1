"""Encoder: any Hugging Face backbone as stem -> blocks -> tail, from its inputs to `Tokens`.

Shape letters: B rows, L tokens, D width, C channels, H and W of a feature map (then L = H * W and D = C).
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake
from omnitune.nn import adapters, branches, checkpoints, dropout, flat, inlay, kernels, lowrank, masked_words, narrow, patches, weights
from omnitune.nn.adaptive_head import AdaptiveHead
from omnitune.nn.blocks import find_blocks, inside, outside, unread
from omnitune.nn.compiled import Compiled
from omnitune.nn.decoder import Decoder
from omnitune.nn.hearing import Hearing, equal, joined
from omnitune.nn.lm_head import LMHead
from omnitune.nn.padding import Padding
from omnitune.nn.recall import Place, Recall
from omnitune.nn.replay import Cut
from omnitune.nn.tokens import Pool, Tokens

STEMS = ("embeddings", "embedder")
"""What models of pictures call the part before their blocks."""


class Encoder(nn.Module):
    """A pretrained model read for its tokens, not for its pooled output.

    Stem, blocks and tail are numbered by `depth`: 0, 1 to n, n + 1. A model without a list of like modules is all stem, and `blocks` is
    empty: it can learn whole or not at all.

    Args:
        model: base model without a head, or the encoder of an encoder-decoder.
        pool: how one vector stands for a row.
        filled: whether its weights are real; False for a skeleton, until `load`.
        folder: where the checkpoint lies that it was read from, for the layers there that say words.
        added: words that the files there do not know.
        adapter: where an adapter lies that was added to the weights of `model`, for those layers too.
    """

    model: Any  # the Hugging Face model: nn.Module with a `config`

    def __init__(
        self, model: nn.Module, pool: Pool, filled: bool = True, folder: Path | None = None, added: int = 0, adapter: Path | None = None
    ) -> None:
        super().__init__()
        self.model, self.pool, self.filled, self.folder, self.added, self.adapter = model, pool, filled, folder, added, adapter
        self.lm_head: LMHead | AdaptiveHead | Decoder | None = None
        self.names, self.blocks = find_blocks(model)
        self.width = checkpoints.width(self.model.config)
        self.adapted, self.compiled = False, Compiled()
        self._outside = outside(self.names, [name for name, _ in model.named_parameters()])
        self._read = {name for name, p in self.named_parameters() if p.requires_grad and not unread(name)}
        kernels.quicken(model)
        self.eval()
        self.reads_text = checkpoints.accepts(type(model).forward, "input_ids")
        self.padding = Padding(model)
        self._see_whether_flat()
        self.narrow, self._sought = False, False
        self._last: narrow.Narrow | None = None
        self.channels_last = any(isinstance(module, nn.Conv2d) for block in self.blocks for module in block.modules())
        self.cut: Cut | None = None
        self.hearing, self.heard_BL = Hearing.of(model), torch.zeros(0, 0, dtype=torch.bool)
        self.shown: patches.Shown | None = None
        self.forks: bool | None = None  # whether a prompt is computed once for several texts, once that is known
        self.remembers = bool(getattr(model.config, "remembers", False))
        self.recall, self.went_on = Recall.empty(), False

    def forward(self, place: Place | None = None, **inputs: Tensor) -> Tokens:
        """Tokens of `input_ids` and `attention_mask` (B, L; padded on the right), `pixel_values` (B, 3, H, W), or `sound` (B, T, M) or (B, T) with
        the `length` of each clip (B,), 0 where it is missing.

        Texts may have `token_type_ids` (B, L), where the model has types, or `branch` (B, L), where several follow one prompt, see `branches.Rows`.
        With `visible` (B, K) beside pixels, only the patches at these places are computed, see `show`. Where `narrow` is set, one token a row: the
        one that pooling reads. With a `place`, a model that remembers goes on from the piece before.
        """
        if place is not None and self.remembers and place.any:
            return self._go_on(place, inputs["input_ids"], inputs["attention_mask"].bool())
        self._seek(inputs)
        if "length" in inputs:
            return self._sounds(inputs["length"], inputs["sound"])
        if "branch" in inputs:
            return self._branched(inputs["input_ids"], inputs["attention_mask"].bool(), inputs["branch"])
        if "input_ids" in inputs:
            return self._texts(inputs["input_ids"], inputs["attention_mask"].bool(), inputs.get("token_type_ids"))
        return self._others(inputs)

    def replay(self, hidden: Tensor, mask_BL: Tensor | None) -> Tokens:
        """Tokens from what `cut` saw of a batch, without the blocks below it.

        Args:
            hidden: (B, L, D) of texts and sounds, else as the block gave it.
            mask_BL: of texts and sounds.
        """
        assert self.cut is not None
        if self.hearing and mask_BL is not None:
            return self._sounds(mask_BL.sum(1), hidden, replayed=True)
        if mask_BL is not None:
            return self._texts(mask_BL.long(), mask_BL, hidden_BLD=hidden)
        with self.cut.replaced(hidden):
            return self._others({"pixel_values": hidden.new_zeros(len(hidden), 3, 1, 1)})

    def _sounds(self, length_B: Tensor, sound: Tensor, replayed: bool = False) -> Tokens:
        """Tokens of clips, or with `replayed` of what `cut` saw of them, those of one length at a time; see `Hearing`."""
        assert self.hearing
        made, seen = [], []
        for length, rows in equal(length_B):
            clips = sound[rows, :length]
            with self._replaced(clips if replayed else None):
                made.append((rows, self._others(self.hearing.blank(clips) if replayed else self.hearing.given(clips)).x_BLD))
            seen += [(rows, self.cut.seen)] if self.cut and not replayed else []
        blank_11D = torch.zeros(1, 1, self.width, device=sound.device)
        x_BLD, mask_BL = joined(made, len(length_B), blank_11D)
        self.heard_BL = mask_BL
        if self.cut and not replayed:
            self.cut.seen, self.heard_BL = joined(seen, len(length_B), blank_11D)
        return self._tokens(x_BLD, mask_BL)

    def _others(self, inputs: dict[str, Tensor]) -> Tokens:
        """Tokens of what is no text: as many for each row, all real."""
        if self.channels_last and "pixel_values" in inputs:  # convolutions keep the order of their input, and this one suits them
            inputs["pixel_values"] = inputs["pixel_values"].contiguous(memory_format=torch.channels_last)
        rows, device = len(next(iter(inputs.values()))), next(iter(inputs.values())).device
        few = self._narrowed() and self.pool == "first"
        visible_BK = inputs.pop("visible", None)
        assert visible_BK is None or self.shown, "show comes first"
        with self.shown.only(visible_BK, inputs["pixel_values"]) if self.shown and visible_BK is not None else nullcontext():
            x_BLD = self._run(torch.zeros(rows, 1, dtype=torch.int64, device=device) if few else None, **inputs)
        return self._tokens(x_BLD, torch.ones(x_BLD.shape[:2], dtype=torch.bool, device=device))

    def _texts(self, ids_BL: Tensor, mask_BL: Tensor, types_BL: Tensor | None = None, hidden_BLD: Tensor | None = None) -> Tokens:
        """Tokens of texts; flat where the model can. With `hidden`, the blocks below the cut are replaced by it."""
        real_BL = _never_empty(mask_BL)
        self.padding.count(real_BL)
        types = {} if types_BL is None else {"token_type_ids": types_BL}
        if self.padding.why(ids_BL.device, self.training):
            few_B1 = _read(self.pool, real_BL) if self._narrowed() else None
            with self._replaced(hidden_BLD):
                x_BLD = self._run(few_B1, input_ids=ids_BL, attention_mask=real_BL.long(), **types)
            return self._tokens(x_BLD, mask_BL if few_B1 is None else mask_BL.any(1, keepdim=True))
        layout = flat.Layout.of(real_BL)
        few_1B = layout.read(self.pool) if self._narrowed() else None
        with self._replaced(None if hidden_BLD is None else layout.flatten(hidden_BLD)):
            places = layout.positions[None] + (self.padding.positions_from or 0)
            types = {name: layout.flatten(tensor) for name, tensor in types.items()}
            x_1TD = self._run(few_1B, input_ids=layout.flatten(ids_BL), position_ids=places, attention_mask=layout.mask, **types)
        if self.cut and hidden_BLD is None:
            self.cut.seen = layout.pad(self.cut.seen)
        if few_1B is not None:
            return self._tokens(layout.unsorted(x_1TD), mask_BL.any(1, keepdim=True))
        return self._tokens(layout.pad(x_1TD), mask_BL)

    def _branched(self, ids_BL: Tensor, mask_BL: Tensor, branch_BL: Tensor) -> Tokens:
        """Tokens of prompts and of the texts behind them, the prompt computed once where the model can: two rows must give the same."""
        rows, together = branches.Rows(ids_BL, _never_empty(mask_BL), branch_BL), not self.padding.why(ids_BL.device, self.training)
        if together and self.forks is None:
            training, tokens = self.training, self.padding.tokens.copy()
            self.eval()
            self.forks = branches.proved(rows.first(2), self._together, self._texts)
            self.train(training)
            self.padding.tokens = tokens
        if not (together and self.forks):
            return self._tokens(branches.apart(rows, self._texts), mask_BL)
        self.padding.count(rows.mask_BL)
        return self._tokens(self._together(rows), mask_BL)

    def _together(self, rows: branches.Rows) -> Tensor:
        layout = flat.Layout.of(rows.mask_BL)
        places, told = rows.told(layout)
        return layout.pad(
            self._run(None, input_ids=layout.flatten(rows.ids_BL), position_ids=places + (self.padding.positions_from or 0), attention_mask=told)
        )

    def _go_on(self, place: Place, ids_BL: Tensor, mask_BL: Tensor) -> Tokens:
        """Tokens of pieces, told of what was read before them; keeps what is to be told of these."""
        real_BL = _never_empty(mask_BL)
        self.padding.count(real_BL)
        out = self.model(input_ids=ids_BL, mems=self.recall.of(place.before_B), attention_mask=real_BL.long(), use_cache=True)
        self.recall, self.went_on = self.recall.read(place, out.mems), True
        return self._tokens(out.last_hidden_state, mask_BL)

    def pads(self, device: torch.device) -> bool:
        """Whether padding of texts is multiplied."""
        return self.reads_text and self.padding.why(device, self.training) is not None

    def path(self) -> dict[str, str]:
        """How its inputs were read, and what share of the tokens was padding, for a report."""
        told = {}
        if self.reads_text and self.blocks:
            told["texts"] = self.padding.told(next(self.parameters()).device)
            if self.went_on:
                learned, measured = (self.model.config.remembered(training) for training in (True, False))
                told["texts"] = (
                    f"in order, each piece told of up to {learned:,} tokens before it in training, {measured:,} after{self.padding.share()}"
                )
        if isinstance(self.lm_head, Decoder):
            told["targets"] = self.lm_head.path()
        if self.narrow and self._sought:
            told["last block"] = f"the {self.pool} token alone" if self._narrowed() else "every token"
        return told

    def _run(self, few_BP: Tensor | None, **inputs: Tensor) -> Tensor:
        """What the model makes of `inputs`, (B, L, D); with `few`, only the tokens at these places, (B, P, D)."""
        with self._last.to(few_BP) if self._last and few_BP is not None else nullcontext():
            return _normed(self.model, self.model(**inputs, **self._options()).last_hidden_state)

    def _replaced(self, hidden: Tensor | None) -> AbstractContextManager[None]:
        return nullcontext() if hidden is None or self.cut is None else self.cut.replaced(hidden)

    def _tokens(self, x_BLD: Tensor, mask_BL: Tensor) -> Tokens:
        assert x_BLD.shape[-1] == self.width, f"width {self.width} expected of {type(self.model).__name__}, got {x_BLD.shape[-1]}"
        return Tokens(x_BLD, mask_BL, self.pool)

    def _narrowed(self) -> bool:
        """Whether the last block is to give only what pooling reads: not where `cut` keeps what it gives."""
        return self.narrow and self._last is not None and not (self.cut and len(self.cut.blocks) == len(self.blocks))

    def _seek(self, inputs: dict[str, Tensor]) -> None:
        """Finds, at the first batch, how to narrow the last block. Nothing is taken on trust: two rows must pool to the same."""
        if not self.narrow or self._sought or self.pool == "mean" or not self.blocks or not self.filled:
            return
        self._sought, training = True, self.training
        two = {name: tensor[:2] for name, tensor in inputs.items()}
        self.eval()
        with torch.no_grad():
            wanted = self(**two).pooled()
            self._last = narrow.find(self.model, self.blocks[-1], lambda: self(**two))
            try:
                same = torch.allclose(self(**two).pooled(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
            except (RuntimeError, ValueError, TypeError, IndexError):
                same = False
        if not same:
            self._last = None
        self.train(training)

    def _see_whether_flat(self) -> None:
        """Not of pictures, nor of a skeleton."""
        if self.filled and self.reads_text and checkpoints.accepts(type(self.model).forward, "position_ids"):
            self.padding.prepare()
        self.padding.note_dropout()

    def _options(self) -> dict[str, Any]:
        wanted = {"use_cache": False, "interpolate_pos_encoding": True}  # positions of pictures of another size lie between those of the checkpoint
        return {name: value for name, value in wanted.items() if checkpoints.accepts(type(self.model).forward, name)}

    def speak(self) -> LMHead | AdaptiveHead | None:
        """The layers with which its checkpoint says words, a part of its tail from now on; None where it has none besides its table.

        Raises:
            Mistake: the checkpoint was saved without them.
        """
        if self.lm_head is None and (head := self._words()):
            self._keep(head)
        assert not isinstance(self.lm_head, Decoder), "an encoder-decoder does not go on from a text"
        return self.lm_head

    def _words(self) -> LMHead | AdaptiveHead | None:
        """What it says words with, unread; a model from nothing has that only where its words lie in clusters."""
        clusters = AdaptiveHead.of(self.model.config)
        return clusters or (LMHead.of(self.model.config) if self.folder is not None else None)

    def decode(self) -> Decoder:
        """The decoder of its checkpoint with its layers that say words, a part of its tail from now on.

        Raises:
            Mistake: the checkpoint was saved without it.
        """
        if self.lm_head is None:
            self._keep(Decoder(self.model.config))
        assert isinstance(self.lm_head, Decoder), "only an encoder-decoder has a decoder"
        return self.lm_head

    def _keep(self, head: LMHead | AdaptiveHead | Decoder) -> None:
        if self.filled and self.folder is not None:
            head.fill(self.folder, self.model, self._where(), self.added)
            if self.adapter is not None and isinstance(head, Decoder):
                adapters.fold_rest(head.whole, self.adapter, head.encoder + ".")
        self.lm_head = head
        self._read |= {f"lm_head.{name}" for name, p in head.named_parameters() if p.requires_grad}

    def _where(self) -> str:
        return f"backbone {self.model.config.name_or_path or self.folder}"

    def depth(self, parameter: str) -> int:
        """Where a parameter (a name of `named_parameters`) lies: 0 in the stem, 1 to n in or right before a block, n + 1 in the tail."""
        if parameter.startswith("lm_head."):
            return len(self.blocks) + 1
        name = parameter.removeprefix("model.")
        return inside(self.names, name) or self._outside.get(name, 0)

    def still(self) -> int:
        """How many parts from the stem on hold no learning weight: n + 2 where nothing learns."""
        return min((self.depth(name) for name, p in self.named_parameters() if p.requires_grad), default=len(self.blocks) + 2)

    def cut_after(self, blocks: int) -> None:
        """From now on `cut.seen` holds what the first `blocks` blocks made of the last batch, and `replay` goes on from there."""
        self.cut = Cut(self.blocks[:blocks], self._stem())

    def show(self, patch: int, size: tuple[int, int]) -> None:
        """From now on reads pictures of `size` of which it is told the `visible` patches, of side `patch`. Nothing is taken on trust: see `Shown`.

        Raises:
            Mistake: the model needs all patches of a picture.
        """
        stem = self._stem()
        self.shown = patches.Shown(stem, patch) if stem else None
        if self.shown is None or (self.filled and not self.shown.proved(lambda **inputs: self(**inputs).x_BLD, size)):
            fix = "Choose a ViT, or one built like it (DeiT, DINOv2, CLIP, SigLIP)"
            raise Mistake(f"backbone {type(self.model).__name__}", "it cannot read a picture of which patches are left out", fix)

    def takes_vectors(self) -> bool:
        """Whether it reads vectors in the place of words, see `inlay`. Nothing is taken on trust: those of two words must give the same tokens."""
        return inlay.proved(self.model, lambda ids_BL, mask_BL: self._run(None, input_ids=ids_BL, attention_mask=mask_BL))

    def _stem(self) -> nn.Module | None:
        return next((m for name, m in self.model.named_modules() if name.rpartition(".")[2] in STEMS), None)

    def weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that decide the tokens: without poolers, tokens of masks, and tables that the model itself keeps fixed."""
        return ((name, p) for name, p in self.named_parameters() if name in self._read)

    def train(self, mode: bool = True) -> Self:
        """Training mode only for parts with a learning weight, so that a frozen prefix gives the same tokens every time.

        Batch norms keep the checkpoint's statistics: those of a small batch are noise. Modules that hold several parts, or no weight
        outside the blocks, follow the stem: their dropout comes right after it (T5 has one for both of its ends).
        """
        super().train(mode)
        self.compiled.use(mode)
        if not mode:
            return self
        places: dict[str, set[int]] = {}
        for name, _ in self.named_parameters():
            for end in [i for i, letter in enumerate(name) if letter == "."]:
                places.setdefault(name[:end], set()).add(self.depth(name))
        learning = {self.depth(name) for name, p in self.named_parameters() if p.requires_grad}
        for name, module in self.model.named_modules(prefix="model"):
            block = inside(self.names, name.removeprefix("model.") + ".")
            own = {block} if block else places.get(name, {0})
            still = isinstance(module, nn.modules.batchnorm._BatchNorm) or (own.pop() if len(own) == 1 else 0) not in learning
            module.training = mode and not still
        if self.lm_head is not None:
            self.lm_head.train(len(self.blocks) + 1 in learning)
        return self

    def set_dropout(self, layers: float | None, attention: float | None) -> None:
        """The shares that training drops, in layers and of attention weights; None leaves the checkpoint's."""
        dropout.set_share(self.model, layers, attention)
        self.padding.note_dropout()
        if isinstance(self.lm_head, Decoder):
            dropout.set_share(self.lm_head.whole, layers, attention)

    def recompute(self) -> None:
        """Computes the activations inside blocks again in the backward pass, which saves memory. Raises `Mistake` where the model cannot."""
        if not self.model.supports_gradient_checkpointing:
            raise Mistake("train.checkpointing", f"{type(self.model).__name__} cannot do it", "Leave it out, and lower train.micro_batch instead")
        self.narrow = False  # the second pass runs inside the backward one, beyond the reach of `narrow`
        checkpoints.recompute(self.model)
        if isinstance(self.lm_head, Decoder):
            checkpoints.recompute(self.lm_head.whole)

    def compile_blocks(self) -> None:
        """From now on the blocks that learn are compiled in training; not the last one where it is narrowed, since every batch does that anew."""
        first, last = max(1, self.still()), len(self.blocks) - (self.narrow and self.pool != "mean")
        self.compiled = Compiled(self.blocks[first - 1 : last], lengths_differ=self.reads_text)

    def adapt(self, config: Any, one_product: bool = True, written: Collection[str] = ()) -> None:
        """Adds the adapters that a `peft` configuration describes; they alone learn.

        Args:
            config: with the names of layers of `model`.
            one_product: see `lowrank`.
            written: layers of the decoder that are adapted too.
        """
        assert not self.adapted, "one adapter at a time"
        self.requires_grad_(False)
        adapters.inject(self.model, config)
        if written and isinstance(self.lm_head, Decoder):
            adapters.inject(self.lm_head.whole, adapters.only(config, written))
        if one_product:
            lowrank.merge_products(self)
        self.adapted = True

    def _adapted(self) -> dict[str, Any]:
        """The parts that have adapters, by what their names begin with in the model that is saved."""
        parts = {self._inside(): self.model} | ({"": self.lm_head.whole} if isinstance(self.lm_head, Decoder) else {})
        return {inside: part for inside, part in parts.items() if hasattr(part, "peft_config")}

    def save(self, folder: Path, weights: bool, words: masked_words.MaskedWords | None = None) -> None:
        """Writes config.json, model.safetensors with its checksum where `weights`, and the adapter in PEFT's format where there is one.

        With `words`, it is a masked-language model that is written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        model, state = self.model, adapters.without(self.model.state_dict()) if weights else None
        if state and words:
            model, state = masked_words.joined(model, state, words)
        if state and self.lm_head:
            model, state = self.lm_head.joined(model, state)
        checkpoints.write(model, folder, state)
        if self.adapted:
            adapters.write(self._adapted(), folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote: weights where they are there, the adapter where it is there.

        Raises:
            Mistake: a file is damaged, or made for another model, or a skeleton stays empty.
        """
        if weights.there(folder):
            fresh = checkpoints.read(folder, str(folder)).state_dict()
            checkpoints.same_shapes(self.model.state_dict(), fresh, str(folder))
            self.model.load_state_dict(fresh, assign=True)
            self.filled = True
            self._see_whether_flat()
            if self.lm_head is not None:
                self.lm_head.fill(folder, self.model, str(folder))
        if not self.filled:
            raise Mistake(str(folder), "no weights here", "Copy the folder again, with model.safetensors")
        if adapters.there(folder):
            adapters.read(self.model, folder, self._inside())
            if isinstance(self.lm_head, Decoder):
                adapters.read(self.lm_head.whole, folder, but=self._inside())
            lowrank.merge_products(self)
            self.adapted = True

    def _inside(self) -> str:
        """What the names of its weights begin with in the model that is saved, where adapters must know that."""
        return f"{self.lm_head.encoder}." if isinstance(self.lm_head, Decoder) else ""

    def merge(self) -> None:
        """Folds adapters into the weights: the same answers without the extra products."""
        if self.adapted:
            for part in self._adapted().values():
                adapters.merge(part)
            self.adapted = False


def _read(pool: Pool, real_BL: Tensor) -> Tensor:
    """Where each row's token lies that `pool` reads, (B, 1)."""
    return torch.zeros_like(real_BL[:, :1], dtype=torch.int64) if pool == "first" else real_BL.sum(1, keepdim=True) - 1


def _never_empty(mask_BL: Tensor) -> Tensor:
    """A row without a token attends to its first one: attention over nothing is NaN. Its tokens stay masked."""
    first = torch.zeros_like(mask_BL)
    first[:, 0] = ~mask_BL.any(1)
    return mask_BL | first


def _normed(model: Any, x: Tensor) -> Tensor:
    """Tokens after the norm that the model's own head would read, (B, L, D)."""
    if x.ndim == 4:
        x_BLD = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H * W, C)
        norm = getattr(model, "layernorm", None)
        return _norm_of_mean(norm, x_BLD) if isinstance(norm, nn.LayerNorm) else x_BLD
    norm = getattr(model, "post_layernorm", None)
    if isinstance(norm, nn.LayerNorm) and "clip" in model.config.model_type:
        x = norm(x)  # CLIP norms the class token outside last_hidden_state; other towers norm inside
    return x


def _norm_of_mean(norm: nn.LayerNorm, x_BLD: Tensor) -> Tensor:
    """ConvNeXt norms the mean of its map. With the mean's statistics on every token, the mean of the normed tokens is the normed mean."""
    mean_B1D = x_BLD.mean(1, keepdim=True)
    scale = (mean_B1D.var(-1, correction=0, keepdim=True) + norm.eps).rsqrt()
    normed: Tensor = norm(mean_B1D) + (x_BLD - mean_B1D) * scale * norm.weight
    return normed

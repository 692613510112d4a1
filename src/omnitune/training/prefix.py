"""Prefix: what a frozen part of a backbone makes of a row is always the same, so it is computed once and read from then on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.checksums import sha256
from omnitune.data import prompted
from omnitune.data.columns import Column
from omnitune.data.pieced import Pieced
from omnitune.data.prepared import Prepared
from omnitune.data.store import Store
from omnitune.data.together import having
from omnitune.modalities._several import items
from omnitune.nn.several import flat, laid
from omnitune.nn.tokens import Tokens
from omnitune.settings import plain
from omnitune.tasks import SelfSupervised
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
Inputs = dict[str, Tensor]
VERSION = 2
"""Of what is stored; a change of it leaves older files unused."""
SAMPLE = 64
"""Texts or sounds whose length tells how much room all will take."""
ALL = slice(None)
MISSING = b"missing value   "
LARGEST = float(np.finfo(np.float16).max)
BOUND = 1e-3
"""How far 16 bits may move a row's vector, as a share of the largest number in any; else rows are kept in 32."""
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx"}
APART = ("column", "backbone", "shares", "views", "most", "prompt_tokens")
"""Settings of an input that change nothing of what its backbone makes of one value, or are looked at by themselves."""


class Prefix:
    """The part of one input's backbone below its lowest learning weight, and the store of what it made.

    Args:
        name: the input.
        model: tuned, on its device.
        prepared: the data.
    """

    def __init__(self, name: str, model: Model, prepared: Prepared) -> None:
        recipe, self.name, self.encoder = prepared.recipe, name, model.pretrained[name]
        self.table, self.column, self.modality, self.facts = prepared.table, recipe.column(name), recipe.inputs[name], prepared.schema.inputs[name]
        asked = prompted.kept(recipe)
        self.asked = asked if asked and recipe.tasks[asked].of == name else None
        self.prepared = prepared
        self.reader, self.depth = model.encoder(name), len(self.encoder.blocks)
        self.whole = self.encoder.still() > self.depth + 1
        self.blocks = self.depth if self.whole else self.encoder.still() - 1
        self.pooled = self.whole and model.fusion.pools and name not in model.shown
        self.encoder.narrow &= not self.whole  # so that a row's vector does not depend, in its last digits, on the rows beside it
        self.most = getattr(self.modality, "most", 1)
        self.keys: dict[int, list[bytes]] = {}
        self.places, self.shape = 1, tuple[int, ...]()
        self.store: Store | None = None
        self.bits, self.moved = recipe.train.cache_bits, 0.0
        self.read = self.computed = 0

    # What is asked of it while batches are made, and while the model runs

    def __call__(self, rows: Array, view: int | None = None) -> Inputs | None:
        """What is known of these rows, in the place of their encoded values: `hidden`, `present`, of texts `mask`. None unless all is known.

        Args:
            rows: row numbers.
            view: which of their fixed augmented views; None for the rows as they are.
        """
        assert self.store
        cells = self._keys(rows, view)
        keys = [key for cell in cells for key in cell]
        kept = self.store.read(keys)
        if kept is None:
            return None
        self.read += len(keys)
        found = [row.reshape(-1, *self.shape) for row in kept]
        lengths = np.array([len(row) for row in found])
        hidden = np.zeros((len(keys), max(1, lengths.max()), *self.shape), np.float32)
        for i, row in enumerate(found):
            hidden[i, : len(row)] = row
        inputs = {"hidden": torch.from_numpy(hidden), "present": torch.tensor([key != MISSING for key in keys])}
        if self._uneven():
            inputs["mask"] = torch.from_numpy(np.arange(hidden.shape[1]) < lengths[:, None])
        return laid(inputs, [len(cell) for cell in cells]) if self.modality.several else inputs

    def knows(self, rows: Array) -> bool:
        """Whether all of these rows are known."""
        store = self.store
        return store is not None and all(key in store for cell in self._keys(rows, None) for key in cell)

    def tokens(self, inputs: Inputs) -> Tokens:
        """The tokens of rows that are known."""
        hidden, mask = inputs["hidden"], inputs.get("mask")
        if not self.whole:
            return self.encoder.replay(hidden, mask)
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device) if mask is None else mask
        return Tokens(hidden, mask, "first" if self.pooled else self.encoder.pool)

    def keep(self, rows: Array, inputs: Mapping[str, Tensor], tokens: Tokens, place: slice) -> None:
        """Stores what a forward pass that gave `tokens` made of the rows; `place` is where they were among all that it read."""
        assert self.store
        view = int(inputs["view"][0]) if "view" in inputs else None
        keys = [key for cell in self._keys(rows, view) for key in cell]
        if all(key in self.store for key in keys):  # a batch may be read twice, see `training/gradients.py`
            return
        self.computed += len(keys)
        hidden = self._hidden(tokens, place).cpu().numpy()
        masks = self._mask(inputs, place).cpu().numpy() if self._uneven() else np.ones(hidden.shape[:2], bool)
        hidden = hidden[:, : masks.shape[1]]  # what was read beside it may be longer
        found = {key: row[mask] for key, row, mask in zip(keys, hidden, masks, strict=True)}
        if self.bits == 16:
            found = {key: row for key, row in found.items() if np.abs(row).max(initial=0) <= LARGEST}
        self.store.write(list(found), list(found.values()))

    def _uneven(self) -> bool:
        """Whether rows have tokens of their own number: texts and sounds."""
        return (self.encoder.reads_text or self.encoder.hearing is not None) and not self.pooled

    def _mask(self, inputs: Mapping[str, Tensor], place: slice = ALL) -> Tensor:
        """Which tokens of the last forward pass are real, (B, L)."""
        return self.encoder.heard_BL[place] if self.encoder.hearing else inputs["attention_mask"].bool()

    def _hidden(self, tokens: Tokens, place: slice = ALL) -> Tensor:
        if self.pooled:
            return tokens.pooled().detach()[:, None]
        hidden: Tensor = (tokens.x_BLD if self.whole or self.encoder.cut is None else self.encoder.cut.seen[place]).detach()
        return hidden

    def _keys(self, rows: Array, view: int | None) -> list[list[bytes]]:
        """Of each row, those of the values in its cell."""
        new = np.array([row for row in rows if int(row) not in self.keys], np.int64)
        for row, value in zip(new, self._values(new), strict=True):
            self.keys[int(row)] = [_key(one) for one in (items(value, self.most) or [None] if self.modality.several else [value])]
        keys = [self.keys[int(row)] for row in rows]
        return keys if view is None else [[key if key == MISSING else _view_of(key, view) for key in cell] for cell in keys]

    def _values(self, rows: Array) -> list[Any]:
        """What decides the tokens of these rows: of a prompt a list of all that it reads."""
        if self.asked is None:
            return Column(self.table, self.column, rows, self.modality.media)[:]
        columns = [Column(self.table, column, rows)[:] for column in prompted.read_by(self.prepared.recipe, self.asked)]
        return [list(values) for values in zip(*columns, strict=True)]

    def _encoded(self, rows: Array) -> Inputs:
        """What the model reads of these rows."""
        recipe, schema = self.prepared.recipe, self.prepared.schema
        if self.asked is None:
            inputs: Inputs = self.modality.encode(self._values(rows), self.facts)
            return inputs
        columns = {column: Column(self.table, column, rows)[:] for column in prompted.read_by(recipe, self.asked)}
        return prompted.encoded(recipe, schema.inputs, self.asked, schema.tasks[self.asked], columns, {})

    # Whether it can be, decided before the first step

    def refusal(self, prepared: Prepared) -> str | None:
        """Why nothing can be kept; None, with the store open, where all conditions hold."""
        train = prepared.recipe.train
        if not prepared.room.most:
            return "train.cache is 0"
        if not self.asked and any(isinstance(task, SelfSupervised) and task.of == self.name for task in prepared.recipe.tasks.values()):
            return "a task asks it about itself"
        if self.encoder.remembers and isinstance(self.table, Pieced) and not self.table.firsts:
            return "what it makes of a piece depends on those before"
        if self.encoder.still() < 2:
            return "its lowest block learns"
        if self.modality.augments and prepared.augment and not self.modality.fixed_views:
            return "its values are augmented"
        if train.precision != "float32":
            return f"it is computed in {train.precision}"
        rows = having(self.table, self.column, prepared.parts["train"])
        rows = rows[:: -(-len(rows) // SAMPLE)] if self._uneven() else rows[:2]
        inputs = dict(flat(self._encoded(rows)))
        if self.encoder.reads_text and not self.pooled and "attention_mask" not in inputs:
            return "its texts come without a mask"
        if not self._proved({name: tensor[:2].to(next(self.encoder.parameters()).device) for name, tensor in inputs.items()}):
            return f"{type(self.encoder.model).__name__} does not give the same tokens when it goes on from a block"
        return self._open(prepared, inputs)

    @torch.no_grad()
    def _proved(self, inputs: Inputs) -> bool:
        """Whether going on from what was kept gives the tokens of the whole model."""
        if not self.whole and self.encoder.cut is None:
            self.encoder.cut_after(self.blocks)
        self.reader.eval()
        wanted = self.reader(inputs)
        hidden = self._hidden(wanted)
        self.places, self.shape = hidden.shape[1], tuple(hidden.shape[2:])
        known = {"hidden": hidden, "present": inputs["present"]} | ({"mask": self._mask(inputs)} if self._uneven() else {})
        vectors = wanted.only(inputs["present"]).pooled()
        try:
            same = torch.allclose(self._vectors(known), vectors, 1e-4, 1e-5)
        except (RuntimeError, TypeError, ValueError, AttributeError):
            same = False
        if not same:
            self.release()
        if same and self.bits == 16:
            rounded = self._vectors(known | {"hidden": hidden.half().float()})
            self.moved = float((rounded - vectors).abs().max() / vectors.abs().max().clamp(min=1e-12))
            self.bits = 16 if self.moved <= BOUND else 32
        return same

    def release(self) -> None:
        """The backbone is whole again."""
        if self.encoder.cut:
            self.encoder.cut.remove()
            self.encoder.cut = None

    def _vectors(self, known: Inputs) -> Tensor:
        return self.tokens(known).only(known["present"]).pooled()

    def _open(self, prepared: Prepared, inputs: Inputs) -> str | None:
        tokens = self._tokens(inputs) if self._uneven() else self.places
        wanted = int(self.bits // 8 * tokens * np.prod(self.shape) * self._looks(prepared))
        about = {"holds": "activations", "about": f"{self.encoder.model.config.name_or_path or 'a backbone'}: {self.part}"}
        opened = prepared.room.open(self.fingerprint(), wanted, about, f"<f{self.bits // 8}")
        if isinstance(opened, str):
            return opened
        self.store = opened
        return None

    def _tokens(self, inputs: Inputs) -> float:
        """A row, on average; of sounds by the longer of the two that were proved."""
        if self.encoder.hearing is None:
            return float(inputs["attention_mask"].sum(1).float().mean())
        return float(self.places / inputs["length"][:2].max().clamp(min=1) * inputs["length"].float().mean())

    def _looks(self, prepared: Prepared) -> int:
        """How many values will be kept, each fixed view of a training row counted; several of a cell by how many some rows have."""
        counts = {part: len(rows) for part, rows in prepared.parts.items()}
        looks = sum(counts.values()) + int(self.modality.fixed_views) * counts["train"]
        if not self.modality.several:
            return looks
        rows = having(self.table, self.column, prepared.parts["train"])
        some = Column(self.table, self.column, rows[:: -(-len(rows) // SAMPLE)])[:]
        return int(looks * sum(len(items(cell, self.most) or [None]) for cell in some) / len(some)) + 1

    @property
    def part(self) -> str:
        """Which part stays as it is."""
        return "all of it" if self.whole else f"the first {self.blocks} of {self.depth} blocks"

    @property
    def fact(self) -> str:
        """What was computed once, for a report."""
        wide = f"; in 32 bits, since 16 move a vector by {self.moved:.1%}" if self.moved > BOUND else "; in 16 bits" if self.bits == 16 else ""
        return f"{self.part}: {self.computed:,} rows computed, {self.read:,} read{wide}"

    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what is kept: weights, tokenizer or picture settings, the place of the cut, versions."""
        facts = {"version": VERSION, "torch": torch.__version__, "blocks": self.blocks, "whole": self.whole, "pooled": self.pooled}
        settings = {key: value for key, value in plain(self.modality).items() if key not in APART}
        if decoder := self.modality.decoder(self.modality.augments):
            facts["decoder"] = decoder.settings
        facts |= {"modality": settings, "facts": self.facts, "pool": self.encoder.pool, "files": self._files()}
        if self.asked:
            facts |= {"asked": plain(self.prepared.recipe.tasks[self.asked]), "free": self.prepared.schema.tasks[self.asked]}
        facts |= {"flat": self.encoder.padding.flat, "channels_last": self.encoder.channels_last, "bits": self.bits}
        total = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.encoder.model.state_dict().items()):
            if self.whole or self.encoder.depth(name) <= self.blocks:
                total.update(name.encode())
                total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return total.hexdigest()[:32]

    def _files(self) -> dict[str, str]:
        """Digests of the files beside the weights: tokenizer, picture settings."""
        folder: Path | None = getattr(self.modality.backbone, "folder", None)
        if folder is None:  # it starts from nothing, and its settings are among the facts
            return {}
        paths = (path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix not in WEIGHTS)
        return {path.name: sha256(path) for path in paths}


def _key(value: Any) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value, default=str).encode()
    return MISSING if value is None else hashlib.blake2b(data, digest_size=16).digest()


def _view_of(key: bytes, view: int) -> bytes:
    return hashlib.blake2b(key + view.to_bytes(4, "little"), digest_size=16).digest()


class Frozen:
    """The frozen parts of all backbones of a model. While it is open, the model and the batches of `prepared` use what is known.

    Args:
        model: tuned, on its device.
        prepared: the data.
    """

    def __init__(self, model: Model, prepared: Prepared) -> None:
        self.prefixes: dict[str, Prefix] = {}
        self.refusals: dict[str, str] = {}
        self.earlier: dict[str, str] = {}
        self.prepared = replace(prepared, known=self.prefixes)
        self.model = model
        model.known = self.prefixes
        self._open(prepared)

    def _open(self, prepared: Prepared) -> None:
        for name, prefix in [(name, Prefix(name, self.model, prepared)) for name in self.model.pretrained]:
            why = prefix.refusal(prepared)
            if why is None:
                self.prefixes[name] = prefix
            else:
                self.refusals[name] = why
        for name in [name for name, prefix in self.prefixes.items() if not prefix.whole and prefix.encoder.cut is None]:
            self.refusals[name] = "what is read beside it does not go on from a block"
            del self.prefixes[name]
        for name in prepared.decoded.keys() - self.prefixes.keys():  # what is known is decoded once anyway
            prepared.decoded[name].keep(prepared.sources())

    def again(self, prepared: Prepared, before: str = "") -> None:
        """The same for a model that was tuned anew; all that use `prepared` see it. What there was until now is told as of rung `before`."""
        if before:
            self.earlier |= {f"{name}, rung {before}": what for name, what in self._now().items()}
        self.close()
        for prefix in self.prefixes.values():
            prefix.release()
        self.prefixes.clear()
        self.refusals.clear()
        self._open(prepared)

    def facts(self) -> dict[str, str]:
        """Of each backbone, what was computed once, or why nothing was."""
        return self.earlier | self._now()

    def _now(self) -> dict[str, str]:
        told = {f"frozen part of {name}": f"nothing kept: {why}" for name, why in self.refusals.items()}
        for name, prefix in self.prefixes.items():
            told[f"frozen part of {name}"] = prefix.fact
        return told | {f"files of {name}": d.fact for name, d in self.prepared.decoded.items() if name not in self.prefixes}

    def close(self) -> None:
        """Makes what was computed known to later runs."""
        for prefix in self.prefixes.values():
            if prefix.store:
                prefix.store.close()

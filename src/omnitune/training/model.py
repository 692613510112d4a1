"""Model: a recipe and a schema as one module. Encoders make tokens, the fusion joins them, heads answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from omnitune.data.batches import Question
from omnitune.data.schema import Schema
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.nn import one_pass, several
from omnitune.nn.encoder import Encoder
from omnitune.nn.heads import Head, RowHead
from omnitune.nn.inlay import SLOTS
from omnitune.nn.language import LanguageHead
from omnitune.nn.late import with_own
from omnitune.nn.masked_words import MaskedWords
from omnitune.nn.projector import Inlays, Shown
from omnitune.nn.recall import Recall
from omnitune.nn.tokens import Batch, Loss, Tokens, View, beside
from omnitune.recipe import Recipe
from omnitune.tasks import SelfSupervised
from omnitune.training import auto
from omnitune.tuning.probe import Probe

if TYPE_CHECKING:
    from omnitune.training.features import Read
    from omnitune.training.prefix import Prefix


Inputs = Mapping[str, Tensor]


def slug(name: str) -> str:
    """`name` as a file name and as a module name, reversible and never that of an attribute."""
    return quote(name, safe=" ").replace(".", "%2E") + "_"


class Model(nn.Module):
    """What a recipe describes.

    Args:
        recipe: inputs, fusion and tasks.
        schema: what they learned by counting.
        skeletons: inputs whose backbone is made without reading its weights, to be filled from an artifact.
    """

    def __init__(self, recipe: Recipe, schema: Schema, skeletons: Collection[str] = ()) -> None:
        super().__init__()
        self.inputs, self.tasks, self.beside = list(recipe.inputs), list(recipe.tasks), recipe.beside
        self.readers = {name: recipe.reader(name) for name in recipe.inputs}
        encoders: dict[str, Any] = {name: self._made(recipe.inputs[name], schema.inputs[name], name in skeletons) for name in recipe.readers}
        self.encoders = nn.ModuleDict({slug(name): encoder for name, encoder in encoders.items()})
        self.fusion = recipe.fusion.module({name: encoders[of].width for name, of in self.readers.items()})
        self.shown = {of for task in recipe.tasks for of in recipe.shown(task)}
        asked = {self.readers[task.of] for task in recipe.tasks.values() if isinstance(task, SelfSupervised)}
        asked |= {self.readers[of] for of in self.shown}
        for name, encoder in self.backbones.items():
            encoder.padding.flat = recipe.train.flat
            encoder.channels_last &= recipe.train.channels_last
            encoder.narrow = recipe.train.narrow and self.fusion.pools and name not in asked
        width = int(self.fusion.width)
        self.known: Mapping[str, Prefix | Read] = {}
        makers = {name: encoders[of] for name, of in self.readers.items()} | self.pretrained
        heads = {slug(name): task.head(width, schema.tasks[name], makers) for name, task in recipe.tasks.items()}
        self.heads = nn.ModuleDict(heads)
        self.inlays = nn.ModuleDict({slug(of): self._inlays(recipe, of) for of in self._showing(recipe)})

    def _showing(self, recipe: Recipe) -> list[str]:
        """Inputs that read prompts in which others stand."""
        return list(dict.fromkeys(recipe.tasks[task].of for task in recipe.tasks if recipe.shown(task)))

    def _inlays(self, recipe: Recipe, of: str) -> Inlays:
        """What lays pictures and sounds into the prompts that input `of` reads; inputs that share a backbone share a projector."""
        names = {name for task in recipe.tasks if getattr(recipe.tasks[task], "of", None) == of for name in recipe.shown(task)}
        shown = {
            number: Shown(slug(self.readers[name]), self.pretrained[name].width, recipe.inputs[name].shows, recipe.inputs[name].aspect)
            for number, name in enumerate(self.inputs)
            if name in names
        }
        return Inlays(self.encoder(of), self.pretrained[of], shown)

    @staticmethod
    def _made(modality: Modality, facts: dict[str, Any], skeleton: bool) -> nn.Module:
        return modality.skeleton(facts) if skeleton else modality.encoder(facts)

    @property
    def backbones(self) -> dict[str, Encoder]:
        """The Hugging Face models inside, each once, by the input that it belongs to."""
        return {name: backbone for name, backbone in self.pretrained.items() if self.readers[name] == name}

    @property
    def pretrained(self) -> dict[str, Encoder]:
        """The backbone that reads each input, of those that one reads."""
        found = {name: getattr(self.encoder(name), "backbone", None) for name in self.inputs}
        return {name: backbone for name, backbone in found.items() if isinstance(backbone, Encoder)}

    def encoder(self, name: str) -> nn.Module:
        """What reads an input, maybe with others."""
        return self.encoders[slug(self.readers[name])]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def head(self, task: str) -> Head:
        """The head of `task`."""
        head = self.heads[slug(task)]
        assert isinstance(head, Head)
        return head

    def words(self, name: str) -> MaskedWords | None:
        """What says hidden words of what a backbone reads; None where no task asks for any."""
        heads = (self.head(task) for task in self.tasks)
        return next((head.words for head in heads if isinstance(head, LanguageHead) and self.readers[head.of] == name and head.words), None)

    def forward(self, batch: Batch) -> View:
        """Tokens of every input, missing values masked, and the fused ones."""
        read = self.read(self.inputs, batch)
        streams = {name: read[name].only(batch.inputs[name]["present"]) for name in self.inputs}
        return View(streams | self._beside(batch), self.fusion(streams), batch.inputs)

    def _beside(self, batch: Batch) -> dict[str, Tokens]:
        """Tokens of columns that are read as an input is, where the batch holds them."""
        there = {beside(column): name for column, name in self.beside.items() if beside(column) in batch.inputs}
        read = {key: self.encoder(name)(batch.inputs[key]) for key, name in there.items()}
        return {key: tokens.only(batch.inputs[key]["present"]) for key, tokens in read.items()}

    def tokens(self, name: str, batch: Batch) -> Tokens:
        """Of one input, see `read`."""
        return self.read([name], batch)[name]

    def read(self, names: Sequence[str], batch: Batch) -> dict[str, Tokens]:
        """Tokens of inputs, by name; what one backbone reads of them in one pass where it can. What a frozen part makes of them is kept, and used
        where it is there."""
        made: dict[str, Tokens] = {}
        inputs = {name: several.flat(batch.inputs[name]) for name in names}
        there = {name: tensors for name, tensors in inputs.items() if tensors.keys() != {"present"}}
        made |= {name: self._nothing(name, batch.size) for name in inputs.keys() - there.keys()}
        showing = [name for name in there if SLOTS in there[name]]
        for group in one_pass.alike({name: of for name, of in there.items() if name not in showing}, self.readers, self._pads):
            made |= self._read({name: inputs[name] for name in group}, batch.rows)
        made |= {name: self._read_prompts(name, batch, made) for name in showing}
        return {name: several.rowwise(made[name], batch.inputs[name]) for name in names}

    def _read_prompts(self, name: str, batch: Batch, read: Mapping[str, Tokens]) -> Tokens:
        """The tokens of prompts in which inputs stand, of those that are `read` already their tokens."""
        inlays = self.inlays[slug(name)]
        assert isinstance(inlays, Inlays)
        shown = {number: self.inputs[number] for number in inlays.shown}
        lacks = [of for of in shown.values() if of not in read]
        read = {**read, **self.read(lacks, batch)} if lacks else read
        tokens: Tokens = inlays(batch.inputs[name], {n: read[of].only(batch.inputs[of]["present"]) for n, of in shown.items()})
        return tokens

    def _read(self, flat: Mapping[str, Inputs], rows: np.ndarray[Any, Any]) -> dict[str, Tokens]:
        names, parts = list(flat), list(flat.values())
        known, inputs = self.known.get(names[0]), one_pass.under(parts)
        tokens: Tokens = known.tokens(inputs) if known and "hidden" in inputs else self.encoder(names[0])(inputs)
        places = dict(zip(names, one_pass.places(parts), strict=True))
        made = {names[0]: tokens} if len(names) == 1 else {name: one_pass.part(tokens, places[name], flat[name]) for name in names}
        for name in names if "hidden" not in inputs else ():
            if name in self.known:
                self.known[name].keep(rows, flat[name], made[name], places[name])
        return made

    def _nothing(self, name: str, rows: int) -> Tokens:
        """Of an input that no row has: one token each, masked."""
        x_B1D = torch.zeros(rows, 1, int(self.encoder(name).width), device=self.device)  # type: ignore[arg-type]
        return Tokens(x_B1D, torch.zeros(rows, 1, dtype=torch.bool, device=self.device))

    def _pads(self, name: str) -> bool:
        """Whether what reads an input multiplies the padding of its texts."""
        backbone = self.backbones.get(name)
        return backbone is not None and backbone.pads(self.device)

    def kept(self, question: Question) -> Question:
        """The same question with what is kept of frozen parts by now in the place of encoded values."""
        made = {id(batch): self._kept(batch) for batch, _ in question.asked.values()}
        return replace(question, asked={task: (made[id(batch)], target) for task, (batch, target) in question.asked.items()})

    def _kept(self, batch: Batch) -> Batch:
        inputs = dict(batch.inputs)
        for name, known in self.known.items():
            view = int(inputs[name]["view"][0]) if "view" in inputs[name] else None
            found = None if "hidden" in inputs[name] else known(batch.rows, view)
            if found is not None:
                inputs[name] = {key: tensor.to(self.device) for key, tensor in found.items()}
        return replace(batch, inputs=inputs)

    def losses(self, question: Question, read: Mapping[int, View] | None = None, but: Collection[str] = ()) -> dict[str, Loss]:
        """The loss of every task, with that of inputs alone where the fusion wants it; tasks that ask about one batch share one forward pass.

        Args:
            question: the rows, on the device of the model.
            read: what was read of some of its batches already, see `views`.
            but: tasks that are left out.
        """
        asked = {task: of for task, of in question.asked.items() if task not in but}
        views = self.views(question, asked, read or {})
        return {task: with_own(self.head(task), views[id(batch)], target) for task, (batch, target) in asked.items()}

    def answers(self, question: Question) -> dict[str, tuple[Tensor, Loss]]:
        """What metrics are made of, and the loss, of every task."""
        return self.answered(question, self.views(question))

    def answered(self, question: Question, views: Mapping[int, View]) -> dict[str, tuple[Tensor, Loss]]:
        """The same of those tasks whose batch is in `views`, see there."""
        asked = {task: of for task, of in question.asked.items() if id(of[0]) in views}
        return {task: self.head(task).measure(views[id(batch)], target) for task, (batch, target) in asked.items()}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The prediction of every task that answers rows, first dimension B."""
        return self.predicted(self(batch))

    def predicted(self, view: View, tasks: Collection[str] | None = None) -> dict[str, Tensor]:
        """The same, of rows that were read; of some `tasks`."""
        heads = {task: self.head(task) for task in (self.tasks if tasks is None else tasks)}
        return {task: head.predict(view) for task, head in heads.items() if isinstance(head, RowHead)}

    def views(self, question: Question, tasks: Collection[str] | None = None, read: Mapping[int, View] | None = None) -> dict[int, View]:
        """What was read of every batch that some task, or some of `tasks`, asks about, by the batch's `id`; those in `read` are not read again."""
        batches = {id(batch): batch for task, (batch, _) in question.asked.items() if tasks is None or task in tasks}
        return {key: read[key] if read and key in read else self(batch) for key, batch in batches.items()}

    def without(self, view: View, names: Collection[str]) -> View:
        """What the same rows are without these inputs: what encoders made of the others is fused anew."""
        nowhere = {name: torch.zeros_like(view.streams[name].present) for name in names}
        streams = {name: tokens.only(nowhere[name]) if name in names else tokens for name, tokens in view.streams.items()}
        return View(streams, self.fusion({name: streams[name] for name in self.inputs}), view.inputs)

    def paths(self) -> dict[str, str]:
        """How each backbone read its input, for the report."""
        return {f"{part} of {name}": told for name, backbone in self.backbones.items() for part, told in backbone.path().items()}

    @property
    def recall(self) -> dict[str, Recall]:
        """What backbones remember of the texts that they are reading, by input. It is no weight, and is set as a whole."""
        return {name: backbone.recall for name, backbone in self.backbones.items() if backbone.remembers}

    @recall.setter
    def recall(self, recall: Mapping[str, Recall]) -> None:
        for name, backbone in self.backbones.items():
            backbone.recall = recall.get(name, Recall.empty())

    def recalled(self) -> dict[str, Tensor]:
        """`recall` as tensors by name, to be saved."""
        return {f"{slug(name)}.{part}": t for name, recall in self.recall.items() for part, t in recall.state().items()}

    def remember(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `recalled` gave."""
        of = {
            name: {key.removeprefix(f"{slug(name)}."): t.to(self.device) for key, t in tensors.items() if key.startswith(f"{slug(name)}.")}
            for name in self.backbones
        }
        self.recall = {name: Recall.restored(state) for name, state in of.items()}

    @contextmanager
    def apart(self, remembers: bool = True) -> Iterator[None]:
        """Reads texts anew meanwhile, and then goes on as if it had not; without `remembers`, each piece as if it were the first."""
        before, kept = self.recall, {name: backbone.remembers for name, backbone in self.backbones.items()}
        self.recall = {}
        for backbone in self.backbones.values():
            backbone.remembers &= remembers
        try:
            yield
        finally:
            for name, backbone in self.backbones.items():
                backbone.remembers = kept[name]
            self.recall = before

    def learning(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Sets the learning weights."""
        for name, parameter in self.learning().items():
            parameter.copy_(weights[name])


def tune(model: Model, recipe: Recipe) -> None:
    """Sets which weights of the backbones learn, adding adapters, their dropout, and whether activations are computed twice to save memory.

    Raises:
        Mistake: no task has weights of its own, and those of the backbones stay as they are; or adapters are asked for beside weights that never
            learned.
    """
    if recipe.tuning.adapts and (fresh := auto.from_nothing(recipe)):
        wrong = f"adapters would stand beside weights that never learned: the backbone of {' and '.join(fresh)} starts from nothing"
        raise Mistake("tuning", wrong, "Choose full, or a backbone that was trained before")
    for name, encoder in model.backbones.items():
        layers, attention = (None if isinstance(share, str) else share for share in (recipe.train.dropout, recipe.train.attention_dropout))
        encoder.set_dropout(layers, attention)  # before adapters come, which have a dropout of their own
        (recipe.tuning if not recipe.tuning.of or name in recipe.tuning.of else Probe()).apply(encoder)
        if recipe.train.checkpointing:
            encoder.recompute()
        if recipe.train.compile is True:
            encoder.compile_blocks()
    learns = (p.requires_grad for part in (*model.backbones.values(), model.heads, model.inlays) for p in part.parameters())
    if model.backbones and recipe.tuning.kind != "auto" and not any(learns):  # a ladder begins with a rung that learns
        wrong = f"{recipe.tuning.kind} leaves the backbone as it is, and no weight of {' and '.join(recipe.tasks)} is its own: nothing would learn"
        raise Mistake("tuning", wrong, "Choose full, freeze, bias or lora")

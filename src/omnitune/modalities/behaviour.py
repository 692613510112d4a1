"""behaviour: what somebody took before, one item after the other: films watched, things bought, pages read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import any_of, component
from omnitune.modalities import Facts, Modality
from omnitune.modalities import _described as described
from omnitune.modalities import _history as history
from omnitune.modalities._counted import Counted, scaled
from omnitune.nn import values as cells
from omnitune.settings import Settings, divides_width, settings

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


@settings
class Items(Settings):
    """A table of items, one a row. A saved model holds what it says, and needs the table no more.

    Args:
        source: `from` in YAML: a file, a folder, a hub data set or `sample:NAME`.
        columns: columns that describe an item, each read by a kind of input; a cell may be a list, whose members are read one by one. What
            is pretrained is not tuned.
        id: the column with the ids.
        unknown: `refuse` histories and targets with items that it does not have, or let them do `without` a description.
    """

    source: str = Field(validation_alias=pydantic.AliasChoices("from", "source"))
    columns: dict[str, any_of(Modality)] = Field(min_length=1)  # type: ignore[valid-type]
    id: str = "id"
    unknown: Literal["refuse", "without"] = "refuse"

    @pydantic.field_validator("columns")
    @classmethod
    def _describes(cls, columns: dict[str, Modality]) -> dict[str, Modality]:
        if wrong := next((name for name, modality in columns.items() if modality.kind == "behaviour"), None):
            raise ValueError(f"{wrong!r} cannot be a history: an item is described by what it is")
        if wrong := next((name for name, modality in columns.items() if modality.several), None):
            raise ValueError(f"all members of a list are read anyway: leave out `most` of {wrong!r}")
        return columns


@component
class Behaviour(Modality):
    """The items of a user from old to new, read by a small Transformer (SASRec, Kang and McAuley 2018, https://arxiv.org/abs/1808.09781).

    A cell is a list of ids or of `{item, time, action}`, or a text that writes one: JSON, or ids with | between them; a number
    is the id of a single one. Times are seconds or dates,
    and must not fall; actions are names, such as `view`, `buy` or a rating. An empty list is a missing value. An item that training did not show
    is read by the vector of unknown ones, beside what `items` says of it.

    Args:
        width: of its tokens, and of the vector of an item.
        max_items: that are read of a history, the newest; the share of longer ones is reported.
        min_count: times that training must show an item for it to have a vector of its own.
        layers: blocks.
        heads: of each block; must divide `width`.
        dropout: in the blocks.
        causal: an item sees itself and those before it, so that `rank` asks at every one of them what came next; else all of them (BERT4Rec,
            Sun et al. 2019, https://arxiv.org/abs/1904.06690), and only the last is asked for.
        hide: share of items that training reads as unknown, so that the vector of unknown ones is learned.
        items: a table that describes them; those that no row shows are candidates of `rank` too.
        time: the column with the time of the row, which no item of a history may come after.
    """

    lists: ClassVar[bool] = True
    of_texts: ClassVar[bool] = True
    deep: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1)] = 64
    max_items: Annotated[int, Field(ge=1, le=4096)] = 100
    min_count: Annotated[int, Field(ge=1)] = 1
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    causal: bool = True
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.01
    items: Items | None = None
    time: str | None = None

    _divide = pydantic.field_validator("heads")(divides_width)

    def check(self, value: Any) -> str | None:
        """What is no list of items is refused, as are items without an id, and times that fall or are none."""
        try:
            history.read(value)
        except history.Wrong as wrong:
            return str(wrong)
        return None

    def learn(self, values: Sequence[Any]) -> Facts:
        """As `learn_items`, of histories alone."""
        return self.learn_items(values, ())

    def learn_items(self, values: Sequence[Any], taken: Iterable[Any], table: Mapping[Any, Mapping[str, Any]] | None = None) -> Facts:
        """`items`: all ids, the most frequent first, and their `counts`; the first `own` of them have a vector; `actions`; `gap`: mean and
        deviation of the logarithm of seconds between items, None without times; `longest`: items read of the longest history; `cut`: the share of
        longer ones.

        Args:
            values: histories.
            taken: items that were taken after them; None where there is none.
            table: cells of what describes items, by id and column.
        """
        counted = Counted(self.max_items)
        for value in values:
            counted.add(history.read(value))
        for item in taken:
            if not cells.missing(item):
                counted.count(cells.name(item), cells.scalar(item))
        for item in table or ():
            counted.counts.setdefault(cells.name(item), 0)
            counted.first.setdefault(cells.name(item), item)
        facts = counted.facts(self.min_count)
        return facts | ({} if self.items is None or table is None else {"described": self._described(facts, table)})

    def _described(self, facts: Facts, table: Mapping[Any, Mapping[str, Any]]) -> Facts:
        assert self.items is not None
        by_name = {cells.name(item): of_item for item, of_item in table.items()}
        rows, seen = [by_name.get(cells.name(item), {}) for item in facts["items"]], sum(count > 0 for count in facts["counts"])
        return {name: described.learn(modality, [row.get(name) for row in rows], seen) for name, modality in self.items.columns.items()}

    def ranked(self, facts: Facts) -> Facts:
        """`items` and their `counts`, and whether the encoder is `causal`."""
        return {"items": facts["items"], "counts": facts["counts"], "causal": self.causal}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """Of the newest items of each row, first in it, the oldest first, `items` (B, L) int64: 0 for unknown ones, else 1 + the place in
        `facts["items"]`; `known` (B, L) bool: no padding; `gaps` (B, L, 2) float32: the logarithm of seconds since the item before, in deviations,
        and whether it is told; `actions` (B, L) int64. `seen` (B, S) int64: places of all items of the history, -1 for padding."""
        import numpy as np
        import torch

        rows = [history.read(value) for value in values]
        places = cells.places(facts["items"])
        kinds = {name: place for place, name in enumerate(facts["actions"], 1)}
        seen_BS = np.full((len(rows), max([1, *map(len, rows)])), -1)
        length = max(1, min(facts["longest"], seen_BS.shape[1]))
        items_BL, actions_BL = np.zeros((2, len(rows), length), dtype=np.int64)
        known_BL, gaps_BL2 = np.zeros((len(rows), length), dtype=bool), np.zeros((len(rows), length, 2), dtype=np.float32)
        for i, steps in enumerate(rows):
            of_all, read = [1 + places.get(step.name, -1) for step in steps], steps[-length:]
            seen_BS[i, : len(steps)] = of_all
            items_BL[i, : len(read)], known_BL[i, : len(read)] = of_all[-length:], True
            actions_BL[i, : len(read)] = [kinds.get(step.action or "", 0) for step in read]
            if steps and facts["gap"]:
                gaps_BL2[i, : len(read)] = list(scaled(steps, *facts["gap"]))[-length:]
        made = {"items": items_BL, "known": known_BL, "gaps": gaps_BL2, "actions": actions_BL, "seen": seen_BS, "present": known_BL.any(1)}
        return {name: torch.from_numpy(array) for name, array in made.items()}

    def size(self, value: Any) -> int:
        """Items that are read."""
        count = 1 + value.count("|") + value.count(",") if isinstance(value, str) else len(value) if hasattr(value, "__len__") else 1
        return max(1, min(self.max_items, count))

    def encoder(self, facts: Facts) -> nn.Module:
        """A `BehaviourEncoder`."""
        from omnitune.nn.behaviour import BehaviourEncoder
        from omnitune.nn.items import ItemVectors

        columns = self.items.columns if self.items else {}
        parts = [described.description(columns[name], learned, self.width) for name, learned in facts.get("described", {}).items()]
        items = ItemVectors(len(facts["items"]), facts["own"], self.width, self.hide, parts)
        actions = 1 + len(facts["actions"]) if facts["actions"] else 0
        timed = facts["gap"] is not None
        return BehaviourEncoder(items, facts["longest"], actions, timed, self.layers, self.heads, self.dropout, self.causal)

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Histories of different lengths, with times and actions."""
        made = []
        for i in range(n):
            items, start = [i, *rng.integers(6, size=int(rng.integers(2, 6))).tolist()], int(rng.integers(10**9))
            made.append([{"item": f"item {item}", "time": start + 60 * k**2, "action": "view" if k else "buy"} for k, item in enumerate(items)])
        return made

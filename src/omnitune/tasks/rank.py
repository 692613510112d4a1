"""rank: which item is taken next?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn import values
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Rank(Task):
    """The item out of many that was taken, and a list of the best ones for everybody: recommendation.

    Candidates are all items of the histories of `of` and of the target in the training rows; without `of`, those of the target. Any text or number
    is the id of an item. Where the history's encoder is causal, training asks behind every item that is read what came next (SASRec, Kang and
    McAuley 2018, https://arxiv.org/abs/1808.09781). Figures are of the last item alone; an item that is no candidate weighs nothing and is counted.

    Args:
        target: the column with the item that was taken next.
        of: the input with the history before it.
        seen: whether items of the history may be named again (`keep`), or are left out of lists and figures (`exclude`). A row whose right item is
            left out counts as one that did not find it.
        top: items that a prediction names.
        loss: `softmax` over the candidates; `bpr`, each other one below the right one (Rendle et al. 2009, https://arxiv.org/abs/1205.2618); or
            `pointwise`, each by itself as right or wrong.
        samples: candidates that training compares the right one with, drawn evenly for each batch; all where left out.
        drawn: candidates that figures are of beside the right one, drawn evenly, the same for all models; all where left out. Fewer flatter, and can
            turn the order of models round (Krichene and Rendle 2020, https://doi.org/10.1145/3394486.3403226).
    """

    form: ClassVar[Literal["ranks"]] = "ranks"

    target: str
    of: str | None = None
    seen: Literal["exclude", "keep"] = "exclude"
    top: Annotated[int, Field(ge=1, le=1000)] = 10
    loss: Literal["softmax", "bpr", "pointwise"] = "softmax"
    samples: Annotated[int, Field(ge=1)] | None = None
    drawn: Annotated[int, Field(ge=1)] | None = None

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no item."""
        return values.unnamed(value)

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`items`, the most frequent first, and their `counts`.

        Raises:
            Mistake: no answer at all, or one item only.
        """
        counts: Counter[str] = Counter()
        items: dict[str, values.Scalar] = {}
        for value in columns[self.target]:
            if not values.missing(value):
                counts[values.name(value)] += 1
                items.setdefault(values.name(value), values.scalar(value))
        where = f"target {self.target!r}"
        if not items:
            raise Mistake(where, "no training row has an answer", "Fill the column, or choose another target")
        if len(items) == 1:
            raise Mistake(where, f"all {counts.total():,} training rows are {next(iter(items.values()))!r}", "There is nothing to rank")
        ordered = sorted(items, key=lambda name: (-counts[name], name))
        return {"items": [items[name] for name in ordered], "counts": [counts[name] for name in ordered], "everywhere": False}

    def learn_from(self, facts: Facts, of: Facts) -> Facts:
        """What `learn` gave, with the items of the history as candidates; `everywhere`: whether training asks behind every item.

        Args:
            facts: from `learn`.
            of: what the input says of its items.
        """
        return facts | {"items": of["items"], "counts": of["counts"], "everywhere": of["causal"]}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows of an item that is no candidate."""
        return values.strangers(columns[self.target], values.places(facts["items"]))

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B,) int64, the place of the item among candidates, -1 where there is none; `weight` (B,); in training also `next` (B, L), the place
        of what came behind each item that is read, and `weight` is how many places are asked."""
        import torch

        places = values.places(facts["items"])
        y_B = torch.tensor([values.place(value, places) for value in columns[self.target]], dtype=torch.int64)
        target = {"y": y_B, "weight": (y_B >= 0).float()}
        if self.drawn is not None and rng is None and batch.inputs:
            target["drawn"] = self._drawn(batch, y_B, len(facts["items"]))
        if rng is None or self.of is None or not facts["everywhere"]:
            return batch, target
        items_BL, known_BL = batch.inputs[self.of]["items"], batch.inputs[self.of]["known"]
        behind_BL = torch.where(known_BL, items_BL - 1, -1)  # place 0, the unknown item, is no candidate
        next_BL = torch.nn.functional.pad(behind_BL[:, 1:], (0, 1), value=-1)
        return batch, target | {"next": next_BL, "weight": target["weight"] * (1 + (next_BL >= 0).sum(1))}

    def _drawn(self, batch: Batch, y_B: Tensor, candidates: int) -> Tensor:
        """(B, drawn), -1 where there are fewer; by the row's number alone, so that all models meet the same."""
        import numpy as np
        import torch

        seen = batch.inputs[self.of]["seen"] - 1 if self.of is not None and self.seen == "exclude" else torch.full((len(y_B), 1), -1)
        assert self.drawn is not None
        found = np.full((len(y_B), self.drawn), -1)
        for i, row in enumerate(batch.rows.tolist()):
            out = [*seen[i].tolist(), int(y_B[i])]
            some = np.random.default_rng([row, 1]).choice(candidates, min(candidates, self.drawn + len(set(out))), replace=False)
            some = some[~np.isin(some, out)][: self.drawn]
            found[i, : len(some)] = some
        return torch.from_numpy(found)

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `RankHead`, on the encoder of the history where there is one."""
        from omnitune.nn.rank_head import RankHead

        encoder = None if self.of is None else backbones[self.of]
        return RankHead(width, facts["counts"], self.of, encoder, self.seen == "exclude", self.top, self.loss, self.samples)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the best item; `items`: the best ones, `{item, score}` each, see `RankHead.predict`."""
        items, half = facts["items"], output.shape[1] // 2
        found = []
        for places, scores in zip(output[:, :half].astype(int).tolist(), output[:, half:].tolist(), strict=True):
            best = [{"item": items[place], "score": score} for place, score in zip(places, scores, strict=True) if place >= 0]
            found.append({"value": best[0]["item"] if best else None, "items": best})
        return found

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How far up the right one stands, and how many items are ever named."""
        from omnitune.nn.rank_metrics import rank_metrics

        return rank_metrics(len(facts["items"]))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Five items in turn, shuffled, and a rarer row without an answer."""
        return {self.target: [None if i % 16 == 15 else f"item {i % 5}" for i in rng.permutation(n).tolist()]}

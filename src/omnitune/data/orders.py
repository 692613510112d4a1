"""Orders: which rows stand in which batch of an epoch. Everything follows from seed and epoch, so a run goes on from (epoch, batch) alone."""

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]
Array = np.ndarray[Any, Any]
POOL = 50
"""Batches whose rows are sorted by length together: large enough for little padding, small enough to stay random."""
OPEN = 64
"""Batches that are filled at a time: each row goes to the one it fills best (Ding et al. 2024, https://arxiv.org/abs/2404.10830)."""


class Order(ABC):
    """An order of rows in batches; every epoch has as many."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def epoch(self, number: int) -> list[Rows]:
        """The row numbers of every batch of an epoch."""


class ByLength(Order):
    """Batches of so many rows of like length.

    Args:
        rows: row numbers.
        lengths: of each.
        size: rows a batch.
        seed: of the order; None puts the longest first, in every epoch.
    """

    def __init__(self, rows: Rows, lengths: Array, size: int, seed: int | None) -> None:
        self.rows, self.lengths, self.size, self.seed = rows, lengths, size, seed

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def epoch(self, number: int) -> list[Rows]:
        """See `Order.epoch`."""
        if self.seed is None:
            return self._cut(np.argsort(-self.lengths, kind="stable"))
        rng = np.random.default_rng([self.seed, number])
        shuffled = rng.permutation(len(self.rows))
        pools = [shuffled[i : i + self.size * POOL] for i in range(0, len(shuffled), self.size * POOL)]
        batches = [rows for pool in pools for rows in self._cut(pool[np.argsort(self.lengths[pool], kind="stable")])]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, places: Array) -> list[Rows]:
        return [self.rows[places[i : i + self.size]] for i in range(0, len(places), self.size)]


class Mixed(Order):
    """Batches of several tables, each batch of one. Of each table an epoch takes so many, going on where the epoch before ended; whoever runs out
    begins anew.

    Args:
        orders: of each table.
        mix: see `Train.mix`, in the order of the tables: `size`, `turns`, a temperature, or batches an epoch of each.
        seed: of the order; None takes every batch once, table after table.
    """

    def __init__(self, orders: Sequence[Order], mix: str | float | Sequence[int], seed: int | None) -> None:
        self.orders, self.seed, self.turns = list(orders), seed, mix == "turns"
        self.counts = [len(order) for order in orders] if seed is None else shares([len(order) for order in orders], mix)

    def __len__(self) -> int:
        return sum(self.counts)

    def epoch(self, number: int) -> list[Rows]:
        """See `Order.epoch`."""
        taken = [self._taken(order, count, number) for order, count in zip(self.orders, self.counts, strict=True)]
        if self.seed is None:
            return [rows for batches in taken for rows in batches]
        if self.turns:
            return [rows for turn in zip_longest(*taken) for rows in turn if rows is not None]
        batches = [rows for of_table in taken for rows in of_table]
        return [batches[i] for i in np.random.default_rng([self.seed, number, len(self.orders)]).permutation(len(batches))]

    @staticmethod
    def _taken(order: Order, count: int, number: int) -> list[Rows]:
        """Batches `number * count` and on, epochs of the table's own laid end to end."""
        places, made = range(number * count, (number + 1) * count), dict[int, list[Rows]]()
        for place in places:
            if place // len(order) not in made:
                made[place // len(order)] = order.epoch(place // len(order))
        return [made[place // len(order)][place % len(order)] for place in places]


def shares(sizes: Sequence[int], mix: str | float | Sequence[int]) -> list[int]:
    """Batches an epoch of each table; as many as all have together, but where they are counted. See `Mixed`."""
    if isinstance(mix, Sequence) and not isinstance(mix, str):
        return [count if size else 0 for count, size in zip(mix, sizes, strict=True)]
    power = 1.0 if mix == "size" else 0.0 if mix == "turns" else 1.0 / float(mix)
    weights = np.array([float(size) ** power if size else 0.0 for size in sizes])
    exact = sum(sizes) * weights / max(weights.sum(), 1e-12)
    counts = np.floor(exact + 1e-9).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: sum(sizes) - int(counts.sum())]:  # the largest remainders
        counts[i] += 1
    return [max(1, int(count)) if size else 0 for count, size in zip(counts, sizes, strict=True)]


class Full(Order):
    """Batches that are full of tokens, whatever the lengths of their rows.

    How many rows of which length share a batch is settled once, so that every epoch has as many batches; which of the rows of a length they are,
    and the order of the batches, is drawn anew in every epoch. Within a batch shorter rows stand first, as in `nn.flat`.

    Args:
        rows: row numbers.
        lengths: tokens of each.
        tokens: of a batch at most; no row has more.
        seed: of the draws.
    """

    def __init__(self, rows: Rows, lengths: Array, tokens: int, seed: int) -> None:
        assert lengths.max(initial=0) <= tokens, "a row does not fit into a batch"
        self.rows, self.lengths, self.tokens, self.seed = rows, lengths, tokens, seed

    def __len__(self) -> int:
        return len(self._ends)

    def epoch(self, number: int) -> list[Rows]:
        """See `Order.epoch`."""
        rng = np.random.default_rng([self.seed, number])
        lengths = self.lengths[self._places]
        places = np.empty_like(self._places)
        places[np.argsort(lengths, kind="stable")] = self._places[np.lexsort((rng.random(len(lengths)), lengths))]
        batches = np.split(self.rows[places], self._ends)[: len(self)]
        return [batches[i] for i in rng.permutation(len(batches))]

    @property
    def _places(self) -> Array:
        """Of rows, batch after batch, (n,)."""
        return self._settled[0]

    @property
    def _ends(self) -> Array:
        """Where each batch ends."""
        return self._settled[1]

    @cached_property
    def _settled(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(self.seed)
        filled = _filled(rng.permutation(len(self.rows)), self.lengths, self.tokens)
        by_length = [np.array(places)[np.argsort(self.lengths[places], kind="stable")] for places in filled]
        return np.concatenate([np.zeros(0, np.int64), *by_length]), np.cumsum([len(places) for places in filled])


def _filled(order: Array, lengths: Array, tokens: int) -> list[list[int]]:
    """Batches of up to `tokens`, best fit: a row goes to the open batch that it leaves least room in."""
    least, done = int(lengths.min(initial=tokens)), list[list[int]]()
    rooms: list[tuple[int, int]] = []  # of open batches, the smallest first
    for number, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        place = bisect_left(rooms, (length, -1))
        if place == len(rooms):
            if len(rooms) == OPEN:
                rooms.pop(0)
            room, batch = tokens, len(done)
            done.append([])
        else:
            room, batch = rooms.pop(place)
        done[batch].append(number)
        if room - length >= least:
            insort(rooms, (room - length, batch))
    return done

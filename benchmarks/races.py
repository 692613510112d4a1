"""Races: sides that do the same work in turns, rates by round, and what the machine allows at most."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

GIGABYTE = 1e9
READ = 2**28
"""Numbers that are read to see how fast memory is: a gigabyte, more than any cache."""


@dataclass(frozen=True)
class Done:
    """What a side did once.

    Args:
        amount: of work, in the race's unit.
        seconds: that it took.
        said: answers, to be compared with those of the first side; none where nothing is said.
        note: to be shown beside the side.
    """

    amount: float
    seconds: float
    said: tuple[str, ...] = ()
    note: str = ""


Side = Callable[[], Done]


@dataclass(frozen=True)
class Race:
    """Sides that do the same work.

    Args:
        what: is done, in a few words.
        unit: of work.
        limit: units a second that the machine allows, see each race.
        sides: omnitune first.
    """

    what: str
    unit: str
    limit: float
    sides: Mapping[str, Side]


def run(race: Race, rounds: int) -> str:
    """A Markdown table: the median rate of each side, its share of the limit, and how much faster omnitune was in the same round."""
    done: dict[str, list[Done]] = {name: [] for name in race.sides}
    for _ in range(rounds):
        for name, side in race.sides.items():
            done[name].append(side())
    return table(race, done)


def table(race: Race, done: Mapping[str, list[Done]]) -> str:
    """See `run`."""
    first = next(iter(done.values()))
    lines = [f"{race.what}; limit {race.limit:,.1f} {race.unit}/s\n", f"| | {race.unit}/s | of the limit | omnitune is faster by | same answers | |"]
    lines.append("|---|---|---|---|---|---|")
    for name, some in done.items():
        rate = statistics.median(one.amount / one.seconds for one in some)
        ratios = [own.amount / own.seconds / (one.amount / one.seconds) for own, one in zip(first, some, strict=True)]
        spread = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} - {max(ratios):.2f})"
        lines.append(f"| {name} | {rate:,.1f} | {rate / race.limit:.0%} | {spread} | {_same(first[0], some[0])} | {some[0].note} |")
    return "\n".join(lines)


def _same(own: Done, other: Done) -> str:
    if not own.said:
        return ""
    return f"{statistics.mean(a == b for a, b in zip(own.said, other.said, strict=True)):.0%}"


def timed(work: Callable[[], Done]) -> Done:
    """The same with the seconds that it took."""
    began = time.perf_counter()
    done = work()
    return Done(done.amount, time.perf_counter() - began, done.said, done.note)


def bandwidth() -> float:
    """Bytes a second that are read from memory by all threads, best of five."""
    x = torch.ones(READ)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        x.sum()
        best = min(best, time.perf_counter() - began)
    return 4 * READ / best

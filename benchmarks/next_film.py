"""The film rated next, MovieLens 100k: omnitune beside what is popular, EASE and matrix factorisation.

Shape letters: n rows, C candidates.
"""

from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import factors
import numpy as np
import scipy.sparse as sp
import torch
from found import Found, clock
from inputs import resolved
from ours import answered
from part import Part, Side
from stars import Size, shipped

from omnitune.data.prepared import Prepared
from omnitune.evaluation import ranks
from omnitune.nn.ranking import figures
from omnitune.recipe import Recipe

NAMES = ("ndcg@10", "hit_rate@10", "hit_rate@50", "mrr")
RIVALS = {"simple": "EASE or a Markov chain, by validation", "constant": "what is popular"}
RANKS, PENALTIES, WEIGHTS = (32, 64), (3.0, 10.0, 30.0), (2.0, 10.0)
"""Of matrix factorisation, from which validation chooses."""
ABOUT = """\
943 people and the films that they rated, in order -> the film rated next, out of 1,682 without those rated already. The last film of each
is tested, the one before it is for validation."""
UNFAIR = (
    "omnitune is told of genres, years, times and stars; the others of what was rated alone.",
    "EASE, the Markov chain and matrix factorisation have their settings by validation; omnitune's recipe was chosen between two settings by "
    "test figures (docs/log.md, 2026-11-27).",
)


def part(size: Size, seeds: Sequence[str]) -> Part:
    """The benchmark."""
    sides = {
        "omnitune, recipes/recommend.yaml": Side(partial(ours, size), list(seeds)),
        "matrix factorisation of what was taken (ALS)": Side(partial(factorised, size), list(seeds)),
    }
    sides |= {words: Side(partial(rival, size, name), list(seeds)[:1]) for name, words in RIVALS.items()}
    return Part("What is next", ABOUT.replace("\n", " "), "seeds", sides, UNFAIR)


def recipe(size: Size, seed: int = 0) -> Recipe:
    """The one that is shipped."""
    return shipped(size, "recommend", "sample:movielens-100k-next", seed)


@cache
def prepared_of(size: Size) -> Prepared:
    """The data, the same for every seed."""
    with closing(resolved(recipe(size))) as prepared:
        return prepared


def ours(size: Size, seed: str, place: Path) -> Found:
    """omnitune."""
    with clock() as took:
        _, answers = answered(recipe(size, int(seed)))
    return of_ranks(answers["next"].p[answers["next"].known], took)


@cache
def _rivals(size: Size) -> Any:
    return ranks.rivals(prepared_of(size), "next")


def rival(size: Size, which: str, seed: str, place: Path) -> Found:
    """One of the rivals of a report; they are made together, so none has a time."""
    p, words = _rivals(size)
    return of_ranks(p[which], {}, words[which])


def factorised(size: Size, seed: str, place: Path) -> Found:
    """Matrix factorisation with the settings that do best on validation rows. Factors of films are those of the training rows; those of people are
    solved for from the histories that they are asked with."""
    prepared = prepared_of(size)
    places = {name: i for i, name in enumerate(prepared.schema.tasks["next"]["items"])}
    (seen, then), validation, test = (histories(prepared, prepared.parts[part], places) for part in ("train", "validation", "test"))
    with clock() as took:
        train = seen + _ones(np.arange(len(then)), then, seen.shape)
        made = {settings: factors.taken(train, *settings, seed=int(seed)) for settings in product(RANKS, PENALTIES, WEIGHTS)}
        best = max(made, key=lambda settings: float(measured(made[settings], *validation)[:, 0].mean()))
        found = measured(made[best], *test)
    return of_ranks(found, took, "{} factors, penalty {:g}, weight {:g}".format(*best))


def histories(prepared: Prepared, rows: Any, places: dict[Any, int]) -> tuple[sp.csr_matrix, Any]:
    """What stands in the histories, (n, C) of 1 and 0, and what came next, (n,)."""
    steps = [(i, places[step["item"]]) for i, history in enumerate(prepared.table.take("history", rows)) for step in history]
    of, items = np.array(steps, dtype=np.int64).T
    return _ones(of, items, (len(rows), len(places))), np.array([places[name] for name in prepared.table.take("next", rows)])


def _ones(rows: Any, columns: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    made = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    made.data[:] = 1
    return made


def measured(score: factors.Score, seen: sp.csr_matrix, y: Any) -> Any:
    """See `nn.ranking.figures`; what was seen is no candidate."""
    score_nC = torch.from_numpy(score(seen)).float().masked_fill(torch.from_numpy(seen.toarray() > 0), -torch.inf)
    return figures(score_nC, torch.from_numpy(y)).numpy()


def of_ranks(p: Any, took: dict[str, float], note: str = "") -> Found:
    """Means over the rows."""
    columns = {f"next.{name}": np.asarray(p[:, i], float) for i, name in enumerate(NAMES)}
    return Found({name: float(of.mean()) for name, of in columns.items()}, {name: of.tolist() for name, of in columns.items()}, **took, note=note)

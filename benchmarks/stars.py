"""Stars of MovieLens 100k over the five published folds: omnitune beside means and matrix factorisation."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import factors
import numpy as np
from found import Found, clock
from inputs import resolved
from ours import answered
from part import Part, Side

from omnitune import yaml_files
from omnitune.recipe import Recipe, read

RECIPES = Path(__file__).parents[1] / "recipes"
FOLDS = ("u1", "u2", "u3", "u4", "u5")
RANKS, PENALTIES = (10, 30), (0.07, 0.1, 0.15)
"""Of matrix factorisation, from which validation chooses."""
ABOUT = """\
100,000 ratings in the five published folds (20,000 of u1.test to u5.test are tested; of the others a tenth is for validation): who, which
film (genres, year), age, occupation, and the ratings of that person before this one -> stars. Published for classic matrix
factorisation on these or on random fifths: RMSE .93 to .95, for strong models .89 to .91."""
UNFAIR = (
    "Means and matrix factorisation learn from training and validation rows together once validation has chosen their settings; omnitune "
    "stops by its validation rows, and learns from a tenth fewer.",
    "omnitune is told more: genres and years of films, ages and occupations, and what was rated before. Factorisation knows who rated what.",
    "omnitune ran with one seed; the range is that of the folds.",
)


@dataclass(frozen=True)
class Size:
    """How much of it.

    Args:
        rows: of a table, all where left out; where not, there is one epoch.
    """

    rows: int | None = None


def part(size: Size, folds: Sequence[str] = FOLDS) -> Part:
    """The benchmark."""
    sides = {
        "omnitune, recipes/ratings.yaml": Side(partial(ours, size), folds),
        "matrix factorisation with biases (ALS)": Side(partial(factorised, size), folds),
        "means of people and films, damped": Side(partial(means, size), folds),
    }
    return Part("Stars", ABOUT.replace("\n", " "), "folds", sides, UNFAIR, paired=False)


def shipped(size: Size, name: str, source: str, seed: int = 0) -> Recipe:
    """A recipe that is shipped, on a table with the same columns or a little of it."""
    values = yaml_files.read(RECIPES / f"{name}.yaml")
    values["data"]["from"] = source + (f"#{size.rows}" if size.rows else "")
    values["train"] |= {"seed": seed} | ({"epochs": 1} if size.rows else {})
    return read({key: value for key, value in values.items() if key != "expect"})


def recipe(size: Size, fold: str) -> Recipe:
    """Of a fold."""
    return shipped(size, "ratings", f"sample:movielens-100k-{fold}")


def ours(size: Size, fold: str, place: Path) -> Found:
    """omnitune."""
    with clock() as took:
        _, answers = answered(recipe(size, fold))
    return of_stars(answers["rating"].y, answers["rating"].p, took)


def means(size: Size, fold: str, place: Path) -> Found:
    """Damped means."""
    parts = numbers(size, fold)
    with clock() as took:
        user, item, y = parts["test"]
        said = factors.means(*_known(parts), *_most(parts))(user, item)
    return of_stars(y, said, took)


def factorised(size: Size, fold: str, place: Path) -> Found:
    """Matrix factorisation with the settings that do best on validation rows."""
    parts = numbers(size, fold)

    def error(settings: tuple[int, float]) -> float:
        user, item, y = parts["validation"]
        said = factors.ratings(*parts["train"], *_most(parts), *settings)(user, item)
        return float(np.square(said - y).mean())

    with clock() as took:
        rank, penalty = min(((rank, penalty) for rank in RANKS for penalty in PENALTIES), key=error)
        user, item, y = parts["test"]
        said = factors.ratings(*_known(parts), *_most(parts), rank, penalty)(user, item)
    return of_stars(y, said, took, f"{fold}: {rank} factors, penalty {penalty:g}")


@cache
def numbers(size: Size, fold: str) -> dict[str, tuple[Any, ...]]:
    """Person, film (both from 0) and stars of every rating, by part."""
    with closing(resolved(recipe(size, fold))) as prepared:
        taken = {part: [prepared.table.take(name, rows) for name in ("user", "film", "rating")] for part, rows in prepared.parts.items()}
    return {part: tuple(np.array(of, dtype=np.int64) - first for of, first in zip(three, (1, 1, 0), strict=True)) for part, three in taken.items()}


def _known(parts: dict[str, tuple[Any, ...]]) -> list[Any]:
    return [np.concatenate(pair) for pair in zip(parts["train"], parts["validation"], strict=True)]


def _most(parts: dict[str, tuple[Any, ...]]) -> list[int]:
    """One more than the greatest number of a person, and of a film."""
    return [1 + max(int(of[i].max()) for of in parts.values()) for i in range(2)]


def of_stars(y: Any, said: Any, took: dict[str, float], note: str = "") -> Found:
    """Root of the mean squared error, and mean absolute error."""
    wrong = np.asarray(said, float) - np.asarray(y, float)
    figures = {"rating.rmse": float(np.sqrt(np.square(wrong).mean())), "rating.mae": float(np.abs(wrong).mean())}
    return Found(figures, {}, **took, note=note)

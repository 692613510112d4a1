"""MovieLens 100k as tables: films, what each user rated next, and every rating with the ones before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnitune.samples.tables import widedeep, write

PLAIN = ("movie_id", "movie_title", "release_date", "video_release_date", "IMDb_URL", "unknown")
FOLDS, BEFORE = 5, 50
"""Folds of the ratings, of which one is for testing, and ratings that a row is told of those before it."""
Rows = list[dict[str, Any]]


def films(wheel: Path, folder: Path) -> None:
    """A row a film: title, year and genres."""
    import pyarrow as pa

    write(pa.Table.from_pylist(list(_films(wheel).values())), folder)


def following(wheel: Path, folder: Path) -> None:
    """A row a user: `history`, and the film rated `next`. Test: the last film; validation: the one before it; training: the one before that."""
    import pyarrow as pa

    parts: dict[str, Rows] = {"test": [], "validation": [], "train": []}
    for rated in _by_user(_rows(wheel, "data")).values():
        for back, part in enumerate(parts, 1):
            history = [{"item": str(r["movie_id"]), "time": r["timestamp"], "action": str(r["rating"])} for r in rated[:-back]]
            then = rated[-back]
            parts[part].append({"user": str(then["user_id"]), "history": history, "next": str(then["movie_id"]), "time": then["timestamp"]})
    people = {str(r["user_id"]): _person(r) for r in _rows(wheel, "users")}
    for part, rows in parts.items():
        write(pa.Table.from_pylist([row | people[row["user"]] for row in rows]), folder, name=part)


def ratings(wheel: Path, folder: Path) -> None:
    """A row a rating: who, which film, and the last `BEFORE` ratings of that user before it, none of test rows. Test: a fifth, drawn at random."""
    import numpy as np

    found = _rows(wheel, "data")
    folds = np.random.RandomState(0).permutation(len(found)) % FOLDS
    _parted(wheel, folder, found, (folds == 0).tolist())


def published(wheel: Path, folder: Path, fold: int) -> None:
    """As `ratings`, parted as the authors did. Test: the ratings of their u1.test to u5.test, which are the fifths of the file in its order, as the
    script `mku.sh` beside it cuts them."""
    found = _rows(wheel, "data")
    size = len(found) // FOLDS
    _parted(wheel, folder, found, [i // size == fold - 1 for i in range(len(found))])


def _parted(wheel: Path, folder: Path, found: Rows, tested: list[bool]) -> None:
    import pyarrow as pa

    people, known = {r["user_id"]: _person(r) for r in _rows(wheel, "users")}, _films(wheel)
    parts: dict[str, Rows] = {"train": [], "test": []}
    for rated in _by_user([row | {"tested": test} for row, test in zip(found, tested, strict=True)]).values():
        before: Rows = []
        for row in rated:
            film = known[str(row["movie_id"])]
            told = {"user": str(row["user_id"]), **people[row["user_id"]], **film, "history": before[-BEFORE:], "rating": row["rating"]}
            parts["test" if row["tested"] else "train"].append(told | {"time": row["timestamp"]})
            step = {"item": film["film"], "time": row["timestamp"], "action": str(row["rating"])}
            before = before if row["tested"] else [*before, step]
    for part, rows in parts.items():
        write(pa.Table.from_pylist(rows), folder, name=part)


def _rows(wheel: Path, name: str) -> Rows:
    rows: Rows = widedeep(wheel, f"MovieLens100k_{name}").to_pylist()
    return rows


def _films(wheel: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for row in _rows(wheel, "items"):
        genres = [name for name, flag in row.items() if name not in PLAIN and flag == 1]
        year = int(row["release_date"][-4:]) if row["release_date"] else None
        found[str(row["movie_id"])] = {"film": str(row["movie_id"]), "title": row["movie_title"], "year": year, "genres": genres}
    return found


def _by_user(rows: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    """Ratings of each user from old to new, those of one second in the order of the original."""
    found = defaultdict(list)
    for row in rows:
        found[row["user_id"]].append(row)
    return {user: sorted(rated, key=lambda row: row["timestamp"]) for user, rated in sorted(found.items())}


def _person(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"age": row["age"], "gender": row["gender"], "occupation": row["occupation"]}

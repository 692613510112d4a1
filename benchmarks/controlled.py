"""Whether what a prompt asks for is heard: titles for the same test rows, once as of 1 star and once as of 5, read by a model of real titles.

python benchmarks/controlled.py runs/titles 40     (a run of recipes/titles.yaml, and how many rows)
"""

import sys
from typing import Any

import numpy as np

from omnitune import Sampling, load
from omnitune.data.prepared import prepare
from omnitune.data.table import read
from omnitune.evaluation.baselines import simple
from omnitune.evaluation.measure import figure

RESAMPLES = 1000


def columns(table: Any, rows: Any, *names: str) -> list[list[Any]]:
    """Values of these rows by column; rows without one of them are left out."""
    values = zip(*(table.take(name, rows) for name in names), strict=True)
    return [list(column) for column in zip(*(row for row in values if None not in row), strict=True)]


if __name__ == "__main__":
    artifact, n = load(sys.argv[1]), int(sys.argv[2])
    prepared = prepare(artifact.recipe)
    names = sorted(artifact.recipe.columns - {"rating"})
    asked = [dict(zip(names, values, strict=True)) for values in zip(*columns(prepared.table, prepared.parts["test"], *names), strict=True)][:n]
    whole, test = read("sample:women-reviews"), set(prepared.table.take("title", prepared.parts["test"]))
    titles, ratings = columns(whole, np.arange(len(whole)), "title", "rating")
    known = [(title, rating) for title, rating in zip(titles, ratings, strict=True) if title not in test]
    drawn = Sampling(temperature=1.0, seed=0)
    said = {stars: artifact.predict([row | {"rating": stars} for row in asked], sampling=drawn) for stars in (1, 5)}
    written = {stars: [answer["title"]["value"] for answer in answers] for stars, answers in said.items()}
    real = known[-2000:]
    every = [title for title, _ in real] + written[1] + written[5]
    y = np.array([rating for _, rating in known[:-2000]], float)
    train, rest = {"title": [title for title, _ in known[:-2000]]}, {"title": every}
    told = simple("value", train, {"title": []}, rest, {"title": "text"}, y, np.zeros(0))
    assert told
    heard = told[0]
    stars = np.array([rating for _, rating in real], float)
    share = 1 - np.square(heard[:2000] - stars).mean() / stars.var()
    print(f"the model of titles: {told[1]}; of 2,000 titles of others it explains r2 {share:.2f}")
    low, high = heard[2000 : 2000 + n], heard[2000 + n :]
    draws = np.random.default_rng(0).integers(len(asked), size=(RESAMPLES, len(asked)))
    found = figure(float((high - low).mean()), (high - low)[draws].mean(1))
    gap = f"+{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
    print(f"titles for 1 star are read as {low.mean():.2f} stars, for 5 as {high.mean():.2f}: {gap}")
    print(f"other words for the other rating: {np.mean([a != b for a, b in zip(written[1], written[5], strict=True)]):.0%} of {len(asked)} rows")
    for row, one, five in list(zip(asked, written[1], written[5], strict=True))[:5]:
        print(f"- {list(row.values())}\n  1 star: {one!r}   5 stars: {five!r}")

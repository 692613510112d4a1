"""What a search says to people: its trials as a table, the best first, and how far they can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitune.evaluation.measure import Figure

if TYPE_CHECKING:
    from omnitune.commands.search import Search, Trial


def text(search: Search) -> str:
    """The whole of it."""
    return "\n".join([_head(search), "", *_table(search), "", _end(search)])


def line(trial: Trial, stop_on: str) -> str:
    """One trial as it is done."""
    return f"trial {trial.number}  {trial.failed or f'{stop_on} {_figure(trial.value)}'}  {trial.seconds:.1f} s"


def _head(search: Search) -> str:
    how = f"one by one, since {search.alone}" if search.alone else "together"
    better = "more" if search.higher else "less"
    return f"{len(search.trials)} trials, learned {how}; {search.recipe.train.stop_on} of {search.rows:,} validation rows, {better} is better"


def _table(search: Search) -> list[str]:
    names = list(dict.fromkeys(name for trial in search.trials for name in trial.setting))
    rows = [["trial", *names, search.recipe.train.stop_on, "better than own by", "seconds"]]
    for trial in search.ranked:
        settings = [f"{trial.setting[name]:.3g}" if name in trial.setting else "own" for name in names]
        rows.append([str(trial.number), *settings, trial.failed or _figure(trial.value), _figure(trial.gain), f"{trial.seconds:.2f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _figure(figure: Figure) -> str:
    if figure["value"] is None:
        return "-"
    value, low, high = (None if one is None else one + 0.0 for one in (figure["value"], figure["low"], figure["high"]))  # -0.0 becomes 0.0
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _end(search: Search) -> str:
    first = search.ranked[0]
    return (
        f"best: trial {first.number}{' (the own setting of the recipe)' if not first.number else ''}. The best of several looks better on these "
        "rows than it is; test rows were not looked at, and `omnitune fit` of the best recipe measures it on them."
    )

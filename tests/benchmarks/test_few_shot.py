"""The few-shot benchmark on a few texts: which rows are drawn, and that both sides are measured on the same test rows. Never a figure."""

import sys
from pathlib import Path

import few_shot
import numpy as np
import ours
import pytest

ROWS = [{"text": f"{name} number {i}", "department": name} for name in ("dresses", "tops", "trends") for i in range(30)]


def test_so_many_rows_of_each_class_are_drawn_and_others_for_other_seeds() -> None:
    first, again, other = (few_shot.drawn(ROWS, 4, seed) for seed in (0, 0, 1))
    assert [row["department"] for row in first] == ["dresses"] * 4 + ["tops"] * 4 + ["trends"] * 4
    assert first == again != other and len({row["text"] for row in first}) == 12


def test_the_linear_layer_is_told_right_from_wrong() -> None:
    rng = np.random.default_rng(0)
    places = {name: rng.normal(0, 1, 8) for name in ("dresses", "tops", "trends")}
    x = np.array([places[row["department"]] for row in ROWS]) + rng.normal(0, 0.1, (len(ROWS), 8))
    train, test = few_shot.drawn(ROWS, 8, 0), ROWS[::2]
    where = {row["text"]: i for i, row in enumerate(ROWS)}
    x_train, x_test = (x[[where[row["text"]] for row in rows]] for rows in (train, test))
    assert few_shot.accuracy(x_train, train, x_test, test) == 1.0
    shifted = [row | {"department": ROWS[(i + 30) % 90]["department"]} for i, row in zip(range(0, 90, 2), test, strict=True)]
    assert few_shot.accuracy(x_train, train, x_test, shifted) == 0.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning", "ignore:The least populated class:UserWarning")
def test_the_command_measures_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", "")
    ours.own_cache(tmp_path)
    monkeypatch.setattr(sys, "argv", ["few_shot.py", "--labels", "4", "--seeds", "0", "--epochs", "1", "--test", "20"])
    few_shot.main()
    one, whole = capsys.readouterr().out.splitlines()[-2:]
    assert one.startswith("4 labels a class, seed 0: as it is ") and whole.startswith("4 labels a class, 20 test rows: as it is ")
    before, after = (float(part.split()[-1]) for part in one.split(": ")[1].split(", "))
    assert float(whole.split()[-1]) == pytest.approx(after - before, abs=1.1e-3)

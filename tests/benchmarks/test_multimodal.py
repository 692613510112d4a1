"""The multimodal benchmark on a few rows: factorisation factorises, peers get omnitune's rows, what is there is not run twice. Never a time."""

import json
import re
from pathlib import Path
from typing import Any

import factors
import multimodal
import multimodal_page
import next_film
import numpy as np
import ours
import pytest
import reviews
import scipy.sparse as sp
import stars
import torch
from found import Found, differences, of_answers, summary
from part import Part, Side
from table_work import TableWork, Y, few

ROOT = Path(__file__).parents[2]
SMALL = reviews.Size(80, 1, 1, 1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("OMNITUNE_CACHE", "")
    ours.own_cache(tmp_path)
    for made in (reviews._before, reviews._rivals, stars.numbers, next_film.prepared_of, next_film._rivals):
        made.cache_clear()
    return tmp_path


def test_make_knows_the_commands() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^bench-multimodal: install\n\t.*benchmarks/multimodal\.py", made, re.MULTILINE)
    assert re.search(r"^bench-widedeep:", made, re.MULTILINE)


# Matrix factorisation


def test_factors_of_ratings_find_what_they_were_made_of() -> None:
    """Stars that are a mean, biases and a product of two factors: known but for a tenth of them, to which means alone come nowhere near."""
    rng = np.random.default_rng(0)
    people, films = rng.normal(0, 1, (60, 3)), rng.normal(0, 1, (40, 3))
    y = 3 + 0.3 * people[:, None, 0] + 0.3 * films[None, :, 0] + people[:, 1:] @ films[:, 1:].T
    user, item = (of.ravel() for of in np.meshgrid(np.arange(60), np.arange(40), indexing="ij"))
    test = rng.random(len(user)) < 0.1
    known = user[~test], item[~test], y.ravel()[~test]
    wrong = {
        name: np.sqrt(np.square(said(user[test], item[test]) - y.ravel()[test]).mean())
        for name, said in {"factors": factors.ratings(*known, 60, 40, 2, 1e-3), "means": factors.means(*known, 60, 40)}.items()
    }
    assert wrong["factors"] < 0.15 < 0.9 < wrong["means"]


def test_a_person_and_a_film_without_ratings_get_the_mean() -> None:
    rng = np.random.default_rng(0)
    user, item, y = rng.integers(9, size=200), rng.integers(9, size=200), rng.normal(3, 1, 200)
    for said in (factors.ratings(user, item, y, 10, 10, 3, 0.1), factors.means(user, item, y, 10, 10)):
        assert said(np.array([9]), np.array([9])) == pytest.approx(y.mean())


def test_factors_of_what_was_taken_find_the_other_films_of_a_taste() -> None:
    """Two tastes of ten films each; somebody new who took two films of one."""
    rng = np.random.default_rng(0)
    taken = np.zeros((40, 20))
    for i in range(40):
        taken[i, 10 * (i % 2) + rng.permutation(10)[:6]] = 1
    score = factors.taken(sp.csr_matrix(taken), 2, 1.0, 10.0)
    new = np.zeros((1, 20))
    new[0, [12, 15]] = 1
    found = score(sp.csr_matrix(new))[0]
    assert found[10:].min() > found[:10].max()


# Figures


def test_a_row_counts_with_its_mean_over_seeds() -> None:
    y = np.array([1, 1, 0, 0])
    sides = [
        {"0": of_answers("a", "classes", y, np.array(p), {"seconds": 2.0, "cpu": 1.0}), "1": of_answers("a", "classes", y, np.array(q), {})}
        for p, q in (([0.9, 0.4, 0.1, 0.2], [0.9, 0.8, 0.1, 0.2]), ([0.9, 0.4, 0.6, 0.2], [0.9, 0.4, 0.6, 0.7]))
    ]
    first, other = map(summary, sides)
    assert first["figures"]["a.accuracy"] == {"mean": 0.875, "min": 0.75, "max": 1.0} and first["figures"]["a.auroc"]["min"] == 1.0
    assert (first["cases"], first["seconds"], first["cpu"], other["figures"]["a.accuracy"]["max"]) == (["0", "1"], 1.0, 0.5, 0.5)
    rows = np.array([0, 0.5, 1, 0.5])
    half = 1.959964 * rows.std(ddof=1) / 2
    assert differences(*sides)["a.accuracy"] == pytest.approx({"value": 0.5, "low": 0.5 - half, "high": 0.5 + half})
    assert of_answers("b", "value", np.array([1.0, 2.0]), np.array([2.0, 2.5]), {}).figures == {"b.mae": 0.75}


def test_people_films_and_stars_are_those_of_the_table(place: Path) -> None:
    size = stars.Size(300)
    parts = stars.numbers(size, "u1")
    prepared = ours.prepare(stars.recipe(size, "u1"))
    for part, rows in prepared.parts.items():
        told = [[int(value) for value in prepared.table.take(name, rows)] for name in ("user", "film", "rating")]
        assert [(of + more).tolist() for of, more in zip(parts[part], (1, 1, 0), strict=True)] == told and told[2]
    assert set(stars.means(size, "u1", place).figures) == set(stars.factorised(size, "u1", place).figures) == {"rating.rmse", "rating.mae"}


# Sides


def test_a_peer_gets_the_rows_and_answers_that_omnitune_has(place: Path) -> None:
    prepared, _ = reviews._before(SMALL)
    for task in reviews.TASKS:
        work = reviews.work(prepared, task, 1, 0)
        assert TableWork.read(work.write(place / "work.json")) == work
        for part, rows in prepared.parts.items():
            columns = getattr(work, part)
            assert columns == {name: prepared.table.take(name, rows) for name in reviews.INPUTS} | {Y: prepared.table.take(task, rows)}
    assert work.of("number") == ["age"]
    assert few(work.train, "classes", 4)[Y][:2] == [0, 1] and few(work.train, "value", 4) == {name: of[:4] for name, of in work.train.items()}


def test_every_run_of_omnitune_tests_the_same_rows(place: Path) -> None:
    wanted = [reviews.recipe(SMALL, 0), reviews.recipe(SMALL, 1, ["age"]), reviews.recipe(SMALL, 0, tasks=["rating"])]
    rows = [ours.prepare(one).parts["test"].tolist() for one in wanted]
    assert rows[0] == rows[1] == rows[2] and len(rows[0]) > 30


@pytest.mark.slow
def test_the_sides_of_reviews_answer(place: Path) -> None:
    part = reviews.part(SMALL, ["0"])
    names = {"recommended.accuracy", "recommended.auroc", "rating.mae"}
    for words, side in part.sides.items():
        if side.run.func is not reviews.peer:  # those need environments of their own, and minutes
            found = side.run("0", place)
            assert set(found.figures) == names and all(0 <= found.figures[name] <= 5 for name in names), words
            assert len(found.rows["rating.mae"]) == len(found.rows["recommended.accuracy"]) > 30


@pytest.mark.slow
def test_what_was_rated_next_is_measured_as_omnitune_measures_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is popular, scored by the benchmark's own way from tables to figures, has the figures of omnitune's rival."""
    size = stars.Size(600)
    prepared = next_film.prepared_of(size)
    counts = np.array(prepared.schema.tasks["next"]["counts"], float)
    monkeypatch.setattr(next_film, "RANKS", (2,))
    monkeypatch.setattr(factors, "taken", lambda *given, **more: lambda seen: np.tile(counts, (seen.shape[0], 1)))
    own, popular = next_film.factorised(size, "0", place), next_film.rival(size, "constant", "0", place)
    assert own.figures == pytest.approx(popular.figures) and own.figures["next.hit_rate@50"] > 0


# The command


def part_of(asked: list[str], fails: bool = False) -> Part:
    def answers(case: str, place: Path) -> Found:
        asked.append(case)
        if fails:
            raise ValueError("no luck")
        return Found({"a.mae": float(case)}, {"a.mae": [float(case), 1.0]}, 3.0, 2.0, "version 1")

    sides = {"ours": Side(answers, ["0", "1"]), "theirs": Side(answers, ["0"]), "absent": Side(answers, ["0"], lambda: "it is not installed")}
    return Part("Title", "About.", "seeds", sides, ["to somebody"])


def test_what_is_there_is_not_run_again_and_what_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    part: Any = part_of(asked)
    monkeypatch.setattr(multimodal, "parts", lambda given: {"reviews": part})
    given = multimodal.arguments(["--runs", str(tmp_path), "--out", str(tmp_path / "found.json")])
    assert not list(multimodal.run("reviews", part, given, tmp_path)) and asked == ["0", "0", "1"]
    assert not list(multimodal.run("reviews", part, given, tmp_path)) and asked == ["0", "0", "1"]
    whole = json.loads((tmp_path / "found.json").read_text())
    assert whole["parts"]["reviews"]["sides"]["ours"]["figures"]["a.mae"] == {"mean": 0.5, "min": 0.0, "max": 1.0}
    page = (tmp_path / "found.md").read_text()
    assert "| ours | 0.500 (0.000 to 1.000) | 0, 1 | 3 (2) |" in page and "| theirs | **0.000** | 0 | 3 (2) |" in page
    assert "| theirs | +0.250 [-0.240, +0.740] |" in page and "Not run: absent: it is not installed." in page and "- to somebody" in page
    fails: Any = part_of(asked, fails=True)
    given.runs = tmp_path / "other"
    said = list(multimodal.run("reviews", fails, given, tmp_path))
    assert said[0] == "reviews: ours, 0: ValueError: no luck" and len(said) == 3 and not given.runs.exists()


def test_a_page_of_folds_compares_the_same_folds_alone() -> None:
    both, one = ({name: Found({"rating.rmse": 0.9 + 0.1 * i}) for i, name in enumerate(names)} for names in (["u1", "u2"], ["u1"]))
    part = {"title": "Stars", "about": "", "cases": "folds", "paired": False, "lacking": {}, "unfair": []}
    lines = multimodal_page.section(part | {"sides": {"a": summary(both), "b": summary(one)}})
    assert (
        "| a | 0.950 (0.900 to 1.000) | u1, u2 |  |" in lines and "| b | 0.900 | u1 |  |" in lines and not any("How much" in line for line in lines)
    )
    lines = multimodal_page.section(part | {"sides": {"a": summary(both), "b": summary(both)}})
    assert "| a | **0.950** (0.900 to 1.000) | u1, u2 |  |" in lines


def test_threads_of_a_peer_are_those_of_torch(place: Path) -> None:
    prepared, _ = reviews._before(SMALL)
    assert reviews.work(prepared, "rating", 1, 0).threads == torch.get_num_threads()

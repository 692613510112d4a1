"""Exact search, against plain numpy; approximate search, against exact search."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from omnitune import Mistake, approximation, vector_index, vector_search
from omnitune.approximation import LOOKED, WANTED, chosen, kept
from omnitune.embedding import Embedded
from omnitune.vector_graph import Graph
from omnitune.vector_index import About, VectorIndex

ABOUT = About("run", "0", "match", "text", "t.parquet", "1")


def vectors(n: int, seed: int = 0, width: int = 8) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def index(folder: Path, whole: np.ndarray, problems: dict[int, str], at_once: int = 7, approximate: bool = False) -> VectorIndex:
    parts = (slice(i, i + at_once) for i in range(0, len(whole), at_once))
    told = [problems.get(i) for i in range(len(whole))]
    return VectorIndex.write(folder / "index", ABOUT, (Embedded(whole[part], told[part]) for part in parts), approximate)


@pytest.mark.parametrize("block", [1, 10, 64, 1000])
def test_all_rows_are_looked_at_in_blocks_of_any_size(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "BLOCK", block)
    monkeypatch.setattr(vector_index, "QUERIES", 3)
    whole, queries = vectors(100), vectors(11, 1)
    made = index(tmp_path, whole, {4: "missing", 99: "missing"})
    assert len(list(made.path.glob("vectors-*"))) == -(-100 // block)
    cosines = np.round(queries @ whole.T, vector_search.DIGITS)
    cosines[:, [4, 99]] = -np.inf
    wanted = np.argsort(-cosines, axis=1, kind="stable")[:, :9]
    scores, rows = made.search(queries, 9)
    assert np.array_equal(rows, wanted)
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, wanted, 1), atol=2e-5)
    assert np.array_equal(made.search(queries, 8, wanted[:, 0])[1], wanted[:, 1:])
    assert made.search(queries[:0], 3)[1].shape == (0, 3)


def test_more_than_there_are(tmp_path: Path) -> None:
    made = index(tmp_path, vectors(3), {1: "missing"})
    scores, rows = made.search(vectors(2, 1), 5)
    assert sorted(rows[0].tolist()) == [-1, 0, 2] and np.isneginf(scores[0, 2])


def test_what_is_as_near_comes_in_the_order_of_the_table(tmp_path: Path) -> None:
    made = index(tmp_path, np.repeat(vectors(1), 200, 0), {2: "missing"})
    assert made.search(vectors(1, 1), 5)[1].tolist() == [[0, 1, 3, 4, 5]]


def test_it_is_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails():  # type: ignore[no-untyped-def]
        yield Embedded(vectors(3), [None] * 3)
        raise RuntimeError("off")

    with pytest.raises(RuntimeError):
        VectorIndex.write(tmp_path / "index", ABOUT, fails())
    with pytest.raises(Mistake, match="no index here"):
        VectorIndex.read(tmp_path / "index")
    made = index(tmp_path, vectors(5), {2: "missing"})
    assert made.about.rows == 5 and made.about.width == 8 and VectorIndex.read(made.path) == made
    (made.path / "vectors-00000.safetensors").write_bytes(b"other")
    with pytest.raises(Mistake, match="damaged or was changed"):
        VectorIndex.read(made.path)


# Approximate search


def test_a_graph_finds_nearly_all_that_exact_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "BLOCK", 900)
    monkeypatch.setattr(vector_index, "QUERIES", 40)
    whole, queries = vectors(3000), vectors(100, 1)
    made = index(tmp_path, whole, {4: "missing", 2999: "missing"}, 500, approximate=True)
    scores, rows = made.search(queries, 10)
    exact_scores, exact_rows = made.search(queries, 10, exact=True)
    assert kept(exact_scores, scores).mean() > 0.95
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact_rows, strict=True)]) > 0.95
    cosines = np.take_along_axis(queries @ whole.T, rows, 1)
    np.testing.assert_allclose(scores, cosines, atol=2e-5)  # the rows are those of the table, not of the graph
    assert not np.isin(rows, [4, 2999]).any() and (np.diff(scores) <= 0).all()
    own = np.arange(100)
    assert not (made.search(whole[:100], 5, own)[1] == own[:, None]).any()
    assert made.search(queries[:0], 3)[1].shape == (0, 3)


def test_what_is_lost_is_measured_by_rows_that_are_no_part_of_the_graph_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so few vectors in view .6 of the nearest are found; of a vector that has links of its own .996."""
    monkeypatch.setattr(approximation, "LOOKED", (10,))
    made = index(tmp_path, vectors(2001, width=64), {7: "missing"}, 500, approximate=True)
    noted = json.loads((made.path / "index.json").read_text(encoding="utf-8"))["approximation"]
    how = made.about.approximation
    assert how is not None and noted["recall"] == how.recall and noted["library"].startswith("voyager ")
    assert (how.queries, how.nearest, how.looked) == (250, 10, 10) and VectorIndex.read(made.path) == made
    others = vectors(500, 1, 64)
    share = kept(made.search(others, 10, exact=True)[0], made.search(others, 10)[0])
    assert how.recall == pytest.approx(share.mean(), abs=0.08) and how.recall < 0.8
    own = np.delete(np.arange(2001), 7)
    assert np.array_equal(made.search(vectors(2001, width=64)[own], 1)[1][:, 0], own), "those that were asked are a part of it after that"


def test_an_index_that_is_searched_exactly_says_so(tmp_path: Path) -> None:
    made = index(tmp_path, vectors(50), {})
    assert made.about.approximation is None and not (made.path / "graph.voyager").exists()


def test_the_least_that_finds_enough_is_chosen_and_measured_on_others() -> None:
    exact_qk = np.tile(np.linspace(1, 0.1, 10), (8, 1))

    def search(looked: int) -> np.ndarray:
        """With 64 in view every second query finds all, the others find nine of ten; with 32 none finds anything."""
        found_qk = exact_qk.copy() if looked >= 64 else np.full((8, 10), -np.inf)
        found_qk[1::2, -1] = -np.inf
        return found_qk

    assert chosen(search, exact_qk) == (64, pytest.approx(0.9), 4)
    assert chosen(lambda looked: exact_qk - 1, exact_qk)[:2] == (LOOKED[-1], 0.0)
    assert 0.9 < WANTED < 1


def test_a_row_that_is_as_near_is_as_good() -> None:
    exact_qk = np.array([[0.9, 0.5, 0.5], [0.9, 0.8, -np.inf], [-np.inf] * 3])
    found_qk = np.array([[0.9, 0.5, 0.49999], [0.8, -np.inf, -np.inf], [-np.inf] * 3])
    np.testing.assert_array_equal(kept(exact_qk, found_qk), [1.0, 0.5, np.nan])


def test_equal_vectors_are_all_found_and_hide_no_other(tmp_path: Path) -> None:
    """In a graph they would have links with each other alone: of the ten nearest of others half would be missed."""
    whole = np.concatenate([np.repeat(vectors(1), 400, 0), vectors(600, 1), vectors(3, 1)])
    made = index(tmp_path, whole, {1: "missing"}, 1000, approximate=True)
    how = made.about.approximation
    assert how is not None and how.recall > 0.95 and how.looked < 1024
    own = np.array([0, 400, 1001])
    scores, rows = made.search(whole[own], 50, own)
    exact_scores, exact_rows = made.search(whole[own], 50, own, exact=True)
    assert rows[0].tolist() == exact_rows[0].tolist() == list(range(2, 52)), "in the order of the table, without itself and what is missing"
    assert rows[1, 0] == 1000 and rows[2, 0] == 401
    np.testing.assert_allclose(scores[:, :10], exact_scores[:, :10], atol=2e-5)
    others = vectors(50, 7)
    assert kept(made.search(others, 10, exact=True)[0], made.search(others, 10)[0]).mean() > 0.95


def test_too_few_rows_for_a_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="9 different vectors are too few for it"):
        index(tmp_path, vectors(9), {}, approximate=True)


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    made = index(tmp_path, vectors(100), {}, approximate=True)
    whole = (made.path / "graph.voyager").read_bytes()
    (made.path / "graph.voyager").write_bytes(whole[:-9])
    with pytest.raises(Mistake, match=r"graph\.voyager: is damaged or was changed"):
        VectorIndex.read(made.path)


def test_without_the_library_nothing_is_searched_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = index(tmp_path, vectors(100), {}, approximate=True)
    monkeypatch.setitem(sys.modules, "voyager", None)  # as where it is not installed
    with pytest.raises(Mistake, match=r"not installed.*pip install 'omnitune\[approximate\]'"):
        VectorIndex.read(made.path).search(vectors(2, 1), 3)
    with pytest.raises(Mistake, match="not installed"):
        Graph.empty(8, 10)
    assert VectorIndex.read(made.path).search(vectors(2, 1), 3, exact=True)[1].shape == (2, 3)

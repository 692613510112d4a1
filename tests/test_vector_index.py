"""Exact search, against plain numpy."""

from pathlib import Path

import numpy as np
import pytest

from omnitune import Mistake, vector_index
from omnitune.embedding import Embedded
from omnitune.vector_index import About, VectorIndex

ABOUT = About("run", "0", "match", "text", "t.parquet", "1")


def vectors(n: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def index(folder: Path, whole: np.ndarray, problems: dict[int, str], at_once: int = 7) -> VectorIndex:
    parts = (slice(i, i + at_once) for i in range(0, len(whole), at_once))
    told = [problems.get(i) for i in range(len(whole))]
    return VectorIndex.write(folder / "index", ABOUT, (Embedded(whole[part], told[part]) for part in parts))


@pytest.mark.parametrize("block", [1, 10, 64, 1000])
def test_all_rows_are_looked_at_in_blocks_of_any_size(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "BLOCK", block)
    monkeypatch.setattr(vector_index, "QUERIES", 3)
    whole, queries = vectors(100), vectors(11, 1)
    made = index(tmp_path, whole, {4: "missing", 99: "missing"})
    assert len(list(made.path.glob("vectors-*"))) == -(-100 // block)
    cosines = np.round(queries @ whole.T, vector_index.DIGITS)
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
    made = index(tmp_path, np.repeat(vectors(1), 5, 0), {})
    assert made.search(vectors(1, 1), 5)[1].tolist() == [[0, 1, 2, 3, 4]]


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

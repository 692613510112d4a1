"""Equal documents: the first is kept, and only what is letter by letter the same goes."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.deduplicate import deduplicated
from omnitune.data.table import read


def kept(texts: list[Any], rows: list[int] | None = None) -> list[int]:
    table = read([{"text": text} for text in [*texts, "a row more"]])
    found: list[int] = deduplicated(table, "text", np.arange(len(texts)) if rows is None else np.array(rows)).tolist()
    return found


@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "1", "1.0", "01", "true", "a", "a ", "b", "true"])), max_size=40))
def test_the_first_of_equal_texts_is_kept(texts: list[str | None]) -> None:
    assert kept(texts) == [i for i, text in enumerate(texts) if text is None or text not in texts[:i]]


def test_rows_in_the_order_given() -> None:
    assert kept(["a", "b", "a", "b", "c"], [2, 1, 0, 4]) == [2, 1, 4]


def test_many_rows() -> None:
    texts = [f"text {i % 3000}" for i in range(5000)]
    assert kept(texts) == list(range(3000))
    assert kept([None] * 3000) == list(range(3000))

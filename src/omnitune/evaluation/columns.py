"""Columns as features of simple models: TF-IDF, standardised numbers and one-hot categories; or plain numbers for trees.

A column of kind `outline` holds several numbers a row, see `Modality.outline`.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Sequence[Any]]
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f]")
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese: scripts that set no spaces between words."""
LARGEST = 1e15
"""Numbers beyond are cut, so that their squares stay finite."""


def usable(columns: Columns, kinds: Mapping[str, str]) -> dict[str, str]:
    """Columns, with their kinds, from which a simple model can learn: text, numbers, categories and outlines with at least one value."""
    known = {name: kind for name, kind in kinds.items() if kind in ("text", "number", "category", "outline")}
    return {name: kind for name, kind in known.items() if any(_says_something(kind, value) for value in columns[name])}


def _says_something(kind: str, value: Any) -> bool:
    if kind == "text":
        return value is not None and re.search(r"\w", str(value)) is not None
    if kind == "outline":
        return not np.isnan(value).all()
    return not math.isnan(number(value)) if kind == "number" else value is not None


def number(value: Any) -> float:
    """`value` as a finite float, nan where it is none."""
    try:
        read = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return min(max(read, -LARGEST), LARGEST) if math.isfinite(read) else math.nan


def word(value: Any) -> str:
    """A category as text; the empty text stands for a missing one."""
    return "" if value is None else str(value)


class Linear:
    """Every column as a block of features for linear models, sparse where there is text. Missing numbers become the median and a flag.

    Args:
        kinds: `text`, `number`, `category` or `outline` by column.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = kinds
        self.readers = {name: _reader(kind) for name, kind in kinds.items()}

    def fit(self, columns: Columns) -> dict[str, Any]:
        """Learns vocabularies, medians and categories; gives the blocks."""
        for name, kind in self.kinds.items():
            if kind == "text" and unspaced(columns[name]):
                self.readers[name].set_params(analyzer="char", ngram_range=(1, 3), token_pattern=None)
        return {name: self.readers[name].fit_transform(_raw(kind, columns[name])) for name, kind in self.kinds.items()}

    def read(self, columns: Columns) -> dict[str, Any]:
        """The blocks of other rows."""
        return {name: self.readers[name].transform(_raw(kind, columns[name])) for name, kind in self.kinds.items()}


class Trees:
    """Numbers and categories (as codes) for gradient boosting, which takes missing values as they are.

    Args:
        kinds: `number` or `category` by column.
    """

    MOST = 250
    """Categories kept, the most frequent; others count as missing (gradient boosting takes up to 255)."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = kinds
        self.codes: dict[str, dict[str, int]] = {}

    def fit(self, columns: Columns) -> dict[str, Any]:
        """Learns the categories; gives the columns."""
        for name, kind in self.kinds.items():
            if kind == "category":
                frequent = Counter(word(v) for v in columns[name]).most_common(self.MOST)
                self.codes[name] = {value: code for code, (value, _) in enumerate(frequent)}
        return self.read(columns)

    def read(self, columns: Columns) -> dict[str, Any]:
        """The columns of rows, (n, 1) each."""
        return {
            name: np.array([[self.codes[name].get(word(v), math.nan)] for v in columns[name]] if kind == "category" else _raw(kind, columns[name]))
            for name, kind in self.kinds.items()
        }


def beside(blocks: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The blocks of these columns as one matrix."""
    from scipy import sparse

    some = [blocks[name] for name in names]
    return sparse.hstack(some).tocsr() if any(sparse.issparse(block) for block in some) else np.hstack(some)


def _reader(kind: str) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if kind == "text":
        return TfidfVectorizer(ngram_range=(1, 2), max_features=50_000, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    if kind in ("number", "outline"):
        return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return OneHotEncoder(handle_unknown="ignore", max_categories=1000)


def unspaced(values: Sequence[Any]) -> bool:
    """Whether the first thousand texts are mostly in scripts without spaces between words."""
    text = "".join(str(v)[:200] for v in values[:1000] if v is not None)
    letters = sum(c.isalpha() for c in text)
    return letters > 0 and len(UNSPACED.findall(text)) > 0.3 * letters


def _raw(kind: str, values: Sequence[Any]) -> Any:
    if kind == "text":
        return [word(v)[:100_000] for v in values]
    if kind == "number":
        return np.array([[number(v)] for v in values], dtype=np.float64).reshape(-1, 1)
    if kind == "outline":
        return np.array(values, dtype=np.float64)
    return np.array([[word(v)] for v in values], dtype=object).reshape(-1, 1)

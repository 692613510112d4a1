"""Edits: how many insertions, deletions and substitutions turn one sequence into another, and the errors of transcripts that are counted so.

Normalisation, stated once: Unicode NFKC, letters folded to small ones, apostrophes straightened, every other sign that is no letter or digit read as
a space, words parted by white space. Numbers are not spelled out: "6" is not "six".
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from omnitune.nn.metrics import Array, Metric

APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")  # noqa: RUF100
SIGN = re.compile(r"[^\w\s']|_|(?<!\w)'|'(?!\w)")
WORDS, LETTERS, WRITTEN, EXACT = slice(0, 2), slice(2, 4), slice(4, 6), 6
"""Where in a row of `counts` the edits and the length of the truth stand: of words and letters, both normalised, and of words as they are written."""


def normalised(text: str) -> str:
    """A transcript as errors are counted; idempotent."""
    plain = APOSTROPHES.sub("'", unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(SIGN.sub(" ", unicodedata.normalize("NFKC", plain)).split())


def distance(said: Sequence[object], true: Sequence[object]) -> int:
    """The fewest edits between two sequences (Levenshtein 1966), a row of the table at a time: a run of insertions is a running minimum."""
    numbers: dict[object, int] = {}
    a, b = ([numbers.setdefault(item, len(numbers)) for item in items] for items in (said, true))
    b_M, places = np.array(b, np.int64), np.arange(len(b) + 1)
    row = places.copy()
    for i, item in enumerate(a, 1):
        best = np.empty_like(row)
        best[0] = i
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (b_M != item))
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def counts(said: Sequence[str], true: Sequence[str]) -> Array:
    """What `speech_metrics` are made of, (n, 7) float64, one row a transcript."""
    return np.array([_counted(a, b) for a, b in zip(said, true, strict=True)], np.float64).reshape(len(said), EXACT + 1)


def _counted(said: str, true: str) -> list[int]:
    a, b = normalised(said), normalised(true)
    pairs = [(a.split(), b.split()), (a, b), (said.split(), true.split())]
    return [number for x, y in pairs for number in (distance(x, y), len(y))] + [a == b]


def speech_metrics() -> dict[str, Metric]:
    """For y (n, ...), of which only the rows count, and p (n, 7), see `counts`. Word and character error rates are edits of all transcripts together
    by the length of all truths, so they may exceed 1; `written_wer` minds capitals and signs; `exact` is the share without an error."""

    def rate(of: slice) -> Metric:
        return Metric(
            lambda y, p: float(p[:, of][:, 0].sum() / p[:, of][:, 1].sum()) if p[:, of][:, 1].sum() else float("nan"), higher_is_better=False
        )

    exact = Metric(lambda y, p: float(p[:, EXACT].mean()) if len(p) else float("nan"))
    return {"wer": rate(WORDS), "cer": rate(LETTERS), "written_wer": rate(WRITTEN), "exact": exact}

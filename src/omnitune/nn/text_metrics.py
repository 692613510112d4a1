"""Metrics of texts that were written beside those that are true."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omnitune.nn import ngrams
from omnitune.nn.metrics import Array, Metric, calibration_error

ROUGE, ANSWER, BLEU, CHRF, DISTINCT = slice(0, 3), slice(3, 5), slice(5, 15), slice(15, 33), slice(33, 37)
"""Where in a row the counts of each family stand."""
SURE, MEETS = 37, 38
"""Behind them, where they are known: how likely the model took the text, and whether it is what it was to be."""


@dataclass(frozen=True)
class Judge:
    """How texts that were written are measured.

    Args:
        counts: from what is said and what is true, texts by row, to rows of counts (n, ...) that add up.
        metrics: by name, of those counts.
    """

    counts: Callable[[Sequence[str], Sequence[str]], Array]
    metrics: Callable[[], dict[str, Metric]]


def counts(said: Sequence[str], true: Sequence[str]) -> Array:
    """What `text_metrics` are made of, (n, 37) float64, one row a text."""
    pairs = zip(said, true, strict=True)
    found = [[*ngrams.rouge(a, b), *ngrams.answer(a, b), *ngrams.bleu(a, b), *ngrams.chrf(a, b)] for a, b in pairs]
    own = [[*one, *two] for one, two in zip(ngrams.distinct(said, 1), ngrams.distinct(said, 2), strict=True)]
    return np.array([[*row, *rest] for row, rest in zip(found, own, strict=True)], np.float64).reshape(len(said), DISTINCT.stop)


def text_metrics() -> dict[str, Metric]:
    """For y (n, ...), of which only the rows count, and p (n, 37), see `counts`. `rouge`, `exact_match` and `token_f1` are means over texts, `bleu`
    and `chrf` figures of all texts together, in [0, 100]; `distinct` (Li et al. 2016, https://arxiv.org/abs/1510.03055) is the share of different
    words, or pairs of words, among all that were written; `calibration_error` how far the probability of texts, the product over their tokens, lies
    from the share of exact matches, where that is known."""
    rouge = {name: Metric(_mean(ROUGE.start + i)) for i, name in enumerate(("rouge1", "rouge2", "rougeL"))}
    answer = {name: Metric(_mean(ANSWER.start + i)) for i, name in enumerate(("exact_match", "token_f1"))}
    together = {"bleu": Metric(_of_sums(BLEU, ngrams.corpus_bleu)), "chrf": Metric(_of_sums(CHRF, ngrams.corpus_chrf))}
    distinct = {f"distinct{n}": Metric(_of_sums(slice(start, start + 2), _share), resampled=False) for n, start in ((1, 33), (2, 35))}
    sure = {"calibration_error": Metric(_calibration, higher_is_better=False, resampled=False)}
    return rouge | together | answer | distinct | sure


def held_metrics() -> dict[str, Metric]:
    """The same of texts that are held to something: `meets`, the share that is what it was to be."""
    return text_metrics() | {"meets": Metric(_known(MEETS))}


def quote_metrics() -> dict[str, Metric]:
    """Of those the ones that SQuAD has."""
    return {name: metric for name, metric in text_metrics().items() if name in ("exact_match", "token_f1")}


def _mean(column: int) -> Callable[[Array, Array], float]:
    return lambda y, p: float(p[:, column].mean()) if len(p) else float("nan")


def _of_sums(columns: slice, figure: Callable[[Array], float]) -> Callable[[Array, Array], float]:
    return lambda y, p: figure(p[:, columns].sum(0)) if len(p) else float("nan")


def _known(column: int) -> Callable[[Array, Array], float]:
    return lambda y, p: float(p[:, column].mean()) if len(p) and p.shape[1] > column else float("nan")


def _calibration(y: Array, p: Array) -> float:
    if not len(p) or p.shape[1] <= SURE or not np.isfinite(p[:, SURE]).all():
        return float("nan")
    sure, right = p[:, SURE], p[:, ANSWER.start] > 0
    return calibration_error(np.zeros(len(p)), np.stack([np.where(right, sure, 0), np.where(right, 0, sure)], 1))


def _share(sums: Array) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")

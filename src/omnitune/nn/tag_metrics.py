"""Tag metrics: how many of the parts of texts that have a name were found. No torch here: recipes are checked without it.

Shape letters: n rows, K labels.
"""

from omnitune.nn.metrics import Array, Metric, defined


def tag_metrics(labels: int) -> dict[str, Metric]:
    """For y (n, K + 2), how many parts of each label there are, tokens, and those outside, and p (n, 2 K + 1), see `TagHead.measure`, NaN for what a
    rival cannot be asked. A part is right where its first and last character and its label are (Tjong Kim Sang and De Meulder 2003,
    https://aclanthology.org/W03-0419); figures are over all parts, and `macro_f1` is the mean over labels. Tokens that stand in two windows count
    twice."""

    def sums(y: Array, p: Array) -> tuple[Array, Array, Array]:
        return p[:, :labels].sum(0), p[:, labels : 2 * labels].sum(0), y[:, :labels].sum(0)

    def f1(y: Array, p: Array) -> float:
        right, said, true = (of.sum() for of in sums(y, p))
        return _ratio(2 * right, said + true)

    def macro(y: Array, p: Array) -> float:
        right, said, true = sums(y, p)
        there = said + true > 0
        return float((2 * right[there] / (said + true)[there]).mean()) if there.any() else float("nan")

    return {
        "f1": Metric(defined(f1)),
        "macro_f1": Metric(defined(macro)),
        "precision": Metric(defined(lambda y, p: _ratio(*(of.sum() for of in sums(y, p)[:2])))),
        "recall": Metric(defined(lambda y, p: _ratio(*(of.sum() for of in sums(y, p)[::2])))),
        "token_accuracy": Metric(defined(lambda y, p: _ratio(p[:, 2 * labels].sum(), y[:, labels].sum()))),
    }


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")

"""Clusters of words, numbered by frequency: what may cut a vocabulary into them. Free of torch, since recipes are checked without it."""

from collections.abc import Sequence

from omnitune.errors import Mistake


def check_clusters(words: int, width: int, cutoffs: Sequence[int], divisor: int) -> None:
    """Raises `Mistake` where the clusters are none; arguments as of `AdaptiveEmbedding`."""
    if list(cutoffs) != sorted(set(cutoffs)) or (cutoffs and not 0 < cutoffs[0] <= cutoffs[-1] < words):
        raise Mistake("cutoffs", f"{list(cutoffs)} do not cut {words} words", f"Choose rising numbers between 1 and {words - 1}")
    if divisor < 1 or width // divisor ** len(cutoffs) < 1:
        raise Mistake("divisor", f"width {width} cannot be divided by {divisor} {len(cutoffs)} times", "Choose a smaller divisor, or fewer cutoffs")

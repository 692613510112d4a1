"""Edits: exact, and the rates are those of the definition."""

import random

import numpy as np
import pytest

from omnitune.nn.edits import counts, distance, normalised, speech_metrics


def slow(a: str, b: str) -> int:
    """By the definition."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_the_distance_is_that_of_the_definition() -> None:
    rng = random.Random(0)
    for _ in range(300):
        a, b = ("".join(rng.choices("abc", k=rng.randrange(9))) for _ in range(2))
        assert distance(a, b) == slow(a, b) == distance(list(b), list(a))
    assert distance("kitten", "sitting") == 3 and distance("", "abc") == distance("abc", "") == 3 and distance("", "") == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  Don’t  STOP—now! ", "don't stop now"), ("'quoted' words_here", "quoted words here"), ("6,5 %", "6 5"), ("ÉCOLE", "école"),
        ("e\u0301cole", "école"), ("Straße", "strasse"), ("", ""), ("...", ""), ("你好，世界", "你好 世界"),
    ],
)  # fmt: skip
def test_what_is_normalised(text: str, wanted: str) -> None:
    assert normalised(text) == wanted == normalised(normalised(text))


def test_rates_are_of_all_transcripts_together() -> None:
    said, true = ["The cat sat", "", "one two"], ["the cat, sat down", "yes", "one two"]
    found, y = counts(said, true), np.zeros(3)
    metrics = {name: metric.compute(y, found) for name, metric in speech_metrics().items()}
    assert metrics["wer"] == 2 / 7 and metrics["exact"] == 1 / 3
    assert metrics["cer"] == (len(" down") + len("yes")) / (len("the cat sat down") + len("yes") + len("one two"))
    assert metrics["written_wer"] == (3 + 1) / 7  # The, cat and a word that is missing; yes
    assert not any(metric.higher_is_better for name, metric in speech_metrics().items() if name != "exact")
    assert np.isnan(speech_metrics()["wer"].compute(np.zeros(0), found[:0])) and len(counts([], [])) == 0
    assert speech_metrics()["wer"].compute(y[:1], counts(["a b c d"], ["a"])) == 3  # more than 1: words that nobody said

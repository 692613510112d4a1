"""Metrics of texts, held against what sacrebleu 2.6.0 and rouge-score 0.1.2 say of the same texts (their output is copied here)."""

import numpy as np
import pytest

from omnitune.nn import ngrams
from omnitune.nn.text_metrics import counts, held_metrics, text_metrics

SAID = [
    "the cat sat on the mat", "a tool to convert images, e.g. PNG 2.5 to JPEG-2000", "hello world", "", "The library for reading files, quickly!",
]  # fmt: skip
TRUE = ["the cat is on the mat", "tool for converting PNG 2.5 images to JPEG-2000", "goodbye moon", "something", "library to read files quickly"]


def measured(said: list[str], true: list[str]) -> dict[str, float]:
    made = counts(said, true)
    return {name: metric.compute(np.zeros(len(said)), made) for name, metric in text_metrics().items()}


def test_rouge_is_that_of_rouge_score() -> None:
    expected = [
        [0.8333333333333334, 0.6956521739130435, 0.0, 0.0, 0.5454545454545454], [0.6, 0.380952380952381, 0.0, 0.0, 0.22222222222222224],
        [0.8333333333333334, 0.608695652173913, 0.0, 0.0, 0.5454545454545454],
    ]  # fmt: skip
    np.testing.assert_allclose(np.transpose([ngrams.rouge(a, b) for a, b in zip(SAID, TRUE, strict=True)]), expected)


@pytest.mark.parametrize(
    ("rows", "bleu", "chrf"),
    [
        (slice(0, 5), 10.178863488698855, 50.00316478628813),
        (slice(0, 2), 13.589251730288526, 60.71740510708027),
        (slice(2, 3), 0.0, 6.17283950617284),
    ],
)
def test_bleu_and_chrf_of_all_texts_are_those_of_sacrebleu(rows: slice, bleu: float, chrf: float) -> None:
    found = measured(SAID[rows], TRUE[rows])
    assert (found["bleu"], found["chrf"]) == pytest.approx((bleu, chrf))


def test_answers_are_compared_as_squad_does() -> None:
    found = measured(["The Eiffel-Tower!", "in 1999 or so", ""], ["eiffeltower", "1999", "the"])
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["token_f1"] == pytest.approx((1 + 2 * 1 / (4 + 1) + 1) / 3)


def test_distinct_counts_each_word_once_over_all_texts() -> None:
    found = measured(["a b a", "b c"], ["x", "y"])
    assert (found["distinct1"], found["distinct2"]) == (3 / 5, 1.0)
    assert not text_metrics()["distinct1"].resampled


def test_how_sure_texts_were_is_held_against_exact_matches() -> None:
    made = counts(["a", "b", "x", "y"], ["a", "b", "c", "d"])
    sure = {name: metric.compute(np.zeros(4), np.column_stack([made, [0.9, 0.9, 0.9, 0.1], [1, 1, 1, 0]])) for name, metric in held_metrics().items()}
    assert sure["calibration_error"] == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.1) and sure["meets"] == 0.75
    unknown = np.column_stack([made, np.full((4, 2), np.nan)])
    assert np.isnan(held_metrics()["calibration_error"].compute(np.zeros(4), unknown))


def test_words_of_any_script_count() -> None:
    assert measured(["Größe 服 дом"], ["größe дом"])["rouge1"] == pytest.approx(0.8)


def test_no_text_is_no_figure() -> None:
    assert np.isnan(list(measured([], []).values())).all()

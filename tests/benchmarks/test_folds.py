"""Folds of cross-validation: every row is tested once, and classes are as common in each."""

from collections import Counter

import folds


def test_every_fold_has_its_share_of_each_class() -> None:
    answers = ["drum"] * 50 + ["bass"] * 21 + ["loop"] * 10
    of_row = folds.dealt(answers, 5, 0)
    assert sorted(Counter(of_row.tolist()).values()) == [16, 16, 16, 16, 17]
    for name, n in Counter(answers).items():
        shares = Counter(fold for fold, answer in zip(of_row.tolist(), answers, strict=True) if answer == name)
        assert set(shares) == set(range(5)) and max(shares.values()) - min(shares.values()) <= 1, (name, n)
    assert folds.dealt(answers, 5, 0).tolist() == of_row.tolist() != folds.dealt(answers, 5, 1).tolist()

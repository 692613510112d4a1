"""Full batches: every row once, budgets kept, as many in every epoch, the same from (epoch, seed) alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.orders import Full

LENGTHS = st.lists(st.integers(1, 20), max_size=60)


@given(LENGTHS, st.integers(0, 100), st.integers(0, 3), st.integers(0, 3))
def test_batches_hold_every_row_once_within_budget(lengths: list[int], more: int, epoch: int, seed: int) -> None:
    rows, sizes, tokens = np.arange(len(lengths)) * 3, np.array(lengths, np.int64), 20 + more
    order = Full(rows, sizes, tokens, seed)
    batches = order.epoch(epoch)
    assert sorted(np.concatenate([[], *batches]).tolist()) == rows.tolist()
    for batch in batches:
        assert 0 < sizes[batch // 3].sum() <= tokens
        assert (np.diff(sizes[batch // 3]) >= 0).all(), "shorter rows first, as flat rows want them"
    assert len(batches) == len(order) == len(order.epoch(epoch + 1)), "as many in every epoch"
    assert list(map(list, Full(rows, sizes, tokens, seed).epoch(epoch))) == list(map(list, batches))


def test_batches_are_full_and_shuffled() -> None:
    lengths = np.random.default_rng(0).lognormal(4, 1, 5000).astype(np.int64).clip(1, 256)
    for tokens in (256, 4096):
        epochs = [Full(np.arange(5000), lengths, tokens, seed).epoch(epoch) for epoch, seed in [(0, 0), (1, 0), (0, 1)]]
        for batches in epochs:
            assert lengths.sum() / (len(batches) * tokens) > 0.98
        assert len({tuple(batches[0].tolist()) for batches in epochs}) == 3
    batches = Full(np.arange(5000), lengths, 4096, 0).epoch(0)
    for means in ([float(np.mean(batch)) for batch in batches], [float(lengths[batch].mean()) for batch in batches]):
        assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3, "neither the order of rows nor their lengths show in that of batches"


def test_rows_meet_others_in_every_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 65, 3000)
    order = Full(np.arange(3000), lengths, 1024, 0)
    together = [{tuple(sorted(batch.tolist())[:2]) for batch in order.epoch(epoch)} for epoch in (0, 1)]
    assert len(together[0] & together[1]) < 0.1 * len(order)

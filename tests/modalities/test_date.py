"""Dates: what is read as one, and how it becomes features."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omnitune.modalities import _bins
from omnitune.modalities.date import Date

ZONE = datetime.timezone(datetime.timedelta(hours=2))


def circles(values: list[Any]) -> np.ndarray:
    """Turns through year, month, week and day, from their sines and cosines, in [0, 1)."""
    date = Date(bins=2)
    facts = date.learn(["2020-01-01", "2026-01-01"])
    waves = date.encode(values, facts)["features"][:, _bins.width(facts) :].numpy()
    return (np.arctan2(waves[:, :4], waves[:, 4:]) / (2 * np.pi)) % 1


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01", " 2026-03-01 ", "2026-03-01T00:00", "2026-03-01 00:00:00", datetime.date(2026, 3, 1), datetime.datetime(2026, 3, 1),
        pd.Timestamp("2026-03-01"), "2026-03-01T02:00+02:00", datetime.datetime(2026, 3, 1, 2, tzinfo=ZONE),
    ],
)  # fmt: skip
def test_one_moment_in_many_spellings(value: Any) -> None:
    assert Date().check(value) is None
    assert Date().outline([value])[0, 0] == (datetime.date(2026, 3, 1) - datetime.date(1970, 1, 1)).days


@pytest.mark.parametrize("value", [None, "", "NA", float("nan"), pd.NaT])
def test_what_is_missing(value: Any) -> None:
    date = Date()
    facts = date.learn(["2020-01-01", value, "2021-01-01"])
    assert value is None or date.check(value) is None
    assert date.encode([value, "2020-05-05"], facts)["present"].tolist() == [False, True]
    assert np.isnan(date.outline([value])).all()


@pytest.mark.parametrize("value", ["soon", "31.12.2026", "2026-02-30", 20260301, True, datetime.time(3), b"2026-03-01"])
def test_what_is_no_date_is_said(value: Any) -> None:
    assert "date" in str(Date().check(value))


def test_what_comes_again_lies_on_circles() -> None:
    year, month, week, day = circles(["2026-01-01", "2026-07-02T12:00", "2026-12-31T23:59"]).T
    assert year == pytest.approx([0, 0.5, 1], abs=0.006) and day == pytest.approx([0, 0.5, 1], abs=0.001)
    assert month == pytest.approx([0, 1.5 / 31, 1], abs=0.001)
    assert week * 7 == pytest.approx([3, 3.5, 4], abs=0.001)  # Thursdays
    assert circles(["2024-02-29T18:00"])[0] == pytest.approx([59.75 / 366, 28.75 / 29, 3.75 / 7, 0.75], abs=1e-5)


def test_the_hour_is_the_one_it_was_written_with_and_the_moment_is_the_same() -> None:
    here, there = "2026-03-01T18:00+02:00", "2026-03-01T16:00+00:00"
    assert circles([here, there])[:, 3] == pytest.approx([0.75, 2 / 3])
    assert Date().outline([here])[0, 0] == Date().outline([there])[0, 0]


def test_the_ends_of_time_can_be_read() -> None:
    date = Date()
    facts = date.learn(["0001-01-01", "9999-12-31T23:59:59"])
    assert bool(date.encode(["0001-01-01", "9999-12-31T23:59:59"], facts)["features"].isfinite().all())

"""Expect: whether a report falls in the ranges its recipe promises."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnitune.evaluation.report import Report


def check(report: "Report", expect: Mapping[str, tuple[float, float]]) -> list[str]:
    """What misses its range, in words; empty where all is as expected.

    Args:
        report: measured on the test rows.
        expect: lowest and highest value of `task.metric` after training, both allowed.
    """
    misses = []
    for name, (low, high) in expect.items():
        task, _, metric = name.rpartition(".")
        found = report.value(task, metric)
        if found is None:
            misses.append(f"{name} was not measured, expected {low:g} to {high:g}")
        elif not low <= found <= high:
            misses.append(f"{name} is {found:.4g}, expected {low:g} to {high:g}")
    return misses

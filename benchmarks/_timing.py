"""Timing on noisy machines: the cases take turns, so that a busy minute hits all of them; medians, and ratios to the first case."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every case in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for i in range(warm_up + rounds):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def table(seconds: Mapping[str, list[float]]) -> str:
    """Median, range of the middle half in milliseconds, and the ratio to the first case."""
    first = statistics.median(next(iter(seconds.values())))
    lines = [f"{'':24} {'median':>10} {'middle half':>19} {'ratio':>7}"]
    for name, taken in seconds.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        lines.append(f"{name:24} {1e3 * middle:7.1f} ms {1e3 * low:7.1f} - {1e3 * high:6.1f} ms {middle / first:7.2f}")
    return "\n".join(lines)

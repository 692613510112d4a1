"""Metrics as plain functions of answers and predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A figure of `n` rows.

    Args:
        compute: from answers `y` (n, ...) and predictions (n, ...) to a float; nan where it is undefined on these rows.
        higher_is_better: its direction.
    """

    compute: Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], float]
    higher_is_better: bool = True

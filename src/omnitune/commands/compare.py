"""compare: two runs on the test rows that both have, paired, with intervals."""

from pathlib import Path

from omnitune.evaluation import compare as comparing
from omnitune.evaluation.compare import Comparison


def compare(a: str | Path, b: str | Path) -> Comparison:
    """How run `b` differs from run `a` in every metric of every task they share. Raises `Mistake` where they share no task or no row."""
    return comparing.compare(Path(a), Path(b))

"""Places: where things are kept between runs."""

import os
from pathlib import Path

VARIABLE = "OMNITUNE_CACHE"


def cache(what: str) -> Path:
    """The folder for `what` (tables, samples, activations): below $OMNITUNE_CACHE, or below ~/.cache/omnitune."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "omnitune") / what

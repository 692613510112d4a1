"""Data: where the rows of a run come from, and how they are parted."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from omnitune.settings import Settings, settings

Share = Annotated[float, Field(ge=0, le=1)]


def _as_text(path: Any) -> Any:
    return str(path) if isinstance(path, Path) else path


@settings
class Data(Settings):
    """Where the rows come from and how they are parted.

    Args:
        source: `from` in YAML: a file (csv, tsv, jsonl, parquet, arrow), a folder, a hub data set, `sample:NAME`; with `#500` at its end
            a sample of so many rows; in Python also a pandas, Arrow or `datasets` table or a list of rows.
        split: shares of training, validation and test rows by a hash of the content, or `given`: the source's own parts.
        by: columns whose values decide the side of a row (a customer's rows stay together); content columns (text, pictures) by default.
        synthetic: a file of rows that a model wrote, as `omnitune augment` makes it: they join the training part alone. A row that says what a
            validation or test row says is left out, and counted.
        bad_rows: `refuse` a table with rows that cannot be read, or `skip` them, counted and listed.
    """

    source: Any = Field(validation_alias=pydantic.AliasChoices("from", "source"))
    split: tuple[Share, Share, Share] | Literal["given"] = (0.8, 0.1, 0.1)
    by: tuple[str, ...] = ()
    bad_rows: Literal["refuse", "skip"] = "refuse"
    synthetic: Annotated[str, Field(min_length=1), pydantic.BeforeValidator(_as_text)] | None = None

    @pydantic.field_validator("source")
    @classmethod
    def _is_named(cls, source: Any) -> Any:
        if source is None or (isinstance(source, str) and not source.strip()):
            raise ValueError("must name a file, a folder, a data set or sample:NAME")
        return source

    @pydantic.field_validator("split")
    @classmethod
    def _sums_to_one(cls, split: Any) -> Any:
        if split != "given" and (abs(sum(split) - 1) > 1e-6 or split[0] == 0):
            raise ValueError("the three shares must sum to 1 and the first must not be 0")
        return split

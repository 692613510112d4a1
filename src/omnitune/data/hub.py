"""Hub: data sets of the `datasets` library, by name, from disk, or as objects. Nothing is decoded, remote code never runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnitune.data.files import Piece, checked
from omnitune.data.names import with_names
from omnitune.errors import Mistake

BATCH = 10_000
PARTS = ("train", "validation", "test")


def is_dataset(source: Any) -> bool:
    """Whether `source` is an object of `datasets`, which is not imported for asking."""
    return type(source).__module__.partition(".")[0] == "datasets"


def by_name(name: str, hint: str = "") -> tuple[list[Piece], Path]:
    """The data set called `owner/name` or `name` (with a configuration as `name:configuration`), and the folder its files are in.

    HF_HUB_OFFLINE and the other variables of `datasets` are honoured. `hint` is for those who meant a file.
    """
    datasets = _library(name, hint)
    repository, _, configuration = name.partition(":")
    try:
        found = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # of `datasets`, `huggingface_hub`, `fsspec` and the network, without a class in common
        why = str(error).strip().partition("\n")[0]
        raise Mistake(name, f"no such file or folder here, and no data set loads by that name: {why}", hint) from error
    return from_object(found, name), Path(datasets.config.HF_CACHE_HOME).expanduser()


def from_disk(folder: Path) -> list[Piece]:
    """What `save_to_disk` wrote."""
    datasets = _library(str(folder))
    try:
        return from_object(datasets.load_from_disk(str(folder)), folder.name)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Mistake(str(folder), f"is no intact data set: {error}", "Save it again") from error


def from_object(source: Any, name: str) -> list[Piece]:
    """A `Dataset`, or the train, validation and test parts of a `DatasetDict` (other parts are left out)."""
    if not isinstance(source, Mapping):
        return [_piece(source, name, None)]
    parts = [part for part in PARTS if part in source]
    if not parts:
        raise Mistake(name, f"has none of the parts train, validation, test, but {', '.join(source)}", "Give one of its parts")
    return [_piece(source[part], f"{name} {part}", part) for part in parts]


def _piece(dataset: Any, name: str, part: str | None) -> Piece:
    """Pictures and sound stay encoded: the Arrow format hands them over as they are stored."""
    if not hasattr(dataset, "num_rows"):
        raise Mistake(name, f"is streamed ({type(dataset).__name__}) and cannot be read twice", "Load it without streaming=True")
    batches = list(dataset.with_format("arrow").iter(BATCH))
    table = pa.concat_tables(batches) if batches else dataset.data.table.slice(0, 0)
    return Piece(name, checked(name, with_names(table, dataset.features.to_dict())), part=part)


def _library(name: str, hint: str = "") -> Any:
    try:
        import datasets
    except ImportError:
        hint = f"pip install omnitune[hub]. {hint}".rstrip()
        raise Mistake(name, "no such table here, and data sets of the hub need one more package", hint) from None
    return datasets

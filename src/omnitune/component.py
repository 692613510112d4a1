"""Components: one file in a family's folder is one kind. Discovery by file name, settings checked by pydantic.

A family is the abstract class in a package's `__init__` (`Modality` in `omnitune.modalities`); `modalities/text.py` holds the kind
`text`. Other packages join through the entry-point group `omnitune.components`, with names such as `modalities.video`.
"""

import dataclasses
import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

import pydantic

from omnitune.errors import Mistake, did_you_mean
from omnitune.settings import Settings, in_our_words, plain, problem, settings

T = TypeVar("T")
C = TypeVar("C", bound="Component")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def component(cls: type[T]) -> type[T]:
    """Makes `cls` a kind of its family: named after its file, frozen, its settings checked."""
    made: Any = settings(cls)
    made.kind = cls.__module__.rpartition(".")[2]
    return made  # type: ignore[no-any-return]


class Component(Settings):
    """Settings of one kind: a frozen dataclass whose fields are exactly what a recipe may say."""

    kind: ClassVar[str]

    @classmethod
    def from_text(cls, text: str) -> dict[str, Any]:
        """What a bare word in a recipe means: a kind of this family, unless the family reads it otherwise."""
        return {"kind": text}

    def to_dict(self) -> dict[str, Any]:
        """Every setting as plain values, ready for YAML and JSON."""
        values: dict[str, Any] = plain(self)
        return values


# Discovery


def kinds(family: type[Component]) -> dict[str, str | EntryPoint]:
    """Every kind of `family` by name, with the module or entry point that holds it. Imports none of them."""
    package = importlib.import_module(family.__module__)
    ours = {m.name: f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    prefix = package.__name__.rpartition(".")[2] + "."
    theirs = {e.name.removeprefix(prefix): e for e in entry_points(group="omnitune.components") if e.name.startswith(prefix)}
    found: dict[str, str | EntryPoint] = {**theirs, **ours}
    return dict(sorted(found.items(), key=lambda pair: pair[0]))


@cache
def find(family: type[C], kind: str) -> type[C]:
    """The class of `kind` in `family`. Raises `Mistake` with the nearest name where there is none."""
    place = kinds(family).get(kind)
    if place is None:
        raise Mistake("", f"no {family.__name__.lower()} called {kind!r}", did_you_mean(kind, list(kinds(family))))
    if isinstance(place, EntryPoint):
        return place.load()  # type: ignore[no-any-return]
    found = [v for v in vars(importlib.import_module(place)).values() if getattr(v, "kind", None) == kind and issubclass(v, family)]
    assert len(found) == 1, f"{place} must hold exactly one @component of {family.__name__}, found {found}"
    return found[0]  # type: ignore[no-any-return]


# Reading from plain values


def any_of(family: type[C]) -> Any:
    """The field type "any kind of `family`": an instance, a word, or a mapping with `kind`."""

    def read(value: Any) -> C:
        if isinstance(value, family):
            return value
        fields = family.from_text(value) if isinstance(value, str) else dict(value) if isinstance(value, dict) else None
        if fields is None or not isinstance(fields.get("kind"), str):
            raise problem(f"expected a {family.__name__.lower()}, got {value!r}", "Give a kind, or a mapping with `kind:`")
        try:
            cls = find(family, fields.pop("kind"))  # type: ignore[arg-type]  # mypy takes a class for an unhashable dataclass
        except Mistake as mistake:
            raise problem(mistake.what, mistake.fix) from None
        try:
            return pydantic.TypeAdapter(cls).validate_python(fields)  # type: ignore[no-any-return]
        except pydantic.ValidationError as error:
            raise in_our_words(error, cls) from None

    return Annotated[family, pydantic.PlainValidator(read), pydantic.WithJsonSchema({"family": family.__name__})]

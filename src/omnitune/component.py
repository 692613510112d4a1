"""Components: one file in a family's folder is one kind. Discovery by file name, settings checked by pydantic.

A family is the abstract class in a package's `__init__` (`Modality` in `omnitune.modalities`); `modalities/text.py` holds the kind
`text`. Other packages join through the entry-point group `omnitune.components`, with names such as `modalities.video`.
"""

import dataclasses
import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, Self, TypeVar, dataclass_transform, get_args, get_origin

import pydantic
import pydantic.dataclasses
from pydantic_core import InitErrorDetails, PydanticCustomError

from omnitune.errors import Mistake, did_you_mean

CHECKS = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_by_name=True, validate_by_alias=True)
T = TypeVar("T")
C = TypeVar("C", bound="Component")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass, checked by pydantic; wrong settings, all of them, are one `Mistake`."""
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, config=CHECKS)
    checked = made.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            checked(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise _mistake(_in_our_words(error, made), cls.__name__) from None

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def component(cls: type[T]) -> type[T]:
    """Makes `cls` a kind of its family: named after its file, frozen, its settings checked."""
    made: Any = settings(cls)
    made.kind = cls.__module__.rpartition(".")[2]
    return made  # type: ignore[no-any-return]


class Settings:
    """What every frozen settings class can do."""

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


class Component(Settings):
    """Settings of one kind: a frozen dataclass whose fields are exactly what a recipe may say."""

    kind: ClassVar[str]

    @classmethod
    def from_text(cls, text: str) -> dict[str, Any]:
        """What a bare word in a recipe means: a kind of this family, unless the family reads it otherwise."""
        return {"kind": text}

    def to_dict(self) -> dict[str, Any]:
        """Every setting as plain values, ready for YAML and JSON."""
        return {"kind": self.kind, **plain(self)}


def plain(value: Any) -> Any:
    """`value` as dictionaries, lists and scalars; settings that are None are left out."""
    if isinstance(value, Component) or dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
        return {k: v.to_dict() if isinstance(v, Component) else plain(v) for k, v in fields.items() if v is not None}
    if isinstance(value, dict):
        return {k: v.to_dict() if isinstance(v, Component) else plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


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
            raise _problem(f"expected a {family.__name__.lower()}, got {value!r}", "Give a kind, or a mapping with `kind:`")
        try:
            cls = find(family, fields.pop("kind"))  # type: ignore[arg-type]  # mypy takes a class for an unhashable dataclass
        except Mistake as mistake:
            raise _problem(mistake.what, mistake.fix) from None
        try:
            return pydantic.TypeAdapter(cls).validate_python(fields)  # type: ignore[no-any-return]
        except pydantic.ValidationError as error:
            raise _in_our_words(error, cls) from None

    return Annotated[family, pydantic.PlainValidator(read), pydantic.WithJsonSchema({"family": family.__name__})]


def read_settings(cls: type[T], values: Any) -> T:
    """`values` (plain) as `cls`; raises one `Mistake` holding every problem with its dotted path."""
    try:
        return pydantic.TypeAdapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        raise _mistake(_in_our_words(error, cls), "") from None


def _problem(what: str, fix: str = "") -> PydanticCustomError:
    return PydanticCustomError("mistake", "{what}", {"what": what, "fix": fix})


def _in_our_words(error: pydantic.ValidationError, cls: Any) -> pydantic.ValidationError:
    """`error` with one line a field: what is wrong and how to mend it. Lines already in our words stay."""
    found: dict[tuple[Any, ...], tuple[str, str]] = {}
    for e in error.errors(include_url=False):
        place, known = _field(e["loc"], cls)
        if e["type"] == "mistake":
            found[e["loc"]] = (e["ctx"]["what"], e["ctx"]["fix"])
        elif "unexpected" in e["type"]:
            found[e["loc"]] = ("unexpected field", did_you_mean(e["loc"][-1], known))
        elif "missing" in e["type"]:
            found[e["loc"]] = ("required", "")
        else:
            words = e["msg"].removeprefix("Value error, ").removeprefix("Input ")
            before = found[place][0].rpartition(", got ")[0] + " or " if place in found else ""
            found[place] = (f"{before}{words}, got {e['input']!r}", "")
    lines = [InitErrorDetails(type=_problem(*words), loc=loc, input=None) for loc, words in found.items()]
    return pydantic.ValidationError.from_exception_data(error.title, lines)


def _field(loc: tuple[Any, ...], cls: Any) -> tuple[tuple[Any, ...], list[str]]:
    """The path down to a field of settings (without pydantic's names of union members), and the fields beside it."""
    fields = {_name(f): f for f in dataclasses.fields(cls)}
    inner = getattr(fields.get(str(loc[0])), "type", None) if loc else None
    inner = get_args(inner)[0] if get_origin(inner) is Annotated else inner
    if len(loc) > 1 and isinstance(inner, type) and dataclasses.is_dataclass(inner):
        place, known = _field(loc[1:], inner)
        return loc[:1] + place, known
    return loc[:1], list(fields)


def _name(field: "dataclasses.Field[Any]") -> str:
    alias = getattr(field.default, "validation_alias", None)
    return str(alias.choices[0]) if alias else field.name


def _mistake(error: pydantic.ValidationError, root: str) -> Mistake:
    paths = [".".join(str(part) for part in (root, *e["loc"]) if part != "") for e in error.errors()]
    return Mistake.together(Mistake(path, e["ctx"]["what"], e["ctx"]["fix"]) for path, e in zip(paths, error.errors(), strict=True))

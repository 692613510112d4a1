"""Settings: frozen dataclasses whose fields pydantic checks; what is wrong, all of it, is one `Mistake` in words for the user."""

import dataclasses
from typing import Annotated, Any, Self, TypeVar, dataclass_transform, get_args, get_origin

import pydantic
import pydantic.dataclasses
from pydantic_core import InitErrorDetails, PydanticCustomError

from omnitune.errors import Mistake, did_you_mean

CHECKS = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_by_name=True, validate_by_alias=True)
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass, checked by pydantic; wrong settings, all of them, are one `Mistake`."""
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, config=CHECKS)
    checked = made.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            checked(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise _mistake(in_our_words(error, made), cls.__name__) from None

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]


class Settings:
    """What every frozen settings class can do."""

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def plain(value: Any) -> Any:
    """`value` as dictionaries, lists and scalars, a component with its `kind`; settings that are None are left out."""
    if dataclasses.is_dataclass(value):
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return kind | {name: plain(inner) for name, inner in fields.items() if inner is not None}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def read_settings(cls: type[T], values: Any) -> T:
    """`values` (plain) as `cls`; raises one `Mistake` holding every problem with its dotted path."""
    try:
        return pydantic.TypeAdapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        raise _mistake(in_our_words(error, cls), "") from None


def problem(what: str, fix: str = "") -> PydanticCustomError:
    """What a validator raises to speak to the user in these words."""
    return PydanticCustomError("mistake", "{what}", {"what": what, "fix": fix})


def in_our_words(error: pydantic.ValidationError, cls: Any) -> pydantic.ValidationError:
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
    lines = [InitErrorDetails(type=problem(*words), loc=loc, input=None) for loc, words in found.items()]
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


def divides_width(heads: int, found: pydantic.ValidationInfo) -> int:
    """Checks a field of heads behind one called `width`."""
    width = found.data.get("width")
    if width and width % heads:
        raise ValueError(f"must divide width {width}")
    return heads

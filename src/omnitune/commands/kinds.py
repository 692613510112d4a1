"""kinds: every kind that a recipe may name, with its settings, read from the components themselves."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from omnitune.component import Component, find
from omnitune.component import kinds as of_family
from omnitune.errors import Mistake, did_you_mean
from omnitune.recipe import FAMILIES
from omnitune.settings import plain

ARGUMENT = re.compile(r"    (\w+): (.*)")


@dataclass(frozen=True)
class Setting:
    """One field of a kind: its type and default as a recipe writes them; `default` is None where there is none and it is `required`."""

    name: str
    type: str
    default: Any
    required: bool
    about: str


@dataclass(frozen=True)
class Kind:
    """One kind of a family, with its settings."""

    family: str
    name: str
    about: str
    settings: tuple[Setting, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.family}): {self.about}"]
        for setting in self.settings:
            end = "required" if setting.required else f"default {written(setting.default)}"
            lines.append(f"  {setting.name}: {setting.type}, {end}\n      {setting.about}".rstrip())
        return "\n".join(lines)


def kinds(word: str | None = None) -> list[Kind]:
    """All kinds, those of a family, or those of one name.

    Raises:
        Mistake: `word` is neither a family nor a kind.
    """
    pairs = [(family, kind) for family in FAMILIES for kind in of_family(FAMILIES[family])]
    chosen = [(family, kind) for family, kind in pairs if word in (None, family, kind)]
    if not chosen:
        raise Mistake("", f"no family or kind called {word!r}", did_you_mean(word, sorted({name for pair in pairs for name in pair})))
    return [_kind(family, find(FAMILIES[family], kind)) for family, kind in chosen]  # type: ignore[arg-type]  # as in component.any_of


def listing(found: list[Kind]) -> str:
    """One line a kind, by family."""
    width = max(len(kind.name) for kind in found)
    lines: list[str] = []
    for family in dict.fromkeys(kind.family for kind in found):
        lines += [family, *(f"  {kind.name:{width}}  {kind.about.partition('. ')[0]}" for kind in found if kind.family == family)]
    return "\n".join(lines)


def _kind(family: str, cls: type[Component]) -> Kind:
    return Kind(family, cls.kind, _documented(cls)[0], described(cls, _beside_fields(FAMILIES[family])))


def described(cls: type, shared: Mapping[str, str] = MappingProxyType({})) -> tuple[Setting, ...]:
    """The settings of a class, those that are required first; `shared` has texts for fields that its docstring leaves out."""
    arguments, fields = _documented(cls)[1], dict[str, Any](cls.__pydantic_fields__)  # type: ignore[attr-defined]
    settings = [
        Setting(
            _spelt(name, field),
            type_words(field.annotation, field.metadata),
            _default(field),
            field.is_required(),
            arguments.get(name) or shared.get(name, ""),
        )
        for name, field in fields.items()
    ]
    return tuple(sorted(settings, key=lambda setting: not setting.required))


def _spelt(name: str, field: Any) -> str:
    """The name that a recipe uses."""
    return str(field.validation_alias.choices[0]) if field.validation_alias else name


def _default(field: Any) -> Any:
    return None if field.is_required() else plain(field.get_default(call_default_factory=True))


def _documented(cls: type) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and its arguments."""
    head, _, rest = (inspect.getdoc(cls) or "").partition("\nArgs:\n")
    arguments: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if match := ARGUMENT.match(line):
            name, arguments[match[1]] = match[1], match[2]
        elif name and line.startswith("        "):
            arguments[name] += " " + line.strip()
        else:
            name = ""
    return " ".join(head.partition("\n\n")[0].split()), arguments


def _beside_fields(family: type) -> dict[str, str]:
    """The texts that stand below the fields a family gives to all its kinds."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(family)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


# Types in words


WORDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true | false", type(None): "nothing", Any: "anything"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}


def type_words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type as a person says it: `whole number, at least 1`."""
    bounds = [f"{word} {getattr(mark, bound)}" for mark in metadata for bound, word in BOUNDS.items() if getattr(mark, bound, None) is not None]
    return ", ".join([_type(annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(inside[0], [mark for one in inside[1:] for mark in getattr(one, "metadata", [one])])
    if origin is Literal:
        return " | ".join(written(value) for value in inside)
    if origin in (Union, UnionType):
        return " | ".join(_type(one) for one in inside)
    if origin in (tuple, list):
        return "list of " + " and ".join(dict.fromkeys(_type(one) for one in inside if one is not Ellipsis))
    if origin is dict:
        return f"mapping of {_type(inside[0])} to {_type(inside[1])}"
    return WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation)).lower()


def written(value: Any) -> str:
    """A value as YAML writes it."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)).removesuffix("...\n").strip()

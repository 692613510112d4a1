"""YAML as recipes use it: values only. No aliases (no bombs), no duplicate keys, no tags; dotted overrides."""

import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from omnitune.errors import Mistake

LARGEST = 1_000_000
"""Bytes; a recipe is a page of text, so a larger file is something else."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise Mistake(_place(mark), "aliases (*name) are not read in recipes", "Write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise Mistake(_place(node.value[i][0].start_mark), f"{key!r} stands twice in one mapping", "Keep one of them")
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-4 as text; everybody means the number.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789."))


def parse(text: str, name: str) -> Any:
    """The value of a YAML text; `name` stands in messages."""
    if len(text) > LARGEST:
        raise Mistake(name, f"is {len(text):,} characters long", "A recipe is a page of YAML; is this another file?")
    try:
        loader = _Loader(text)
        loader.name = name
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Mistake(_place(mark) if mark else name, f"not YAML: {getattr(error, 'problem', error)}") from None
    except ValueError as error:  # of a date such as 2024-13-45
        raise Mistake(name, f"a value cannot be read: {error}", "Put a text that looks like a date or a number into quotes") from None
    except RecursionError:
        raise Mistake(name, "is nested too deeply") from None


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        values = parse(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError:
        raise Mistake(str(path), "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(str(path), f"cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise Mistake(str(path), "does not hold a recipe", "A recipe is a mapping with `data`, `inputs` and `tasks`")
    return values


def write(values: dict[str, Any]) -> str:
    """YAML of plain values, in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=150)


def override(values: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """`values` with `path.to.key=value` applied; each value is read as YAML. Words on the way (`text`) grow into mappings with a kind."""
    changed, wrong = dict(values), []
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals or not path:
            wrong.append(Mistake(change, "not an override", "Write `path.to.field=value`, such as train.lr=1e-4"))
            continue
        _put(changed, path.split("."), parse(value, change))
    if wrong:
        raise Mistake.together(wrong)
    return changed


def _put(mapping: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = mapping.get(key)
        mapping[key] = dict(inner) if isinstance(inner, dict) else {} if inner is None else {"from" if key == "data" else "kind": inner}
        mapping = mapping[key]
    mapping[path[-1]] = value


def _place(mark: Any) -> str:
    return f"{mark.name} line {mark.line + 1}"

"""schema: the JSON schema of recipes, so that editors complete and check them."""

from typing import Any

from pydantic import TypeAdapter

from omnitune.component import Component, find, kinds
from omnitune.recipe import FAMILIES, Recipe


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe with every installed kind."""
    whole = TypeAdapter(Recipe).json_schema()
    definitions = whole.setdefault("$defs", {})
    for family in FAMILIES.values():
        definitions[family.__name__] = _any_of(family, definitions)
    whole["properties"]["data"] = {"anyOf": [{"type": "string"}, whole["properties"]["data"]]}
    return dict(_linked(whole)) | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "omnitune recipe"}


def _any_of(family: type[Component], definitions: dict[str, Any]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [{"type": "string", "examples": list(kinds(family))}]
    for kind in kinds(family):
        one = TypeAdapter(find(family, kind)).json_schema()  # type: ignore[arg-type]  # as in component.any_of
        definitions.update(one.pop("$defs", {}))
        one["properties"] = {"kind": {"const": kind}} | one.get("properties", {})
        one["required"] = ["kind", *one.get("required", [])]
        choices.append(one)
    return {"anyOf": choices}


def _linked(value: Any) -> Any:
    """`value` with each mark that `any_of` left replaced by a reference to its family."""
    if isinstance(value, dict):
        return (
            {"$ref": f"#/$defs/{value['family']}"}
            if set(value) >= {"family"} and value["family"] in _names()
            else {k: _linked(v) for k, v in value.items()}
        )
    return [_linked(v) for v in value] if isinstance(value, list) else value


def _names() -> set[str]:
    return {family.__name__ for family in FAMILIES.values()}

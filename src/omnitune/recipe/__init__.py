"""Recipe, Data, Train: everything a run depends on, as values. Read, overridden, checked."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnitune import yaml_files
from omnitune.recipe.checks import check
from omnitune.recipe.data import Data
from omnitune.recipe.recipe import DEFAULTS, FAMILIES, MAIN, TEMPERATURE, Recipe
from omnitune.recipe.train import Train
from omnitune.settings import read_settings

__all__ = ["FAMILIES", "MAIN", "TEMPERATURE", "Data", "Recipe", "Train", "check", "read"]


def read(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a YAML file or plain values, with dotted overrides. Raises one `Mistake` with everything that is wrong."""
    values = DEFAULTS | (dict(source) if isinstance(source, Mapping) else yaml_files.read(Path(source)))
    recipe = read_settings(Recipe, yaml_files.override(values, overrides))
    check(recipe)
    return recipe

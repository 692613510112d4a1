"""Writes docs/reference.md from the settings themselves: `make reference`. A test fails where the page is out of date."""

from pathlib import Path

from omnitune.commands.kinds import Setting, described, kinds, written
from omnitune.modalities.behaviour import Items
from omnitune.nn.control import Control
from omnitune.recipe import Data, Recipe, Train

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Reference: what a recipe may say

Made by `make reference` from the components; do not edit. `omnitune kinds` shows the same in a terminal, `omnitune schema` as JSON schema.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for cls, title in ((Recipe, "The recipe"), (Data, "`data`"), (Train, "`train`")):
        parts.append(f"## {title}\n\n{table(described(cls))}\n")
    family = ""
    for kind in kinds():
        if kind.family != family:
            family = kind.family
            parts.append(f"## Kinds of {family}\n")
        parts.append(f"### {kind.name}\n\n{kind.about}\n\n{table(kind.settings)}\n" if kind.settings else f"### {kind.name}\n\n{kind.about}\n")
        parts += [f"Its `items`:\n\n{table(described(Items))}\n"] if kind.name == "behaviour" else []
        parts += [f"Its `control`:\n\n{table(described(Control))}\n"] if kind.name == "generate" else []
    return "\n".join(parts)


def table(settings: tuple[Setting, ...]) -> str:
    """One line a setting."""
    lines = ["| setting | type | default | |", "|---|---|---|---|"]
    for setting in settings:
        cells = (f"`{setting.name}`", setting.type, default(setting), setting.about)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def default(setting: Setting) -> str:
    """A default in a cell; those of whole groups of settings stand in their own table."""
    if setting.required:
        return "required"
    return "" if setting.default is None or setting.name == "train" else f"`{written(setting.default)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

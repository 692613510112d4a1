import json

import pytest
from typer.testing import CliRunner

from omnitune.cli import app
from omnitune.commands.kinds import kinds, listing
from omnitune.component import kinds as of_family
from omnitune.errors import Mistake
from omnitune.recipe import FAMILIES


def test_every_kind_of_every_family_is_listed() -> None:
    found = {(kind.family, kind.name) for kind in kinds()}
    assert found == {(name, kind) for name, family in FAMILIES.items() for kind in of_family(family)}
    lines = listing(kinds()).splitlines()
    assert len(lines) == len(found) + len(FAMILIES)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.family}.{kind.name}")
def test_a_kind_and_each_of_its_settings_is_explained(kind) -> None:
    assert kind.about
    assert not [setting.name for setting in kind.settings if not setting.about], "an argument without a line in the docstring"
    assert not [setting for setting in kind.settings if not setting.type or "[" in setting.type or "typing" in setting.type]


def test_types_and_defaults_read_as_in_a_recipe() -> None:
    (lora,) = kinds("lora")
    settings = {setting.name: setting for setting in lora.settings}
    assert settings["rank"].type == "whole number, at least 1" and settings["rank"].default == 8
    (label,) = kinds("label")
    assert label.settings[0].name == "target" and label.settings[0].required
    assert "label (task): " in str(label) and "target: text | list of text" in str(label)


def test_a_family_and_a_kind_by_name_on_the_command_line() -> None:
    done = CliRunner().invoke(app, ["kinds", "tuning", "--json"])
    assert {kind["name"] for kind in json.loads(done.stdout)} == set(of_family(FAMILIES["tuning"]))
    with pytest.raises(Mistake, match="Did you mean 'text'"):
        kinds("txt")
    assert CliRunner().invoke(app, ["kinds", "txt"]).exit_code == 2

"""What every modality keeps to, run over every kind that is found. A new file in `modalities/` is tested here before its author writes a test."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import yaml_files
from omnitune.component import any_of, find, kinds
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.nn.tokens import Tokens
from omnitune.settings import read_settings, settings

CHECKPOINTS: dict[str, Callable[[], Path]] = {"text": checkpoints.tiny_bert, "image": checkpoints.tiny_vit}
"""Small backbones for kinds that have one; other kinds are made with nothing set."""
OTHERS: dict[str, Callable[[], tuple[str, Any]]] = {
    "image of a vit": lambda: ("image", {"kind": "vit", "depth": 2, "width": 32, "heads": 2, "size": 32, "patch": 8}),
    "audio of a whisper": lambda: ("audio", str(checkpoints.tiny_whisper())),
    "audio of a wav2vec2": lambda: ("audio", str(checkpoints.tiny_wav2vec2())),
    "audio of an ast": lambda: ("audio", str(checkpoints.tiny_ast())),
}
"""Further backbones of a kind."""
HARD = [
    "", " \t\n", "7", " 3.5 ", "Größe 服 🎉 \u202e\u0000", "x" * 100_000, "word " * 200_000, "服" * 30_000,
    "half a character \ud800", "[SEP] <|endoftext|>", b"", b"\xff\xd8\xff", b"%!PS-Adobe-3.0", [], [1], {"a": 1}, object(), 1j,
    0, -0.0, 1e308, -1e308, 5e-324, 10**400, True, float("inf"), float("-inf"),
]  # fmt: skip
"""Values that some kind can read and some cannot."""


@settings
class Holder:
    """A field that takes any modality."""

    modality: any_of(Modality)  # type: ignore[valid-type]


class Walked(Sequence[Any]):
    """A column that may only be walked through, as one that does not fit in memory."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("walk, do not jump")


@pytest.fixture(params=[*kinds(Modality), *OTHERS])
def modality(request: pytest.FixtureRequest) -> Modality:
    if request.param in OTHERS:
        kind, backbone = OTHERS[request.param]()
        return read_settings(Holder, {"modality": {"kind": kind, "backbone": backbone}}).modality  # type: ignore[no-any-return]
    cls = find(Modality, request.param)
    return cls(backbone=str(CHECKPOINTS[request.param]())) if request.param in CHECKPOINTS else cls()  # type: ignore[call-arg]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tokens(modality: Modality, values: list[Any], facts: dict[str, Any], seed: int = 0) -> Tokens:
    torch.manual_seed(seed)
    with torch.no_grad():
        made: Tokens = modality.encoder(facts).eval()(modality.encode(values, facts))
    return made


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_settings_survive_yaml(modality: Modality) -> None:
    for one in (modality, modality.replace(column="a b.ü")):
        written = yaml_files.write({"modality": one.to_dict()})
        assert read_settings(Holder, yaml_files.parse(written, "recipe")).modality == one


def test_an_unknown_setting_is_refused(modality: Modality) -> None:
    with pytest.raises(Mistake, match="unexpected field"):
        read_settings(Holder, {"modality": modality.to_dict() | {"colunm": "a"}})


def test_examples_differ_and_pass_the_check(modality: Modality) -> None:
    values = modality.example(20, rng())
    assert len(values) == 20 and all(values[i] != values[k] for i in range(20) for k in range(i))
    assert [modality.check(value) for value in values] == [None] * 20
    assert values == modality.example(20, rng())


@pytest.mark.parametrize("value", [[1], [1j], {"a": 1}, object(), 1j], ids=lambda value: type(value).__name__)
def test_junk_is_refused_with_words(modality: Modality, value: Any) -> None:
    if value == [1] and modality.lists and modality.check(["an id"]) is None:
        pytest.skip("a list of one id is no junk")
    problem = modality.check(value)
    assert isinstance(problem, str) and len(problem) > 10
    assert "0x" not in problem


def test_facts_are_json_and_of_what_was_given_only(modality: Modality) -> None:
    values = [*modality.example(30, rng()), None]
    given = copy.deepcopy(values)
    facts = modality.learn(values)
    assert values == given
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert modality.learn(values) == facts
    assert modality.learn(Walked(values)) == facts


def test_facts_read_back_from_json_encode_the_same(modality: Modality) -> None:
    values = [*modality.example(10, rng()), None]
    facts = modality.learn(values)
    assert same(modality.encode(values, json.loads(json.dumps(facts))), modality.encode(values, facts))


def test_what_a_decoder_made_stands_for_the_file(modality: Modality) -> None:
    values = modality.example(3, rng())
    facts = modality.learn(values)
    for generator in (None, rng):
        decoder = modality.decoder(bool(generator) and modality.augments)
        if decoder:
            made = [decoder.read(value) for value in values]
            assert all(
                array.dtype == np.uint8 and array.flags.c_contiguous and np.array_equal(array, decoder.read(v))
                for array, v in zip(made, values, strict=True)
            )
            json.dumps(decoder.settings)
            given = (modality.encode(some, facts, generator() if generator else None) for some in (made, values))
            assert same(*given)


def test_what_passes_the_check_can_be_read_and_the_rest_is_named(modality: Modality) -> None:
    facts = modality.learn(modality.example(30, rng()))
    module = modality.encoder(facts).eval()
    passed = [value for value in HARD if modality.check(value) is None]
    for value in HARD:
        problem = modality.check(value)
        assert problem is None or (isinstance(problem, str) and 0 < len(problem) < 300)
    for value in passed:
        assert modality.size(value) > 0 and isinstance(modality.size(value), int)
        for generator in (None, rng()):
            with torch.no_grad():
                assert module(modality.encode([value], facts, generator)).x_BLD.isfinite().all()
    json.dumps(modality.learn(passed), allow_nan=False)


def test_hard_values_can_be_learned_from(modality: Modality) -> None:
    passed = [value for value in HARD if modality.check(value) is None] + modality.example(4, rng())
    facts = modality.learn(passed * 2)
    made = tokens(modality, [*passed, None], json.loads(json.dumps(facts)))
    assert made.x_BLD.isfinite().all()


def test_a_column_without_values_is_read(modality: Modality) -> None:
    for column in ([], [None] * 5):
        facts = modality.learn(column)
        json.dumps(facts, allow_nan=False)
        made = tokens(modality, [None] * 3, facts)
        assert made.x_BLD.isfinite().all() and not made.present.any() and not made.pooled().any()
        assert tokens(modality, modality.example(2, rng()), facts).present.all()


def test_missing_values_are_marked_and_say_nothing(modality: Modality) -> None:
    values = modality.example(4, rng())
    facts = modality.learn([*values, None])
    mixed = [values[0], None, values[1], None]
    encoded = modality.encode(mixed, facts)
    assert encoded["present"].dtype == torch.bool and encoded["present"].tolist() == [True, False, True, False]
    made = tokens(modality, mixed, facts)
    assert made.present.tolist() == [True, False, True, False]
    assert not made.pooled()[[1, 3]].any() and made.x_BLD.isfinite().all()


def test_tokens_have_the_form_that_is_promised(modality: Modality) -> None:
    values = modality.example(5, rng())
    facts = modality.learn(values)
    encoded = modality.encode(values, facts)
    assert all(len(tensor) == 5 for tensor in encoded.values())
    module = modality.encoder(facts).eval()
    with torch.no_grad():
        made = module(encoded)
    assert isinstance(made, Tokens)
    assert made.x_BLD.dtype == torch.float32 and made.x_BLD.shape == (*made.mask_BL.shape, module.width)
    assert made.mask_BL.dtype == torch.bool and made.present.all() and made.x_BLD.isfinite().all()


def test_encoding_depends_on_the_values_alone(modality: Modality) -> None:
    values = [*modality.example(6, rng()), None]
    facts, given = modality.learn(values), copy.deepcopy(values)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = modality.encode(values, facts)
    assert same(first, modality.encode(values, facts)) and values == given
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])


def test_augmentation_depends_on_its_generator_alone(modality: Modality) -> None:
    values = [*modality.example(6, rng()), None]
    facts = modality.learn(values * 2)
    plain, first, again = modality.encode(values, facts), modality.encode(values, facts, rng(1)), modality.encode(values, facts, rng(1))
    assert same(first, again)
    assert torch.equal(first["present"], plain["present"])
    assert {name: tensor.dtype for name, tensor in first.items()} == {name: tensor.dtype for name, tensor in plain.items()}


def test_only_what_says_so_augments(modality: Modality) -> None:
    """What a frozen backbone makes of a value is kept where its encoding never changes."""
    values = modality.example(8, np.random.default_rng(0))
    facts = modality.learn(values * 2)
    plain = modality.encode(values, facts)
    seen = (modality.encode(values, facts, rng(seed)) for seed in range(32))  # what is rare shows in one of them
    assert modality.augments == any(not torch.equal(plain[name], one[name]) for one in seen for name in plain)


def test_output_i_belongs_to_input_i(modality: Modality) -> None:
    values = [*modality.example(11, rng()), None]
    facts = modality.learn(values * 2)
    whole = tokens(modality, values, facts).pooled()
    order = rng().permutation(12).tolist()
    torch.testing.assert_close(tokens(modality, [values[i] for i in order], facts).pooled(), whole[order], atol=1e-5, rtol=1e-5)
    for size in (1, 5):
        parts = [tokens(modality, values[i : i + size], facts).pooled() for i in range(0, 12, size)]
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)


def test_different_values_are_told_apart(modality: Modality) -> None:
    values = modality.example(8, rng())
    pooled = tokens(modality, values, modality.learn(values * 2)).pooled()
    apart = torch.cdist(pooled, pooled) + 9 * torch.eye(8)
    assert apart.min() > 1e-3


def test_a_value_unseen_in_training_is_read(modality: Modality) -> None:
    values = modality.example(16, rng())
    facts = modality.learn(values[:8] * 2)
    made = tokens(modality, values[8:], facts)
    assert made.present.all() and made.x_BLD.isfinite().all()


def test_a_skeleton_has_the_same_weights_to_fill(modality: Modality) -> None:
    facts = modality.learn(modality.example(8, rng()))
    full, bare = modality.encoder(facts), modality.skeleton(facts)
    assert {k: v.shape for k, v in full.state_dict().items()} == {k: v.shape for k, v in bare.state_dict().items()}
    assert type(full) is type(bare) and full.width == bare.width
    assert hasattr(full, "backbone") == hasattr(modality, "backbone")


def test_a_seed_decides_first_weights(modality: Modality) -> None:
    values = modality.example(4, rng())
    facts = modality.learn(values * 2)
    assert torch.equal(tokens(modality, values, facts, 3).x_BLD, tokens(modality, values, facts, 3).x_BLD)


def test_nothing_warns(modality: Modality) -> None:
    values = [*modality.example(3, rng()), None, *(value for value in HARD if modality.check(value) is None)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = modality.learn(values)
        modality.encode(values, facts, rng())

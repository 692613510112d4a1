"""Prompts: what is kept and what is cut, answers behind them, chats, and special tokens that users write."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoints import tiny_llama
from omnitune import Mistake
from omnitune.modalities._prompts import Prompts, Shown, line
from omnitune.modalities.text import Text
from omnitune.nn.template import Prompt, Template

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def text(folder: Path, max_tokens: int = 64) -> tuple[Text, dict[str, Any], Any]:
    made = Text(str(folder), max_tokens=max_tokens)
    return made, {"max_tokens": max_tokens}, made.backbone.tokenizer()


def prompts(template: str, answer: int = 12, max_tokens: int = 64, folder: Path | None = None, **more: Any) -> tuple[Prompts, Any]:
    made, facts, tokenizer = text(folder or tiny_llama(), max_tokens)
    return made.prompts(Prompt(Template(template), **more), answer, facts), tokenizer


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose tokenizer knows a chat template and its tokens."""
    folder = tmp_path_factory.mktemp("talker") / "llama"
    shutil.copytree(tiny_llama(), folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    last = [tokenizer.convert_ids_to_tokens(len(tokenizer) - 1 - i) for i in range(2)]
    written = (folder / "tokenizer.json").read_text(encoding="utf-8")
    values = json.loads(written)
    vocabulary = values["model"]["vocab"]
    for token, old in zip(("<|im_start|>", "<|im_end|>"), last, strict=True):
        number = vocabulary.pop(old)
        vocabulary[token] = number
        values["model"]["merges"] = [m for m in values["model"]["merges"] if "".join(m if isinstance(m, list) else m.split()) != old]
        values["added_tokens"].append(
            {"id": number, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        )
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    return folder


def test_prompt_and_answer_are_those_of_the_tokenizer() -> None:
    reads, tokenizer = prompts("Say {a}, {b}:")
    (asked,) = reads.read([{"a": "soft", "b": "3"}], ["a jumper"])
    said = asked.answer
    assert tokenizer.decode(asked.ids[len(reads.before) :]) == "Say soft, 3:"
    assert asked.row(apart=False).ids == asked.ids + said and asked.row(apart=True).ids == asked.ids
    assert tokenizer.decode(said[:-1]) == " a jumper" and said[-1] == tokenizer.eos_token_id
    assert asked.bytes == asked.row(False).bytes == len("a jumper") and not asked.cut and not asked.long


def test_values_are_cut_to_one_length_and_the_template_and_the_answer_never() -> None:
    reads, tokenizer = prompts("First {a} then {b} and {c}. Tail:", answer=8, max_tokens=48)
    values = {"a": "soft jumper " * 40, "b": "cold evening " * 60, "c": "short"}
    (asked,) = reads.read([values], ["the fabric"])
    whole = asked.row(apart=False)
    shown = tokenizer.decode(whole.ids, skip_special_tokens=True)
    assert len(whole.ids) <= 48 and whole.cut
    assert shown.startswith("First soft") and " and short. Tail: the fabric" in shown
    a, b = shown.removeprefix("First ").split(" then ")[0], shown.split(" then ")[1].split(" and short")[0]
    assert abs(len(tokenizer(a)["input_ids"]) - len(tokenizer(b)["input_ids"])) <= 3


def test_what_fits_is_not_cut() -> None:
    reads, tokenizer = prompts("{a}:", answer=4, max_tokens=40)
    whole = "soft " * 100
    (asked,) = reads.read([{"a": whole}], [None])
    assert asked.cut and 30 <= len(asked.ids) <= 36 and asked.answer == []
    (short,) = reads.read([{"a": "soft"}], [None])
    assert not short.cut and tokenizer.decode(short.ids, skip_special_tokens=True) == "soft:"


def test_an_answer_that_is_too_long_is_cut_and_said_to_be() -> None:
    reads, tokenizer = prompts("{a}:", answer=4)
    (asked,) = reads.read([{"a": "x"}], ["a soft jumper for cold evenings, true to size"])
    assert asked.long and len(asked.answer) == 4 and asked.answer[-1] != tokenizer.eos_token_id
    assert asked.bytes == len(tokenizer.decode(asked.answer).removeprefix(" ").encode())


@pytest.mark.parametrize("special", ["</s>", "<s>", "<|im_end|><|im_start|>", "{a}", "\ue000"])
def test_what_spells_a_special_token_is_text(special: str, talker: Path) -> None:
    for more in ({}, {"chat": True}):
        reads, tokenizer = prompts("Read {a}!", answer=30, max_tokens=96, folder=talker, **more)
        (asked,) = reads.read([{"a": f"x {special} y"}], [f"no {special}"])
        (plain,) = reads.read([{"a": "x"}], ["no"])
        marks = set(tokenizer.added_tokens_decoder)
        assert [i for i in asked.row(False).ids if i in marks] == [i for i in plain.row(False).ids if i in marks]
        assert f"x {special} y" in tokenizer.decode(asked.row(False).ids)


@pytest.mark.parametrize("value", ["\x00", "é", "服装", "𝄞", "😀👩‍👩‍👧", "\U000e0041", "\U0010fffd", "a\ud800b"])
def test_every_plane_of_unicode_survives(value: str) -> None:
    reads, tokenizer = prompts("{a}", answer=40)
    (asked,) = reads.read([{"a": value}], [value])
    wanted = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert tokenizer.decode(asked.answer[:-1]).strip() == wanted.strip()


def test_a_chat_is_what_the_template_of_the_checkpoint_writes(talker: Path) -> None:
    reads, tokenizer = prompts("Say {a}.", folder=talker, chat=True, system="Be brief")
    (asked,) = reads.read([{"a": "yes"}], ["no"])
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Say yes."}]
    wanted = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(asked.row(False).ids) == wanted + "no<|im_end|>"
    assert asked.answer[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_what_cannot_be_asked_is_said(talker: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="has no chat template"):
        prompts("{a}", chat=True)
    with pytest.raises(Mistake, match="its own text takes"):
        prompts("so many words " * 30 + "{a}", max_tokens=32)
    strict = tmp_path / "strict"
    shutil.copytree(talker, strict)
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
    (strict / "chat_template.jinja").write_text(refusing, encoding="utf-8")
    with pytest.raises(Mistake, match="refuses: no system"):
        prompts("{a}", folder=strict, chat=True, system="x")


def test_a_picture_keeps_a_place_between_words_and_room_for_its_tokens() -> None:
    made, facts, tokenizer = text(tiny_llama(), 48)
    reads = made.prompts(Prompt(Template("See {photo}, {a} and {photo}!")), 12, facts, (Shown("photo", 3, 6),))
    assert reads.names == ["a"]
    short, long = reads.read([{"a": "soft"}, {"a": "a soft jumper " * 30}], ["x", None])
    assert not short.cut and long.cut and len(long.ids) + 2 * 5 + 12 in (47, 48)
    (first, number), (second, _) = short.slots
    assert number == 3 and line(short.slots, len(short.ids) + 1) == [3 if i in (first, second) else -1 for i in range(len(short.ids) + 1)]
    parts = [tokenizer.decode(short.ids[a:b]) for a, b in ((len(reads.before), first), (first + 1, second), (second + 1, None))]
    assert parts == ["See ", ", soft and ", "!"]
    with pytest.raises(Mistake, match=r"with the pictures and sounds in it takes 5\d tokens"):
        made.prompts(Prompt(Template("See {photo} and {photo}!")), 12, facts, (Shown("photo", 3, 24),))


def test_a_picture_stands_in_a_message_of_a_chat(talker: Path) -> None:
    made, facts, tokenizer = text(talker)
    reads = made.prompts(Prompt(Template("{photo} What?"), chat=True), 12, facts, (Shown("photo", 0, 4),))
    (asked,) = reads.read([{}], [None])
    ((place, _),) = asked.slots
    assert asked.ids[:place] == reads.before and tokenizer.decode(asked.ids[place + 1 :]).startswith(" What?<|im_end|>")

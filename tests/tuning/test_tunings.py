"""Tunings: which weights learn, per architecture; LoRA merges, saves, loads, and is PEFT's own format."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.nn.encoder import Encoder
from omnitune.tuning import Tuning
from omnitune.tuning.auto import Auto
from omnitune.tuning.bias import Bias
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA
from omnitune.tuning.probe import Probe

pytestmark = pytest.mark.slow

NAMES = [name for name in checkpoints.ALL if name not in ("roberta", "distilbert", "qwen3")]  # twins of BERT and Llama
LAYERS = {  # the endings LoRA finds
    "bert": "query key value dense",
    "gpt2": "c_attn c_proj c_fc",
    "llama": "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    "vit": "q_proj k_proj v_proj o_proj fc1 fc2",
    "clip": "q_proj k_proj v_proj out_proj fc1 fc2",
    "whisper": "q_proj k_proj v_proj out_proj fc1 fc2",
    "efficientnet": "expand_conv project_conv expand reduce",
}


def encoder(name: str) -> Encoder:
    return Pretrained(str(checkpoints.ALL[name]())).encoder()


def learning(made: Encoder) -> set[str]:
    return {name for name, p in made.named_parameters() if p.requires_grad}


def tuned(name: str, tuning: Tuning) -> Encoder:
    made = encoder(name)
    tuning.apply(made)
    return made


def adapted(name: str, **settings: object) -> Encoder:
    """An adapter that changes the answers."""
    made = tuned(name, LoRA(rank=2, **settings))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for parameter, weight in made.named_parameters():
            if "lora_" in parameter:
                weight.normal_(std=0.05)
    return made.eval()


@torch.no_grad()
def answers(made: Encoder, name: str) -> torch.Tensor:
    return made.eval()(**checkpoints.inputs(name)).x_BLD


@pytest.mark.parametrize("tuning", [Full(), Freeze(2), Bias(), LoRA(rank=2)], ids=lambda tuning: tuning.kind)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_all_that_learns_and_nothing_else(name: str, tuning: Tuning) -> None:
    made = tuned(name, tuning)
    tokens = made.train()(**checkpoints.inputs(name)).x_BLD
    (tokens * torch.randn_like(tokens)).sum().backward()
    reached = {parameter for parameter, p in made.named_parameters() if p.grad is not None}
    assert reached == learning(made) != set()


@pytest.mark.parametrize("name", NAMES)
def test_what_learns(name: str) -> None:
    made = encoder(name)
    every, top = {n for n, _ in made.weights()}, len(made.blocks)
    Full().apply(made)
    assert learning(made) == every
    Probe().apply(made)
    assert learning(made) == set()
    Full().apply(made)
    Auto().apply(made)
    assert learning(made) == set(), "the ladder starts with the heads"
    Freeze(1).apply(made)
    assert learning(made) == {n for n in every if made.depth(n) >= top}
    assert {made.depth(n) for n in learning(made)} >= {top}
    Bias().apply(made)
    biases = {n for n in every if n.endswith("bias")}
    assert biases <= learning(made) and all(p.ndim == 1 for p in made.parameters() if p.requires_grad)
    assert any("norm" in n.lower() or "ln_" in n or "bn" in n for n in learning(made))
    with pytest.raises(Mistake, match=r"tuning\.blocks"):
        Freeze(top + 1).apply(made)


def test_only_what_no_answer_reads_stays_behind_in_full() -> None:
    kept = {name: {n for n, _ in encoder(name).named_parameters()} - learning(tuned(name, Full())) for name in NAMES}
    assert {name: found for name, found in kept.items() if found} == {"dinov2": {"model.embeddings.mask_token"}}


@pytest.mark.parametrize("name", LAYERS)
def test_lora_finds_the_layers(name: str) -> None:
    made = tuned(name, LoRA(rank=2))
    found = {n.split(".lora_")[0].removeprefix("model.") for n in learning(made)}
    assert {layer.rpartition(".")[2] for layer in found} == set(LAYERS[name].split())
    assert all(layer.startswith(tuple(made.names)) for layer in found)
    assert {made.depth(n) for n in learning(made)} == set(range(1, len(made.blocks) + 1))


def test_lora_settings() -> None:
    made = tuned("bert", LoRA(rank=4, targets=("query", "attention.output.dense"), blocks=1, dropout=0.1))
    config = made.model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.1)
    layers = {n.split(".lora_")[0].removeprefix("model.encoder.layer.") for n in learning(made)}
    assert layers == {"2.attention.self.query", "2.attention.output.dense"}
    assert tuned("bert", LoRA(alpha=3.0)).model.peft_config["default"].lora_alpha == 3.0
    with pytest.raises(Mistake, match="Did you mean 'query'"):
        LoRA(targets=("quary",)).apply(encoder("bert"))
    with pytest.raises(Mistake, match=r"tuning\.blocks"):
        LoRA(blocks=4).apply(encoder("bert"))
    for wrong in ({"rank": 0}, {"dropout": 1.0}, {"alpha": 0}, {"blocks": 0}):
        with pytest.raises(Mistake, match=next(iter(wrong))):
            LoRA(**wrong)


def test_lora_starts_as_the_checkpoint() -> None:
    assert torch.equal(answers(tuned("bert", LoRA()), "bert"), answers(encoder("bert"), "bert"))


@pytest.mark.parametrize("name", NAMES)
def test_merged_answers_are_the_same(name: str) -> None:
    made = adapted(name)
    before, plain = answers(made, name), answers(encoder(name), name)
    made.merge()
    torch.testing.assert_close(answers(made, name), before, atol=1e-5, rtol=1e-5)
    assert (before - plain).abs().max() > 1e-3
    assert made.state_dict().keys() == encoder(name).state_dict().keys() and not made.adapted


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers in the old way
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_adapter_is_read_by_peft_and_by_us(name: str, tmp_path: Path) -> None:
    made = adapted(name)
    made.save(tmp_path, weights=False)
    assert not (tmp_path / "model.safetensors").exists()
    again = encoder(name)
    again.load(tmp_path)
    assert again.adapted and torch.equal(answers(again, name), answers(made, name))
    theirs = encoder(name)
    theirs.model = PeftModel.from_pretrained(theirs.model, str(tmp_path)).base_model.model
    torch.testing.assert_close(answers(theirs, name), answers(made, name))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "clip"])
def test_base_and_adapter_go_into_a_skeleton(name: str, tmp_path: Path) -> None:
    made = adapted(name)
    made.save(tmp_path, weights=True)
    again = Pretrained(str(tmp_path)).skeleton()
    again.load(tmp_path)
    assert torch.equal(answers(again, name), answers(made, name))
    torch.testing.assert_close(answers(Pretrained(str(tmp_path)).encoder(), name), answers(made, name), atol=1e-5, rtol=1e-5)
    again.merge()
    torch.testing.assert_close(answers(again, name), answers(made, name), atol=1e-5, rtol=1e-5)


def test_an_adapter_says_what_it_belongs_to_and_no_path(tmp_path: Path) -> None:
    adapted("bert").save(tmp_path, weights=False)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None and config["peft_type"] == "LORA"


def test_damaged_adapters_are_refused(tmp_path: Path) -> None:
    adapted("bert").save(tmp_path, weights=False)
    file = tmp_path / "adapter_model.safetensors"
    content = file.read_bytes()
    weights = {key: value.clone() for key, value in load_file(file).items()}  # not mapped to the file that is rewritten below
    first = next(iter(weights))
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(Mistake, match=r"adapter_model\.safetensors"):
        encoder("bert").load(tmp_path)
    for wrong in (
        {k: v for k, v in weights.items() if k != first},
        weights | {"base_model.model.other.lora_A.weight": weights[first].clone()},
        weights | {first: weights[first][:, :-1].contiguous()},
        weights | {first: weights[first] * float("nan")},
    ):
        save_file(wrong, file, {"format": "pt"})
        with pytest.raises(Mistake, match=r"adapter_model\.safetensors"):
            encoder("bert").load(tmp_path)
    file.write_bytes(content)
    with pytest.raises(Mistake, match=r"adapter_model\.safetensors"):
        encoder("distilbert").load(tmp_path)

"""Backbones that come with an adapter: it is added to their weights, wherever these lie."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import checkpoints
from omnitune import Artifact, fit, samples
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.recipe import Recipe, read

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
ROWS = [{"text": f"{text}, {i}", "mood": "ab"[i % 2]} for i, text in enumerate(checkpoints.SENTENCES * 20)]


def language(backbone: str, *overrides: str) -> Recipe:
    values = {
        "data": {"from": ROWS},
        "inputs": {"text": {"kind": "text", "backbone": backbone, "max_tokens": 24}},
        "tasks": {"language": {"kind": "generate", "of": "text"}},
        "tuning": "lora",
        "train": {"epochs": 2, "lr": 0.01, "batch": 16},
    }
    return read(values, overrides)


@torch.no_grad()
def tokens(encoder: Any) -> torch.Tensor:
    encoder.eval()
    found: torch.Tensor = encoder(input_ids=torch.arange(2, 10)[None], attention_mask=torch.ones(1, 8, dtype=torch.int64)).x_BLD
    return found


def tuned(run: Artifact) -> torch.Tensor:
    return tokens(next(iter(run.model.backbones.values())))


def test_a_run_that_was_tuned_by_adapters_is_a_backbone_with_what_it_learned(tmp_path: Path) -> None:
    llama = str(checkpoints.tiny_llama())
    run = fit(language(llama), tmp_path / "run")
    found = tokens(Pretrained(str(tmp_path / "run")).encoder())
    torch.testing.assert_close(found, tuned(run), rtol=1e-5, atol=1e-5)
    assert (found - tokens(Pretrained(llama).encoder())).abs().max() > 0.1
    again = fit(language(str(tmp_path / "run"), "train.lr=1e-9", "train.epochs=1"), tmp_path / "again")
    torch.testing.assert_close(tuned(again), found, rtol=1e-4, atol=1e-4)


def test_an_adapter_alone_finds_the_weights_that_it_was_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "path", lambda name: checkpoints.tiny_llama())
    run = fit(language("sample:smollm2-135m"), tmp_path / "run")
    (folder,) = (tmp_path / "run" / "inputs").iterdir()
    assert not (folder / "model.safetensors").exists()
    torch.testing.assert_close(tokens(Pretrained(str(folder)).encoder()), tuned(run), rtol=1e-5, atol=1e-5)
    shutil.rmtree(tmp_path / "alone", ignore_errors=True)
    alone = shutil.copytree(folder, tmp_path / "alone")
    config = (alone / "adapter_config.json").read_text()
    (alone / "adapter_config.json").write_text(config.replace('"sample:smollm2-135m"', "null"))
    with pytest.raises(Mistake, match="names no base_model_name_or_path"):
        Pretrained(str(alone)).encoder()


def test_an_adapter_that_peft_trained_around_the_whole_model(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints.tiny_llama(), tmp_path / "llama")
    whole: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder), LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    whole.save_pretrained(folder)
    with torch.no_grad():
        wanted = whole.base_model.model.model(input_ids=torch.arange(2, 10)[None]).last_hidden_state
    torch.testing.assert_close(tokens(Pretrained(str(folder)).encoder()), wanted, rtol=1e-5, atol=1e-5)


def test_an_adapter_of_another_model_is_told(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints.tiny_llama(), tmp_path / "llama")
    other: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(checkpoints.tiny_gpt2()), LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    )
    other.save_pretrained(folder)
    with pytest.raises(Mistake, match=r"no adapter for this model|do not fit this model"):
        Pretrained(str(folder)).encoder()


def test_a_probe_with_nothing_to_learn_is_refused_and_a_ladder_begins_above_it(tmp_path: Path) -> None:
    llama = str(checkpoints.tiny_llama())
    with pytest.raises(Mistake, match="tuning: probe leaves the backbone as it is, and no weight of language"):
        fit(language(llama, "tuning=probe"), tmp_path / "probe")
    climbed = fit(language(llama, "tuning=auto", "train.epochs=1"), tmp_path / "auto")
    assert (tuned(climbed) - tokens(Pretrained(llama).encoder())).abs().max() > 1e-4

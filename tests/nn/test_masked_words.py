"""The layers by which families say hidden words: found, read from checkpoints, written as transformers reads them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear
from transformers import AutoModelForMaskedLM

import berts
import checkpoints
from gpts import randomised
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.encoder import Encoder
from omnitune.nn.masked_words import MaskedWords, family

SIZES = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIGS: dict[str, dict[str, Any]] = {
    "Bert": SIZES, "Roberta": SIZES, "XLMRoberta": SIZES, "Camembert": SIZES, "MPNet": SIZES, "DebertaV2": SIZES, "MegatronBert": SIZES,
    "DistilBert": {"vocab_size": 61, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}, "Electra": SIZES | {"embedding_size": 16},
    "Albert": SIZES | {"embedding_size": 16}, "ModernBert": SIZES | dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id"), 0),
    "NomicBert": SIZES,
}  # fmt: skip
WITHOUT = {"XLM": {"emb_dim": 32, "n_heads": 4}, "T5": {"d_model": 32}, "GPT2": {"n_embd": 32, "n_head": 4}, "MobileBert": {}, "Funnel": {}}


def config(name: str, **settings: Any) -> Any:
    return getattr(transformers, f"{name}Config")(**settings)


def rows() -> dict[str, torch.Tensor]:
    made = berts.rows([9, 5])
    return {name: made[name] for name in ("input_ids", "attention_mask")}


def logits(made: Encoder, words: MaskedWords) -> torch.Tensor:
    """Of real tokens."""
    tokens = made(**rows())
    return linear(words(tokens.x_BLD[tokens.mask_BL]), made.model.get_input_embeddings().weight, words.bias)


def of_transformers(folder: Path) -> torch.Tensor:
    found: torch.Tensor = AutoModelForMaskedLM.from_pretrained(folder).eval()(**rows()).logits[rows()["attention_mask"].bool()]
    return found


def pretrained(folder: Path) -> Encoder:
    return Pretrained(str(folder)).encoder()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_checkpoint_says_words_as_transformers_says_them_and_is_saved_so(name: str, tmp_path: Path) -> None:
    theirs = randomised(AutoModelForMaskedLM.from_config(config(name, **CONFIGS[name])))
    theirs.save_pretrained(tmp_path / "theirs")
    made = pretrained(tmp_path / "theirs")
    words = MaskedWords(made)
    assert words.family is not None
    torch.testing.assert_close(logits(made, words), of_transformers(tmp_path / "theirs"), rtol=1e-4, atol=1e-4)
    randomised(words, seed=1)
    made.save(tmp_path / "ours", weights=True, words=words)
    wanted = logits(made, words)
    torch.testing.assert_close(of_transformers(tmp_path / "ours"), wanted, rtol=1e-4, atol=1e-4)
    files = [load_file(tmp_path / name / "model.safetensors").keys() for name in ("theirs", "ours")]
    assert files[0] == files[1]
    again = pretrained(tmp_path / "ours")
    assert torch.equal(logits(again, MaskedWords(again)), wanted)


@pytest.mark.parametrize(("name", "wanted"), [("Albert", "tanh"), ("Bert", "none")])
def test_one_gelu_is_never_taken_for_the_other(name: str, wanted: str) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        found = family(config(name, **CONFIGS[name]))
        assert found is not None and found.layers[1].approximate == wanted, seed


def test_a_bert_from_nothing_is_saved_with_what_says_words(tmp_path: Path) -> None:
    made = Encoder(berts.base(), "mean")
    words = MaskedWords(made)
    assert float(words.layers[0].weight.detach().std()) == pytest.approx(0.02, rel=0.2) and not words.bias.any()
    randomised(words)
    state = torch.get_rng_state()
    made.save(tmp_path, weights=True, words=words)
    assert torch.equal(torch.get_rng_state(), state), "saving draws no random number"
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "BertForMaskedLM"
    torch.testing.assert_close(of_transformers(tmp_path), logits(made, words), rtol=1e-5, atol=1e-5)
    again = pretrained(tmp_path)
    torch.testing.assert_close(logits(again, MaskedWords(again)), logits(made, words), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(WITHOUT))
def test_families_that_say_words_otherwise_are_told_apart(name: str) -> None:
    assert family(config(name, **WITHOUT[name])) is None


def test_other_families_learn_it_as_bert_does_and_are_saved_without(tmp_path: Path) -> None:
    made = pretrained(checkpoints.tiny_t5())
    words = MaskedWords(made)
    assert words.family is None and words.layers[0].weight.shape == (32, 32)
    made.save(tmp_path, weights=True, words=words)
    assert torch.equal(pretrained(tmp_path)(**rows()).x_BLD, made(**rows()).x_BLD)


def test_names_of_the_first_checkpoints_are_known_and_half_a_head_is_none(tmp_path: Path) -> None:
    shutil.copytree(checkpoints.tiny_bert(), tmp_path / "old")
    path = tmp_path / "old" / "model.safetensors"
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for name, t in load_file(path).items()
    }
    path.unlink()
    save_file(state, path, {"format": "pt"})
    wanted = load_file(checkpoints.tiny_bert() / "model.safetensors")
    words = MaskedWords(pretrained(tmp_path / "old"))
    assert torch.equal(words.layers[2].weight, wanted["cls.predictions.transform.LayerNorm.weight"])
    assert torch.equal(words.layers[2].bias, wanted["cls.predictions.transform.LayerNorm.bias"])
    assert torch.equal(words.bias, wanted["cls.predictions.bias"])
    del state["cls.predictions.bias"]
    path.unlink()
    save_file(state, path, {"format": "pt"})
    words = MaskedWords(pretrained(tmp_path / "old"))
    assert not words.bias.any() and not torch.equal(words.layers[0].weight, wanted["cls.predictions.transform.dense.weight"])

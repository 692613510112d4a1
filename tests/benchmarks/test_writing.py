"""The races of what writes, on tiny models: sides do the same work, and tables say what was measured. Never a time."""

import json
import re
import shutil
from pathlib import Path

import pytest
import race_generate
import race_tune
import races
import torch
from transformers import AutoModelForCausalLM

import checkpoints
from omnitune.training.model import Model

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a race keeps in a cache of its own is forgotten."""
    monkeypatch.setenv("OMNITUNE_CACHE", "")


def test_a_table_has_medians_shares_and_ranges() -> None:
    done = {"omnitune": [races.Done(10, s, ("a", "b")) for s in (1, 2, 5)], "other": [races.Done(10, s, ("a", "c"), "slow") for s in (2, 10, 5)]}
    made = races.table(races.Race("job", "tokens", 50.0, {}), done)
    assert "limit 50.0 tokens/s" in made
    assert "| omnitune | 5.0 | 10% | 1.00x (1.00 - 1.00) | 100% |" in made
    assert "| other | 2.0 | 4% | 2.00x (1.00 - 5.00) | 50% | slow |" in made


@pytest.mark.slow
def test_all_sides_write_the_same(tmp_path: Path) -> None:
    shutil.copytree(checkpoints.tiny_llama(), tmp_path / "model")
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):  # a review has many bytes
        place = tmp_path / "model" / name
        place.write_text(json.dumps(json.loads(place.read_text()) | {key: 600}))
    race = race_generate.race(race_generate.Size(str(tmp_path / "model"), prompts=20, tokens=6))
    done = {name: side() for name, side in race.sides.items()}
    assert len({one.said for one in done.values()}) == 1 and len({one.amount for one in done.values()}) == 1
    assert len(next(iter(done.values())).said) == 20 and race.limit > 0


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [None, 1])
def test_both_sides_learn_from_the_same_tokens(blocks: int | None) -> None:
    backbone = str(checkpoints.tiny_llama())
    size = race_tune.Size(backbone, rows=12, batch=4, blocks=blocks)
    prepared = race_tune.prepared_for(size)
    model, theirs = Model(prepared.recipe, prepared.schema).eval(), AutoModelForCausalLM.from_pretrained(backbone, dtype=torch.float32).eval()
    rows = race_tune.token_rows(prepared, size)
    question = next(iter(prepared.batches("train", 4, 0).epoch()))
    loss = model.losses(question)["title"].mean
    torch.testing.assert_close(loss, theirs(**race_tune.padded(rows[:4])).loss, rtol=1e-4, atol=1e-5)
    made = races.run(race_tune.race(size), 1)
    assert re.search(r"\| Trainer and PEFT \| [\d,.]+ \| \d+% \|", made) and made.count("mean loss") == 2

"""The whole way on real input: real reviews, the real MiniLM, real weights. The floors lie between what works and what is broken."""

from pathlib import Path

import pytest

from omnitune.commands.fit import fit
from omnitune.recipe import read

pytestmark = pytest.mark.slow

RECIPE = {
    "data": {"from": "sample:women-reviews#1000", "split": [0.6, 0.1, 0.3]},
    "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": 64}, "age": "number", "department": "category"},
    "tasks": {
        "recommended": {"kind": "classify", "target": "recommended"},
        "rating": {"kind": "regress", "target": "rating", "weight": 0.3},
    },
    "tuning": {"kind": "freeze", "blocks": 2},
    "train": {"epochs": 2},
}


def test_fine_tuning_minilm_on_real_reviews_beats_what_a_broken_part_could_reach(tmp_path: Path) -> None:
    """A head that is broken or frozen, or labels that do not belong to their rows, end near an AUROC of .5 and an R2 of 0."""
    run = fit(read(RECIPE), tmp_path / "run")
    report = run.report
    auroc, before = report.value("recommended", "auroc"), report.tasks["recommended"]["metrics"]["models"]["before"]["auroc"]["value"]
    assert auroc > 0.82, f"AUROC {auroc}, probe {before}"
    assert report.value("rating", "r2") > 0.15
    said = run.predict([
        {"text": "I love this dress. It fits perfectly, the fabric is beautiful, I get compliments every time.", "age": 40, "department": "Dresses"},
        {"text": "Terrible. It fell apart, looks cheap, does not fit at all and I returned it.", "age": 40, "department": "Dresses"},
    ])  # fmt: skip
    assert said[0]["recommended"]["probabilities"]["1"] > said[1]["recommended"]["probabilities"]["1"] + 0.1
    assert said[0]["rating"]["value"] > said[1]["rating"]["value"]


def test_the_real_weights_are_the_checkpoints() -> None:
    import torch
    from safetensors.torch import load_file

    from omnitune import samples
    from omnitune.backbones.pretrained import Pretrained

    ours = Pretrained("sample:minilm-l6").encoder().model.state_dict()
    theirs = load_file(samples.path("minilm-l6") / "model.safetensors")
    theirs = {name.removeprefix("bert."): weight for name, weight in theirs.items()}
    assert len(ours) > 90
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name].to(weight.dtype), rtol=0, atol=0)

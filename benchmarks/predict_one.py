"""One short text through a model that is loaded, against tokenizer and backbone alone: what reading, checking, heads and decoding add.

python benchmarks/predict_one.py
"""

import tempfile
from pathlib import Path

import torch
from _timing import interleaved, table
from transformers import AutoModel, AutoTokenizer

from omnitune import fit, samples
from omnitune.recipe import read

TEXT = "Runs small, but the fabric is lovely and it washes well."
RECIPE = {
    "data": "sample:women-reviews#300",
    "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6"}},
    "tasks": {"recommended": {"kind": "classify", "target": "recommended"}},
    "tuning": "probe",
    "train": {"epochs": 1},
}

if __name__ == "__main__":
    folder = samples.path("minilm-l6")
    tokenizer, bare = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def alone() -> None:
        bare(**tokenizer(TEXT, return_tensors="pt")).last_hidden_state.mean(1)

    with tempfile.TemporaryDirectory() as place:
        artifact = fit(read(RECIPE), Path(place) / "run")
        print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}")
        print(table(interleaved({"transformers alone": alone, "omnitune predict": lambda: artifact.predict({"text": TEXT})}, rounds=50, warm_up=5)))

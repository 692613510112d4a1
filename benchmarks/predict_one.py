"""One short text through a model that is loaded, against its own forward pass, and against tokenizer and backbone of transformers.

python benchmarks/predict_one.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from _timing import interleaved, table
from transformers import AutoModel, AutoTokenizer

from omnitune import fit, samples
from omnitune.data.batches import encode
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
        batch = encode(artifact.recipe, artifact.schema, np.arange(1), lambda name: [TEXT])

        @torch.inference_mode()
        def forward() -> None:
            artifact.model.predict(batch)

        cases = {
            "omnitune forward alone": forward,
            "omnitune predict": lambda: artifact.predict({"text": TEXT}),
            "omnitune predict int8": lambda: artifact.predict({"text": TEXT}, int8=True),
            "transformers alone": alone,
        }
        print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}")
        print(table(interleaved(cases, rounds=200, warm_up=5)))

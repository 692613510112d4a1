"""AutoGluon MultiModal on a table of several kinds of columns, in an environment of its own (`make bench-automl`):

    python peers/automl_table.py WORK.json OUT.json

The models that it takes for texts, numbers and categories (a Transformer for the text, FT-Transformer for the columns, a perceptron over
both), with its own rates, schedule and averaging. It is told the backbone and that it is pooled by the mean, the length of texts, epochs,
batches, the validation rows, and the kinds of columns. Importing and a first small fit are not timed.
"""

import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from table_work import TableWork, Y, few

from peers.automl import declared

TYPES = {"text": "text", "number": "numerical", "category": "categorical"}


def run(work: TableWork) -> list[float]:
    """Trains; the probability of class 1, or the value, of every test row."""
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    frames = {part: pd.DataFrame(getattr(work, part)) for part in ("train", "validation", "test")}
    classes = work.form == "classes"
    with tempfile.TemporaryDirectory() as place:
        predictor = MultiModalPredictor(label=Y, problem_type="binary" if classes else "regression", path=f"{place}/run", verbosity=0)
        predictor.fit(
            frames["train"], tuning_data=frames["validation"], seed=work.seed, save_path=f"{place}/run",
            column_types={name: TYPES[kind] for name, kind in work.kinds.items()},
            hyperparameters={
                "model.names": ["ft_transformer", "hf_text", "fusion_mlp"], "model.hf_text.checkpoint_name": work.backbone,
                "model.hf_text.max_text_len": work.tokens, "model.hf_text.pooling_mode": "mean", "optim.max_epochs": work.epochs,
                "env.batch_size": work.batch, "env.per_gpu_batch_size": work.batch, "env.inference_batch_size_ratio": 1, "env.num_gpus": 0,
                "env.precision": 32, "env.num_workers": 0, "env.num_workers_inference": 0,
            },
        )  # fmt: skip
        asked = frames["test"].drop(columns=Y)
        said: Any = predictor.predict_proba(asked, as_pandas=False)[:, 1] if classes else predictor.predict(asked, as_pandas=False)
        return [float(value) for value in said]


def main(given: str, out: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    keep = declared()
    work = TableWork.read(Path(given))
    torch.set_num_threads(work.threads)
    run(TableWork(**vars(work) | {part: few(getattr(work, part), work.form) for part in ("train", "validation", "test")} | {"epochs": 1}))
    wall, cpu = time.perf_counter(), time.process_time()
    said = run(work)
    took = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    from autogluon.multimodal import __version__

    Path(out).write_text(json.dumps({"said": said, "version": f"autogluon.multimodal {__version__}"} | took), encoding="utf-8")
    del keep


if __name__ == "__main__":
    main(*sys.argv[1:])

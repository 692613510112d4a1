"""AutoGluon MultiModal, in an environment of its own (`make bench-automl`): python peers/automl.py WORK.json ANSWERS.json

The same backbone, rows, rates and epochs; mean pooling instead of its default, since MiniLM is a mean-pooled model; its own validation rows given
to it instead of a share of the training rows; one validation an epoch, the best weights kept, both as omnitune does on this job. All else is
its default, which reads a batch without regard to length. Importing and a first small fit are not timed.
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

from work import Rows, Work, peak_mb

OPERATORS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))
"""torchvision built for CUDA declares them only where it finds it; on a torch for CPUs its import stops without them. None is called here."""


def declared() -> Any:
    """Keeps the declarations alive."""
    library = torch.library.Library("torchvision", "DEF")
    for schema in OPERATORS:
        library.define(schema)
    return library


def run(work: Work) -> list[int]:
    """Trains on the training rows; the classes it says of the test rows."""
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    def frame(rows: Rows) -> Any:
        return pd.DataFrame({"text": rows.values, "y": rows.y})

    with tempfile.TemporaryDirectory() as place:
        predictor = MultiModalPredictor(label="y", problem_type="binary", eval_metric="accuracy", path=f"{place}/run", verbosity=0)
        predictor.fit(
            frame(work.train), tuning_data=frame(work.validation), seed=work.seed, save_path=f"{place}/run",
            hyperparameters={
                "model.names": ["hf_text"], "model.hf_text.checkpoint_name": work.backbone, "model.hf_text.max_text_len": work.tokens,
                "model.hf_text.pooling_mode": "mean", "optim.max_epochs": int(work.epochs), "optim.lr": work.lr, "optim.lr_choice": "single_stage",
                "optim.weight_decay": work.weight_decay, "optim.warmup_steps": work.warmup, "optim.val_check_interval": 1.0,
                "optim.patience": int(work.epochs) + 1, "optim.top_k": 1, "env.batch_size": work.batch, "env.per_gpu_batch_size": work.batch,
                "env.inference_batch_size_ratio": 1, "env.num_gpus": 0, "env.precision": 32, "env.num_workers": 0, "env.num_workers_inference": 0,
            },
        )  # fmt: skip
        return [int(k) for k in predictor.predict(frame(work.test).drop(columns="y"), as_pandas=False)]


def main(given: str, out: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    keep = declared()
    work = Work.read(Path(given))
    torch.set_num_threads(work.threads)
    few = {part: Rows(rows.values[:40], rows.y[:40]) for part, rows in (("train", work.train), ("validation", work.validation), ("test", work.test))}
    few["train"].y[:2] = few["validation"].y[:2] = [0, 1]
    run(Work(**vars(work) | few | {"epochs": 1}))
    began = time.perf_counter()
    said = run(work)
    from autogluon.multimodal import __version__

    found = {"said": said, "seconds": time.perf_counter() - began, "peak_mb": peak_mb(), "version": __version__}
    Path(out).write_text(json.dumps(found), encoding="utf-8")
    del keep


if __name__ == "__main__":
    main(*sys.argv[1:])

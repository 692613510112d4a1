"""pytorch-widedeep on a table of several kinds of columns, in an environment of its own (`make bench-widedeep`):

    python peers/widedeep.py WORK.json OUT.json

A perceptron over embedded categories and scaled numbers (`TabMlp`) beside a model of the text: `rnn` learns words from nothing, built as
in the authors' example for this table; `hf` is its `HFModel` with the backbone, whose last two blocks learn. `HFModel` makes a model of a
checkpoint's configuration and leaves its weights out (1.7.0); they are put into it here. The best round on validation is kept. Importing
and a first small fit are not timed.
"""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from table_work import TableWork, Y, few

from peers.automl import declared

PARTS = ("train", "validation", "test")
PATIENCE = 3
RATES = {"rnn": 1e-3, "hf": 5e-4}
"""Of the text; all else learns at 1e-3, the tool's default."""


def run(work: TableWork) -> list[float]:
    """Trains; the probability of class 1, or the value, of every test row."""
    import pandas as pd
    from pytorch_widedeep import Trainer
    from pytorch_widedeep.callbacks import EarlyStopping
    from pytorch_widedeep.models import TabMlp, WideDeep
    from pytorch_widedeep.preprocessing import TabPreprocessor

    torch.manual_seed(work.seed)
    (text,), classes = work.of("text"), work.form == "classes"
    frames = {part: pd.DataFrame(getattr(work, part)).fillna(dict.fromkeys((text, *work.of("category")), "")) for part in PARTS}
    scale = (0.0, 1.0) if classes else (float(np.mean(work.train[Y])), float(np.std(work.train[Y])))
    table = TabPreprocessor(cat_embed_cols=work.of("category"), continuous_cols=work.of("number"), cols_to_scale=work.of("number"), verbose=0)
    x_table = {"train": table.fit_transform(frames["train"])} | {part: table.transform(frames[part]) for part in PARTS[1:]}
    with tempfile.TemporaryDirectory() as place:
        x_text, reads = _text(work, frames, text, Path(place))
    of_table = TabMlp(table.column_idx, cat_embed_input=table.cat_embed_input, continuous_cols=work.of("number"), mlp_hidden_dims=[64, 32])
    model = WideDeep(deeptabular=of_table, deeptext=reads)
    rates = {"deeptabular": 1e-3, "deeptext": RATES[work.variant]}
    trainer = Trainer(
        model, objective="binary" if classes else "regression", seed=work.seed, verbose=0, num_workers=0, device="cpu",
        optimizers={name: torch.optim.AdamW([p for p in getattr(model, name).parameters() if p.requires_grad], lr) for name, lr in rates.items()},
        callbacks=[EarlyStopping(patience=PATIENCE, restore_best_weights=True)],
    )  # fmt: skip
    y = {part: (np.array(getattr(work, part)[Y]) - scale[0]) / scale[1] for part in PARTS}
    known = {part: {"X_tab": x_table[part], "X_text": x_text[part], "target": y[part]} for part in PARTS[:2]}
    trainer.fit(X_train=known["train"], X_val=known["validation"], n_epochs=work.epochs, batch_size=work.batch)
    asked = {"X_tab": x_table["test"], "X_text": x_text["test"], "batch_size": work.batch}
    said: Any = trainer.predict_proba(**asked)[:, 1] if classes else trainer.predict(**asked) * scale[1] + scale[0]
    return [float(value) for value in np.ravel(said)]


def _text(work: TableWork, frames: dict[str, Any], column: str, place: Path) -> tuple[dict[str, Any], Any]:
    """Of every part the text as numbers, and the model that reads them."""
    if work.variant == "rnn":
        from pytorch_widedeep.models import BasicRNN
        from pytorch_widedeep.preprocessing import TextPreprocessor

        reader = TextPreprocessor(text_col=column, max_vocab=5000, min_freq=5, maxlen=work.tokens, n_cpus=1, verbose=0)
        read = {"train": reader.fit_transform(frames["train"])} | {part: reader.transform(frames[part]) for part in PARTS[1:]}
        return read, BasicRNN(len(reader.vocab.itos), embed_dim=300, hidden_dim=64, n_layers=3, rnn_dropout=0.2, head_hidden_dims=[32])
    from pytorch_widedeep.models import HFModel
    from transformers import AutoModel, AutoTokenizer

    named = place / "bert"  # the tool knows a family by the name alone
    named.symlink_to(work.backbone, target_is_directory=True)
    tokenizer = AutoTokenizer.from_pretrained(work.backbone)
    told = {"padding": "max_length", "truncation": True, "max_length": work.tokens, "return_tensors": "np"}
    read = {part: tokenizer(frames[part][column].tolist(), **told)["input_ids"] for part in PARTS}
    weights = AutoModel.from_pretrained(work.backbone).state_dict()
    last = max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    reads = HFModel(str(named), use_cls_token=False, trainable_parameters=[f"encoder.layer.{last - 1}.", f"encoder.layer.{last}."])
    reads.model.load_state_dict(weights)  # it makes the model of the configuration, with random weights
    return read, reads


def main(given: str, out: str) -> None:
    warnings.simplefilter("ignore")
    keep = declared()
    work = TableWork.read(Path(given))
    torch.set_num_threads(work.threads)
    run(TableWork(**vars(work) | {part: few(getattr(work, part), work.form) for part in PARTS} | {"epochs": 1}))
    wall, cpu = time.perf_counter(), time.process_time()
    said = run(work)
    took = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    from importlib.metadata import version

    Path(out).write_text(json.dumps({"said": said, "version": f"pytorch-widedeep {version('pytorch-widedeep')}"} | took), encoding="utf-8")
    del keep


if __name__ == "__main__":
    main(*sys.argv[1:])

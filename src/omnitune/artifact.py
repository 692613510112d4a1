"""Artifact: a saved model as a directory. Load it anywhere, predict with it.

recipe.yaml   schema.json   lineage.json   model.safetensors (heads, fusion, small encoders)
inputs/NAME/  a Hugging Face directory for every backbone: configuration, tokenizer or picture processor, and weights or an adapter
report.json   report.md   report.html   README.md (model card)   log.csv   predictions.parquet
SHA256SUMS    of all files that `load` reads
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from omnitune import checksums, yaml_files
from omnitune.backbones.pretrained import Pretrained
from omnitune.data.schema import Schema
from omnitune.embedding import Embedder, comparing
from omnitune.errors import Mistake
from omnitune.evaluation.report import Report
from omnitune.nn.encoder import Encoder
from omnitune.nn.int8 import quantised
from omnitune.nn.writing import Sampling
from omnitune.prediction import Predictor
from omnitune.recipe import Recipe
from omnitune.rounding import Rounding, on_given, on_test
from omnitune.settings import read_settings
from omnitune.training import checkpoint
from omnitune.training.device import best_device, precision
from omnitune.training.model import Model, slug
from omnitune.training.writing import GREEDY

FORMAT = 2


@dataclass(frozen=True)
class Artifact:
    """A trained model with all that is known of it.

    Args:
        path: its directory.
        recipe: complete, as trained.
        schema: what was counted on the training rows.
        model: in evaluation mode, adapters merged.
        lineage: fingerprints of recipe, data and schema, the checkpoints it builds on, versions.
    """

    path: Path
    recipe: Recipe
    schema: Schema
    model: Model
    lineage: dict[str, Any]

    @cached_property
    def report(self) -> Report:
        """The measurement made at the end of training."""
        return Report.read(self.path)

    def predict(self, rows: Any, batch: int = 32, int8: bool = False, weights: bool = False, sampling: Sampling | None = None) -> Any:
        """Answers in the order of the rows: `{task: {"value": ..., "probabilities": {...}}}` each, or `{"error": why}` for an unreadable row.

        Args:
            rows: one row (a mapping; gives one answer), a list of rows, a table or data frame, or the path of a file.
            batch: rows of middling length that are computed together; of long texts fewer, of short ones more.
            int8: linear layers of backbones multiply in 8 bits, on a CPU; `rounding` tells what that changes. Nothing saved is touched.
            weights: each task's answer also has `weights`, how much each input counted; for fusions that weigh them (`gated`, `late`).
            sampling: how tasks with a prompt choose the tokens of their texts; the likeliest always where it is left out.
        """
        answers = list(self.stream(rows, batch, int8, weights, sampling))
        return answers[0] if isinstance(rows, Mapping) and len(answers) == 1 else answers

    def stream(
        self, rows: Any, batch: int = 32, int8: bool = False, weights: bool = False, sampling: Sampling | None = None
    ) -> Iterator[dict[str, Any]]:
        """As `predict`, one answer after the other; rows may be an endless iterator."""
        return self._predictor(batch, int8, weights, sampling)(rows)

    def embedder(self, of: str, task: str | None = None, batch: int = 32) -> Embedder:
        """What makes vectors of the values of one input, which a task compares.

        Args:
            of: the input.
            task: that compares it; may be left out where only one does.
            batch: as for `predict`.

        Raises:
            Mistake: no task compares that input, or several do.
        """
        there = precision(self.model.device) if self.recipe.train.precision != "float32" else "float32"
        return Embedder(self.model, self.recipe, self.schema, there, comparing(self.recipe, of, task), of, batch)

    def rounding(self, rows: Any = None) -> dict[str, Rounding]:
        """What int8 changes in the answers of every task, on up to 200 rows: of the run's test rows with their true answers, or of `rows`.

        Raises:
            Mistake: `rows` is left out, and the run has no test rows or its data are not there as they were in training.
        """
        whole, rounded = self._predictor(32, False), self._predictor(32, True)
        return on_test(whole, rounded, self.path, self.lineage["table"]) if rows is None else on_given(whole, rounded, rows)

    def _predictor(self, batch: int, int8: bool, weights: bool = False, sampling: Sampling | None = None) -> Predictor:
        asked = self.recipe.train.precision  # as it was measured, where this device can
        there = asked if asked == "float32" or int8 else precision(self.model.device)
        return Predictor(self._int8 if int8 else self.model, self.recipe, self.schema, there, batch, weights, sampling or GREEDY)

    @cached_property
    def _int8(self) -> Model:
        made: Model = quantised(self.model, [f"encoders.{slug(name)}.backbone.model" for name in self.model.backbones])
        return made


def save(folder: Path, recipe: Recipe, schema: Schema, model: Model, lineage: dict[str, Any]) -> None:
    """Writes everything but the report. Weights of a frozen backbone stay away where its name finds them on any machine."""
    recipe.write(folder / "recipe.yaml")
    (folder / "schema.json").write_text(schema.to_json(), encoding="utf-8")
    bases = {}
    for name, encoder in model.backbones.items():
        backbone, target = recipe.inputs[name].backbone, folder / "inputs" / slug(name)
        target.mkdir(parents=True, exist_ok=True)
        backbone.save_processor(target, schema.inputs[name])
        kept = portable(backbone) and not learned(encoder)
        if encoder.lm_head is not None:
            backbone.save_words(target)
        encoder.save(target, weights=not kept, words=model.words(name))
        bases[name] = {"checkpoint": backbone.to_dict(), "pool": encoder.pool, "stored": not kept, "sha256": lineage["bases"][name]}
    checkpoint.save(folder / "model.safetensors", _own(model), {"format": "pt"})
    facts = lineage | {"format": FORMAT, "bases": bases, "versions": versions(), "recipe": recipe.fingerprint, "schema": schema.fingerprint}
    (folder / "config.json").write_text(json.dumps({"model_type": "omnitune", "omnitune_version": version("omnitune")}), encoding="utf-8")
    part = folder / "lineage.json.part"
    part.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    checksums.note(folder, _read_again(folder) | {"lineage.json": part})
    part.replace(folder / "lineage.json")  # in one step and last: where it stands, the run is whole


def load(path: str | Path, device: torch.device | None = None) -> Artifact:
    """A saved model, ready to predict; needs no training data.

    Raises:
        Mistake: there is no finished model, a file is damaged, or a checkpoint it builds on is another one today.
    """
    folder = Path(path)
    if not (folder / "lineage.json").exists():
        unfinished = (folder / "resume.safetensors").exists()
        fix = "Its training has not ended: `omnitune fit ... --resume` goes on" if unfinished else "Give the folder that `fit` wrote"
        fix += "".join(f"; the best so far is {whole.parent}" for whole in folder.glob("rungs/*/lineage.json"))
        raise Mistake(str(path), "no finished model here", fix)
    checksums.verify(folder)
    lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    if lineage["format"] != FORMAT:
        raise Mistake(str(path), f"is of format {lineage['format']}; this version reads {FORMAT}", "Use the omnitune that wrote it")
    schema = Schema.from_json((folder / "schema.json").read_text(encoding="utf-8"))
    saved = read_settings(Recipe, yaml_files.read(folder / "recipe.yaml"))
    stored = {name for name, base in lineage["bases"].items() if base["stored"]}
    model = Model(_located(saved, folder, lineage), schema, skeletons=stored)
    for name, encoder in model.backbones.items():
        if name not in stored and digest(encoder) != lineage["bases"][name]["sha256"]:
            named = lineage["bases"][name]["checkpoint"].get("name")
            raise Mistake(f"inputs.{name}", f"checkpoint {named!r} has other weights than in training", "Bring back that version of it")
        encoder.load(folder / "inputs" / slug(name))
        encoder.merge()
    _fill(model, folder / "model.safetensors")
    return Artifact(folder, saved, schema, model.to(device or best_device()).eval().requires_grad_(False), lineage)


def _read_again(folder: Path) -> dict[str, Path]:
    """Files that `load` reads. Weights of backbones have their checksums beside them, and are not to be read twice."""
    inside = [path for path in sorted((folder / "inputs").rglob("*")) if path.is_file() and not path.match("model*.safetensors")]
    own = [folder / name for name in ("recipe.yaml", "schema.json", "model.safetensors")]
    return {path.relative_to(folder).as_posix(): path for path in (*own, *inside)}


def portable(backbone: Any) -> bool:
    """Whether another machine finds the checkpoint by its name."""
    return isinstance(backbone, Pretrained) and not Path(backbone.name).expanduser().exists()


def learned(encoder: Encoder) -> bool:
    """Whether weights of the checkpoint itself, not only adapters beside them, learn."""
    return any(p.requires_grad and "lora_" not in name for name, p in encoder.named_parameters())


def digest(encoder: Encoder) -> str:
    """SHA-256 of a checkpoint's weights."""
    total, own = hashlib.sha256(), encoder.lm_head.state() if encoder.lm_head else {}
    for name, tensor in [*sorted(encoder.model.state_dict().items()), *sorted(own.items())]:
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {name: version(name) for name in ("omnitune", "torch", "transformers", "tokenizers", "peft")}


def _located(recipe: Recipe, folder: Path, lineage: dict[str, Any]) -> Recipe:
    """The recipe with stored backbones read from the artifact's own folder."""
    inputs = dict(recipe.inputs)
    for name, base in lineage["bases"].items():
        if base["stored"]:
            stored = Pretrained(str(folder / "inputs" / slug(name)), pool=base["pool"])
            inputs |= {of: inputs[of].replace(backbone=stored) for of in recipe.readers[name]}
    return recipe.replace(inputs=inputs)


def _own(model: Model) -> dict[str, Tensor]:
    """The weights outside backbones."""
    inside = tuple(f"encoders.{slug(name)}.backbone." for name in model.backbones)
    return {name: t for name, t in model.state_dict().items() if not name.startswith(inside or ("\0",))}


def _fill(model: Model, path: Path) -> None:
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise Mistake(str(path), f"damaged: {error}", "Copy the artifact again") from None
    own = _own(model)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in weights.items()}:
        raise Mistake(str(path), "does not fit the recipe beside it", "Copy the artifact again")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])

"""The transformers Trainer, with PEFT for adapters, as a good user runs it.

Batches of like length, no padding beyond the batch, SDPA, fused AdamW that spares vectors from decay, texts tokenised and pictures decoded and
resized once before training, labels of test rows predicted longest first. The model is what its users write: backbone, mean of the tokens (of a
ViT the class token, of a decoder the last one), one linear head. Dropout is the checkpoint's; while training, the Trainer keeps a frozen backbone
in training mode, as it does with every model. `still` takes it out of it, which few users know to do.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from work import Rows, Work

READERS = 4
DECODERS = ("llama",)
"""Their last token stands for a row."""


class Classifier(nn.Module):
    """Backbone, pooling, one linear layer.

    Args:
        backbone: of texts (mean of the tokens) or pictures (class token).
        classes: of the head.
        still: keep what is frozen in evaluation mode.
    """

    def __init__(self, backbone: nn.Module, classes: int, still: bool = False) -> None:
        super().__init__()
        self.backbone, self.still = backbone, still
        self.decodes = backbone.config.model_type in DECODERS
        self.head = nn.Linear(backbone.config.hidden_size, classes)

    def train(self, mode: bool = True) -> "Classifier":
        """Training mode; with `still`, not of the embeddings and blocks in which nothing learns."""
        super().train(mode)
        for part in (self.backbone.embeddings, *layers(self.backbone)) if self.still else ():
            if not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self

    def forward(self, labels: Tensor | None = None, attention_mask: Tensor | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        """`logits` (B, classes), and `loss` where labels are given."""
        if attention_mask is None:
            pooled = self.backbone(**inputs).last_hidden_state[:, 0]
        else:
            x_BLD = self.backbone(attention_mask=attention_mask, **inputs).last_hidden_state
            mask = attention_mask[..., None].to(x_BLD.dtype)
            pooled = x_BLD[range(len(mask)), attention_mask.sum(1) - 1] if self.decodes else (x_BLD * mask).sum(1) / mask.sum(1)
        logits = self.head(pooled)
        return {"logits": logits} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def run(work: Work, still: bool = False) -> list[int]:
    """Trains on the training rows; the classes it says of the test rows."""
    with tempfile.TemporaryDirectory() as place:
        trainer, read = made(work, place, still, use_cpu=True)
        trainer.train()
        trainer.args.train_sampling_strategy = "random"  # else it would shuffle the test rows by length too, and answer in that order
        test = read(work.test)
        order = sorted(range(len(test)), key=lambda i: -len(test[i].get("input_ids", ())))
        found = trainer.predict([test[i] for i in order]).predictions.argmax(1)
    said = np.empty(len(test), np.int64)
    said[order] = found
    return [int(k) for k in said]


def made(work: Work, place: str, still: bool = False, **where: Any) -> tuple[Trainer, Callable[[Rows], Any]]:
    """A Trainer before its first step, and what makes its rows; `where` says what to compute on, as its arguments do."""
    torch.manual_seed(work.seed)
    model = classifier(work, still)
    read, collate = _texts(work) if work.kind == "text" else _pictures(work)
    optimizer = torch.optim.AdamW(_groups(model, work), fused=True)
    grouped = {"train_sampling_strategy": "group_by_length"} if work.kind == "text" else {}
    arguments = TrainingArguments(
        place, num_train_epochs=work.epochs, per_device_train_batch_size=work.batch, per_device_eval_batch_size=work.batch,
        lr_scheduler_type="cosine", warmup_steps=work.warmup, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        seed=work.seed, remove_unused_columns=False, **grouped, **where,
    )  # fmt: skip
    trainer = Trainer(model, arguments, collate, train_dataset=read(work.train), optimizers=(optimizer, None))
    trainer.remove_callback(PrinterCallback)
    return trainer, read


def classifier(work: Work, still: bool = False) -> Classifier:
    """The model before its first step, with what learns set."""
    backbone = AutoModel.from_pretrained(work.backbone, **_without_pooler(work.backbone))
    kind = work.tuning["kind"]
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        rank, blocks = work.tuning["rank"], layers(backbone)
        upper = {m for block in blocks[len(blocks) - (work.tuning.get("blocks") or len(blocks)) :] for m in block.modules()}
        names = [name for name, m in backbone.named_modules() if m in upper and isinstance(m, nn.Linear)]
        backbone = get_peft_model(backbone, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names))
    elif kind != "full":
        backbone.requires_grad_(False)
        blocks = layers(backbone)
        for block in blocks[len(blocks) - work.tuning.get("blocks", 0) :]:
            block.requires_grad_(True)
        for name, parameter in backbone.named_parameters():  # what comes after the blocks learns with them, as in omnitune
            if kind == "freeze" and name.startswith("layernorm."):
                parameter.requires_grad_(True)
    return Classifier(backbone, 1 + max(work.train.y), still)


def layers(backbone: nn.Module) -> nn.ModuleList:
    """Its blocks."""
    return next(m for m in backbone.modules() if isinstance(m, nn.ModuleList))


def _without_pooler(folder: str) -> dict[str, Any]:
    """No layer that only `pooler_output` reads, where the family can leave it out."""
    import inspect

    from transformers import MODEL_MAPPING

    made = MODEL_MAPPING[type(AutoConfig.from_pretrained(folder))]
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(made).parameters else {}


def _groups(model: Classifier, work: Work) -> list[dict[str, Any]]:
    made: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = work.head_lr if name.startswith("head.") else work.lr
            made.setdefault((rate, work.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": some, "lr": rate, "weight_decay": decay} for (rate, decay), some in made.items()]


def _texts(work: Work) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(work.backbone)

    def read(rows: Rows) -> list[dict[str, Any]]:
        encoded = tokenizer(rows.values, truncation=True, max_length=work.tokens)["input_ids"]
        return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": y} for ids, y in zip(encoded, rows.y, strict=True)]

    return read, DataCollatorWithPadding(tokenizer)


def _pictures(work: Work) -> tuple[Any, Any]:
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    processor: Any = AutoImageProcessor.from_pretrained(work.backbone)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (processor.image_mean, processor.image_std))

    def picture(path: str) -> Tensor:
        with Image.open(Path(path)) as file:
            pixels = processor(file.convert("RGB"), do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]
        return pixels.to(torch.uint8)

    def read(rows: Rows) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(READERS) as pool:
            return [{"pixels": pixels, "labels": y} for pixels, y in zip(pool.map(picture, rows.values), rows.y, strict=True)]

    def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        pixels = torch.stack([row["pixels"] for row in rows]).float() / 255
        return {"pixel_values": (pixels - mean) / std, "labels": torch.tensor([row["labels"] for row in rows])}

    return read, collate

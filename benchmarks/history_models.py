"""The models of the history and the sizes they are made at."""

from dataclasses import dataclass
from typing import Any

TEXT = "sample:cmake-manual"
Values = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """What all models share.

    Args:
        depth, width: of blocks.
        context: tokens at once.
        vocabulary: words of the tokenizer.
        batch: rows of full length a step.
        documents: that are read.
        minutes: of training, where all have the same.
        labelled: rows of the downstream tasks.
        lr: of pre-training.
        text: where the documents are.
    """

    depth: int
    width: int
    context: int
    vocabulary: int
    batch: int
    documents: int
    minutes: float
    labelled: int
    lr: float
    text: str = TEXT


SIZES = {
    "tiny": Size(3, 192, 64, 2048, 16, 400, 0.4, 1000, 2e-3),
    "small": Size(4, 256, 128, 4096, 16, 600, 2.0, 2000, 1e-3),
    "medium": Size(8, 512, 256, 8192, 16, 1817, 30.0, 8000, 6e-4),
    "gpt2": Size(12, 768, 512, 32_000, 64, 1817, 30.0, 20_000, 3e-4),
}


@dataclass(frozen=True)
class Entry:
    """A generation.

    Args:
        paper: of it.
        backbone: settings beside those of the size.
        task: its objective.
        width: its width as a share of the others', so that all hold about as many weights.
        rate: its learning rate as a share of the others'; norms behind the layers bear less.
    """

    paper: str
    backbone: Values
    task: str = "generate"
    width: float = 1.0
    rate: float = 1.0


MODELS = {
    "GPT-1": Entry("Radford et al. 2018", {"kind": "gpt", "generation": "gpt1"}, rate=0.5),
    "BERT": Entry("Devlin et al. 2019", {"kind": "bert"}, "masked_text", rate=0.5),
    "Transformer-XL": Entry("Dai et al. 2019", {"kind": "transformer_xl"}, width=0.96875),
    "GPT-2": Entry("Radford et al. 2019", {"kind": "gpt", "generation": "gpt2"}),
    "GPT-3": Entry("Brown et al. 2020", {"kind": "gpt", "generation": "gpt3"}),
    "modern": Entry("Touvron et al. 2023", {"kind": "gpt", "generation": "modern"}),
}


def backbone(name: str, size: Size) -> Values:
    """Settings of a model from nothing."""
    heads = max(1, size.width // 64)
    width = round(size.width * MODELS[name].width / heads / 2) * heads * 2
    own = {"depth": size.depth, "width": width, "heads": heads, "vocabulary": size.vocabulary}
    reads = {"segment": size.context, "memory": size.context} if name == "Transformer-XL" else {"context": size.context}
    bands = {"window": size.context // 4} if name == "GPT-3" else {}  # the library's own 256 would hold a whole context here
    return own | reads | bands | MODELS[name].backbone

"""Small BERTs with weights large enough for differences to show."""

from typing import Any

import torch

from gpts import randomised
from omnitune.nn.bert import BERT, BERTForMaskedLM, BERTForPreTraining
from omnitune.nn.bert_config import BERTConfig

VOCAB, PAD = 61, 0


def config(**more: Any) -> BERTConfig:
    sizes: dict[str, Any] = {"depth": 4, "width": 32, "heads": 4, "context": 48, "vocab": VOCAB, "pad": PAD}
    return BERTConfig.of(**sizes | more)


def base(pooled: bool = False, **more: Any) -> BERT:
    return randomised(BERT(config(**more), pooled))  # type: ignore[no-any-return]


def masked(**more: Any) -> BERTForMaskedLM:
    return randomised(BERTForMaskedLM(config(**more)))  # type: ignore[no-any-return]


def pretraining(**more: Any) -> BERTForPreTraining:
    return randomised(BERTForPreTraining(config(**more)))  # type: ignore[no-any-return]


def rows(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Token ids, their mask and their types (the second half of a row is of type 1), (B, L) each."""
    random, L = torch.Generator().manual_seed(seed), max(lengths)
    place, length = torch.arange(L), torch.tensor(lengths)[:, None]
    mask = place < length
    ids = torch.randint(2, VOCAB, mask.shape, generator=random) * mask
    return {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": ((place >= length // 2) & mask).long()}


def labels(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Every third word is asked for; -100 elsewhere."""
    asked = (torch.arange(ids.shape[1]) % 3 == 0) & mask.bool()
    return ids.roll(1, 0).clamp(min=1).masked_fill(~asked, -100)

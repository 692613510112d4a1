"""The transformers pipeline for text classification, with batches: texts as they come, or sorted by length first.

The model is the same as omnitune's: the same backbone, the mean of the tokens, and the head that omnitune trained, so that both say the same.
"""

import logging
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel, pipeline
from transformers import logging as transformers_logging
from transformers.modeling_outputs import SequenceClassifierOutput
from work import Work


class Pooled(PreTrainedModel):
    """Backbone, mean of the tokens, linear head; as `AutoModelForSequenceClassification` answers."""

    config_class = PretrainedConfig

    def __init__(self, config: Any, backbone: Any, head: dict[str, Tensor]) -> None:
        super().__init__(config)
        self.backbone = backbone
        self.head = torch.nn.Linear(head["weight"].shape[1], head["weight"].shape[0])
        self.head.load_state_dict(head)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> SequenceClassifierOutput:
        """Logits (B, classes)."""
        x_BLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask[..., None].to(x_BLD.dtype)
        return SequenceClassifierOutput(logits=self.head((x_BLD * mask).sum(1) / mask.sum(1)))


class Loaded:
    """A pipeline that is ready; loading is not timed, on either side."""

    def __init__(self, work: Work) -> None:
        head = load_file(work.head)
        classes = len(head["bias"])
        config = AutoConfig.from_pretrained(work.backbone, num_labels=classes)
        model = Pooled(config, AutoModel.from_pretrained(work.backbone, add_pooling_layer=False), head).eval()
        tokenizer = AutoTokenizer.from_pretrained(work.backbone)
        level = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity(logging.CRITICAL)  # it calls a class that it does not know an error, and goes on
        self.pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
        transformers_logging.set_verbosity(level)
        self.names, self.batch, self.tokens = {name: i for i, name in config.id2label.items()}, work.batch, work.tokens

    def __call__(self, texts: list[str], by_length: bool = False) -> list[int]:
        """The class of every text."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i])) if by_length else list(range(len(texts)))
        found = self.pipe([texts[i] for i in order], batch_size=self.batch, truncation=True, max_length=self.tokens)
        said = [0] * len(texts)
        for i, answer in zip(order, found, strict=True):
            said[i] = self.names[answer["label"]]
        return said

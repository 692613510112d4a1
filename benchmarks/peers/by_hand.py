"""What a user who knows that a frozen backbone always says the same writes by hand: features once, then scikit-learn's logistic regression.

Batches sorted by length, evaluation mode, no graph. It keeps nothing for a second run, and is tied to this one kind of head.
"""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from work import Work


def run(work: Work) -> list[int]:
    """Trains on the training rows; the classes it says of the test rows."""
    tokenizer = AutoTokenizer.from_pretrained(work.backbone)
    backbone = AutoModel.from_pretrained(work.backbone, add_pooling_layer=False).eval()

    @torch.inference_mode()
    def features(texts: list[str]) -> Tensor:
        encoded = tokenizer(texts, truncation=True, max_length=work.tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
        made = torch.empty(len(texts), backbone.config.hidden_size)
        for start in range(0, len(order), work.batch):
            places = order[start : start + work.batch]
            batch = tokenizer.pad({"input_ids": [encoded[i] for i in places]}, return_tensors="pt")
            mask = batch["attention_mask"][..., None].float()
            x_BLD = backbone(**batch).last_hidden_state
            made[places] = (x_BLD * mask).sum(1) / mask.sum(1)
        return made

    scale = StandardScaler()
    x = scale.fit_transform(features(work.train.values).numpy())
    head = LogisticRegression(max_iter=1000, random_state=work.seed).fit(x, work.train.y)
    return [int(k) for k in head.predict(scale.transform(features(work.test.values).numpy()))]

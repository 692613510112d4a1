"""BERT against transformers' BertModel, BertForMaskedLM and BertForPreTraining with the same weights, in both directions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
)

import berts
from gpts import randomised
from omnitune.errors import Mistake
from omnitune.nn.bert import BERT, BERTForMaskedLM, BERTForPreTraining
from omnitune.nn.bert_files import CLASSES, from_transformers, to_transformers

MAKERS = {"BERT": berts.base, "BERTForMaskedLM": berts.masked, "BERTForPreTraining": berts.pretraining}
LOGITS = ("logits", "prediction_logits", "seq_relationship_logits")
every = pytest.mark.parametrize("name", list(CLASSES))
lengths = pytest.mark.parametrize("sizes", [[9, 9, 9], [9, 4, 1]], ids=["whole", "padded"])


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def told(out: Any, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a model says of real tokens and of rows."""
    found = {name: out[name] for name in (*LOGITS, "last_hidden_state", "pooler_output") if name in out}
    return {name: t[mask.bool()] if t.ndim == 3 else t for name, t in found.items()}


def gradients(model: Any, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    asked = {"labels": berts.labels(rows["input_ids"], rows["attention_mask"])}
    if "PreTraining" in type(model).__name__:
        asked["next_sentence_label"] = torch.tensor([0, 1, 1])
    loss = model(**rows, **asked).loss
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad for name, p in model.named_parameters()}


@lengths
@pytest.mark.parametrize("pooled", [False, True])
def test_hidden_states_of_every_layer(pooled: bool, sizes: list[int]) -> None:
    ours, rows = berts.base(pooled), berts.rows(sizes)
    theirs, real = to_transformers(ours), rows["attention_mask"].bool()
    assert type(theirs) is BertModel and (theirs.pooler is not None) == pooled
    found, wanted = (model(**rows, output_hidden_states=True) for model in (ours, theirs))
    assert len(found.hidden_states) == len(wanted.hidden_states) == 5
    for x, y in zip([*found.hidden_states, found.last_hidden_state], [*wanted.hidden_states, wanted.last_hidden_state], strict=True):
        close(x[real], y[real])
    assert not pooled or found.pooler_output.shape == (3, 32)
    if pooled:
        close(found.pooler_output, wanted.pooler_output)
    del rows["token_type_ids"]
    close(ours(**rows).last_hidden_state[real], theirs(**rows).last_hidden_state[real])


@lengths
@pytest.mark.parametrize("name", ["BERTForMaskedLM", "BERTForPreTraining"])
def test_logits_and_gradients_both_ways(name: str, sizes: list[int]) -> None:
    ours, rows = MAKERS[name](), berts.rows(sizes)
    theirs: Any = to_transformers(ours)
    assert type(theirs).__name__ == CLASSES[name]
    assert theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    back, mask = from_transformers(theirs), rows["attention_mask"]
    said = [told(model(**rows), mask) for model in (ours, theirs, back)]
    for key, x in said[0].items():
        close(x, said[1][key])
        assert torch.equal(x, said[2][key])

    found, wanted, again = (gradients(model, rows) for model in (ours, theirs, back))
    with torch.no_grad():
        for key, weight in theirs.named_parameters():
            weight.copy_(wanted[key])
    turned = dict(from_transformers(theirs).named_parameters())  # their gradients under our names
    assert found.keys() == again.keys() == turned.keys() | {"loss"}
    close(found["loss"], wanted["loss"])
    for key, weight in turned.items():
        close(found[key], weight)
        close(again[key], weight)


@pytest.mark.parametrize("made", [BertModel, BertForMaskedLM, BertForPreTraining])
def test_a_model_of_transformers_and_back(made: Any) -> None:
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3, "max_position_embeddings": 32}
    theirs = randomised(made(BertConfig(vocab_size=50, **sizes, hidden_dropout_prob=0.3, type_vocab_size=3, layer_norm_eps=1e-3)))
    ours, ids = from_transformers(theirs), torch.arange(20).view(2, 10)
    assert type(ours).__name__ == {theirs: ours for ours, theirs in CLASSES.items()}[made.__name__]
    for key, x in told(ours(ids), torch.ones(2, 10)).items():
        close(x, told(theirs(ids), torch.ones(2, 10))[key])
    back = to_transformers(ours)
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for key, weight in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[key], weight), key
    changed = {key: value for key, value in back.config.to_diff_dict().items() if theirs.config.to_diff_dict().get(key) != value}
    assert not changed.keys() - {"architectures", "dtype"}


@every
def test_the_folder_is_that_of_transformers(name: str, tmp_path: Path) -> None:
    ours, rows = MAKERS[name](), berts.rows([9, 5])
    state = torch.get_rng_state()
    ours.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "saving draws no random number"
    auto: Any = {"BERT": AutoModel, "BERTForMaskedLM": AutoModelForMaskedLM, "BERTForPreTraining": AutoModelForPreTraining}[name]
    theirs = auto.from_pretrained(tmp_path, **({"add_pooling_layer": False} if name == "BERT" else {})).eval()
    assert type(theirs).__name__ == CLASSES[name] and theirs.config.architectures == [CLASSES[name]]
    said, wanted = (told(model(**rows), rows["attention_mask"]) for model in (theirs, ours))
    for key, x in wanted.items():
        close(said[key], x)
    again = {"BERT": BERT, "BERTForMaskedLM": BERTForMaskedLM, "BERTForPreTraining": BERTForPreTraining}[name].from_pretrained(tmp_path).eval()
    assert type(again).__name__ == name
    for key, x in told(again(**rows), rows["attention_mask"]).items():
        assert key == "pooler_output" or torch.equal(x, wanted[key])
    ours.config.save_pretrained(tmp_path / "config")
    assert type(AutoConfig.from_pretrained(tmp_path / "config")) is BertConfig


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (BertConfig(hidden_act="relu"), "hidden_act is 'relu'"),
        (BertConfig(is_decoder=True), "is_decoder is True"),
        (BertConfig(tie_word_embeddings=False), "tie_word_embeddings is False"),
    ],
)
def test_what_bert_lacks_is_refused(theirs: Any, words: str) -> None:
    with torch.device("meta"):
        twin = BertModel(theirs)
    with pytest.raises(Mistake, match=words):
        from_transformers(twin)


def test_other_models_are_refused() -> None:
    with torch.device("meta"):
        other = BertForSequenceClassification(BertConfig())
    with pytest.raises(Mistake, match="BertForSequenceClassification is no BERT of this library"):
        from_transformers(other)


@pytest.mark.slow
def test_real_weights_on_real_texts() -> None:
    from omnitune import samples

    folder = samples.path("minilm-l6")
    texts = [
        "I love this dress, the fabric is soft.",
        "Sent it back the next day: it shrank after one wash, and the colour is not what the picture shows.",
    ]
    rows = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    theirs, ours = (auto.from_pretrained(folder).eval() for auto in (AutoModel, BERT))
    assert type(ours) is BERT and len(ours.blocks) == 6
    real = rows["attention_mask"].bool()
    close(ours(**rows).last_hidden_state[real], theirs(**rows).last_hidden_state[real])

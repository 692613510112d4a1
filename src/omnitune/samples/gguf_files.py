"""GGUF, the one file of llama.cpp: the Llama in it becomes a Hugging Face folder, its weights plain numbers again.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORD, CONTROL, UNUSED = 1, 3, 5
"""Types of tokens; the unused make the table's size a round number."""


def llama(path: Path, folder: Path) -> None:
    """Writes the model in bfloat16, and its tokenizer with its chat template, so that `from_pretrained(folder)` reads both."""
    import torch
    from gguf import GGUFReader
    from transformers import LlamaForCausalLM

    read = LlamaForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    del read.config.quantization_config  # its numbers are plain by now, yet transformers would neither save it nor take it for what it is
    with torch.device("meta"):  # no number is drawn, so a run that makes the sample starts from the same seed as one that has it
        model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.config.name_or_path = ""  # no path of this machine in what is saved
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer({name: field.contents() for name, field in GGUFReader(path).fields.items()}).save_pretrained(str(folder))


def tokenizer(values: dict[str, Any]) -> Any:
    """The byte-level BPE of the file. It splits as llama.cpp's `smollm` does: every digit by itself, the rest like GPT-2.

    That of transformers leaves the digits out, and gives other tokens to one text in seventy of the samples `cmake-manual` and `women-reviews`.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    field = {name.removeprefix("tokenizer.").removeprefix("ggml."): value for name, value in values.items()}
    words, types = field["tokens"], field["token_type"]
    assert (field["model"], field["pre"]) == ("gpt2", "smollm") and set(types) <= {WORD, CONTROL, UNUSED}
    used = {word: i for i, (word, type_) in enumerate(zip(words, types, strict=True)) if type_ != UNUSED}
    core = Tokenizer(models.BPE(vocab=used, merges=[tuple(merge.split(" ")) for merge in field["merges"]]))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(words[i], normalized=False, special=True) for i, type_ in enumerate(types) if type_ == CONTROL])
    ends = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, chat_template=field["chat_template"], model_max_length=values["llama.context_length"],
        **{name: words[field[f"{called}_token_id"]] for name, called in ends.items()},
    )  # fmt: skip

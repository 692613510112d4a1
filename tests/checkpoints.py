"""Tiny random checkpoints in the Hugging Face layout, with real tokenizers and picture settings: every test's backbones.

Each `tiny_NAME()` gives a folder, written once a process. Copy it before changing anything in it.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SENTENCES = [
    "this dress fits well and the colour is lovely",
    "the fabric feels cheap and it shrank after one wash",
    "I love it, bought two more for my sister",
    "too small, poor quality, sent it back the next day",
    "a soft jumper for cold evenings, true to size",
    "Größe stimmt, Stoff ist angenehm; très jolie robe, 服は素敵です",
]
SIDE = 32
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TEXT_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 96}
PICTURE_SIZES = TEXT_SIZES | {"image_size": SIDE, "patch_size": 8}
del PICTURE_SIZES["max_position_embeddings"]


@cache
def _root() -> Path:
    folder = tempfile.mkdtemp(prefix="omnitune-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _write(name: str, model_class: str, config: Any, processor: Callable[[Path], None]) -> Path:
    """A folder with random weights, the same in every process."""
    import torch
    import transformers

    folder = _root() / name
    if not folder.exists():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = getattr(transformers, model_class)(config)
            for key, weight in model.state_dict().items():
                if weight.is_floating_point():
                    torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 and "bias" not in key else 0.0, 0.2).clamp_(
                        min=0.1 if "running_var" in key else None, max=9
                    )
        model.save_pretrained(folder)
        processor(folder)
    return folder


def _config(name: str, **settings: Any) -> Any:
    import transformers

    return getattr(transformers, name)(**settings)


def _word_pieces(folder: Path) -> None:
    """A BERT tokenizer with the words of SENTENCES and the letters, so that unknown words fall into pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [word for line in SENTENCES for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line))]
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789.,!?'"))
    entries = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    tokenizer = Tokenizer(models.WordPiece({entry: i for i, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    tokenizer.decoder = decoders.WordPiece()
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=96).save_pretrained(folder)


def _bytes(folder: Path) -> None:
    """A GPT-2 tokenizer (bytes, merged); it has no padding token, as the real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=299, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end, model_max_length=96).save_pretrained(folder)


def _roberta_bytes(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special, alphabet = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=299, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "cls_token": "<s>"}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, sep_token="</s>", model_max_length=96, **names)
    made.save_pretrained(folder)


def _with_sentinels(folder: Path) -> None:
    """A T5 tokenizer (a piece begins with the space before it, </s> at the end) with twenty sentinels, numbered backwards as in its files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=280, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens([f"<extra_id_{i}>" for i in reversed(range(20))])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=96, **names).save_pretrained(folder)


def _picture(size: dict[str, int], **more: Any) -> Callable[[Path], None]:
    """A preprocessor_config.json as image models carry it."""
    values = {"do_resize": True, "size": size, "resample": 3, "do_normalize": True, "image_mean": MEAN, "image_std": STD} | more

    def write(folder: Path) -> None:
        (folder / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")

    return write


def _sound(folder: Path) -> None:
    from transformers import WhisperFeatureExtractor

    WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(folder)


def tiny_bert() -> Path:
    """BERT with its masked-word head on top: 3 blocks of width 32."""
    return _write("bert", "BertForMaskedLM", _config("BertConfig", vocab_size=300, **TEXT_SIZES), _word_pieces)


def tiny_sentence_bert() -> Path:
    """A sentence-transformers folder that pools the first token."""
    folder = _root() / "sentence-bert"
    if not folder.exists():
        shutil.copytree(tiny_bert(), folder)
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder


def tiny_distilbert() -> Path:
    """DistilBERT: names of its own (`dim`, `n_layers`)."""
    config = _config("DistilBertConfig", vocab_size=300, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=96)
    return _write("distilbert", "DistilBertModel", config, _word_pieces)


def tiny_roberta() -> Path:
    """RoBERTa: positions count from the padding token."""
    config = _config("RobertaConfig", vocab_size=300, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, **TEXT_SIZES)
    return _write("roberta", "RobertaModel", config, _roberta_bytes)


def tiny_modernbert() -> Path:
    """ModernBERT: rotary positions, local attention, no biases."""
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    return _write(
        "modernbert", "ModernBertModel", _config("ModernBertConfig", vocab_size=300, local_attention=16, **special, **TEXT_SIZES), _word_pieces
    )


def tiny_gpt2() -> Path:
    """GPT-2 with its language head: layers are Conv1D, the tokenizer has no padding token."""
    config = _config("GPT2Config", vocab_size=300, n_positions=96, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0)
    return _write("gpt2", "GPT2LMHeadModel", config, _bytes)


def tiny_llama() -> Path:
    """Llama with its language head: rotary positions, grouped heads, no biases."""
    config = _config("LlamaConfig", vocab_size=300, num_key_value_heads=2, bos_token_id=0, eos_token_id=0, **TEXT_SIZES)
    return _write("llama", "LlamaForCausalLM", config, _bytes)


def tiny_qwen3() -> Path:
    """Qwen3."""
    config = _config("Qwen3Config", vocab_size=300, num_key_value_heads=2, head_dim=8, bos_token_id=0, eos_token_id=0, **TEXT_SIZES)
    return _write("qwen3", "Qwen3ForCausalLM", config, _bytes)


def tiny_t5() -> Path:
    """T5: encoder and decoder share their embeddings."""
    config = _config("T5Config", vocab_size=300, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4, pad_token_id=0, eos_token_id=3)
    return _write("t5", "T5ForConditionalGeneration", config, _word_pieces)


def tiny_sentinel_t5(version: str = "1") -> Path:
    """T5 as it was pre-trained: sentinels, and a target that begins with padding; of version 1.1 with a table of its own for what it says."""
    sizes = {"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4}
    newer = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if version == "1.1" else {}
    config = _config("T5Config", **sizes, **newer, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    return _write(f"sentinel-t5-{version}", "T5ForConditionalGeneration", config, _with_sentinels)


def tiny_bart() -> Path:
    """BART."""
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    layers = {"encoder_layers": 3, "decoder_layers": 2, "d_model": 32, "vocab_size": 300, "max_position_embeddings": 96}
    return _write("bart", "BartForConditionalGeneration", _config("BartConfig", **layers, **heads, **ids), _roberta_bytes)


def tiny_whisper() -> Path:
    """Whisper: hears one second, 100 frames of 16 mel bins."""
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    layers = {"encoder_layers": 3, "decoder_layers": 2, "d_model": 32, "num_mel_bins": 16, "max_source_positions": 50}
    ids = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1}
    return _write("whisper", "WhisperForConditionalGeneration", _config("WhisperConfig", **layers, **heads, **ids), _sound)


def _speech(languages: tuple[str, ...]) -> Callable[[Path], None]:
    """How a Whisper of one second is told to write: letters and pieces of SENTENCES, then its special tokens, then times of 20 ms each."""

    def write(folder: Path) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
        tokenizer.train_from_iterator(SENTENCES, trainer)
        special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages), "<|transcribe|>", "<|notimestamps|>"]
        tokenizer.add_special_tokens(special)
        ids = {token: tokenizer.token_to_id(token) for token in special}
        end = {f"{name}_token": special[0] for name in ("bos", "eos", "pad", "unk")}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **end).save_pretrained(folder)
        WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(folder)
        told = {"decoder_start_token_id": ids[special[1]], "eos_token_id": ids[special[0]], "pad_token_id": ids[special[0]]}
        told |= {"no_timestamps_token_id": ids["<|notimestamps|>"], "is_multilingual": bool(languages), "suppress_tokens": [1, 2]}
        several = {"lang_to_id": {f"<|{code}|>": ids[f"<|{code}|>"] for code in languages}, "task_to_id": {"transcribe": ids["<|transcribe|>"]}}
        (folder / "generation_config.json").write_text(json.dumps(told | (several if languages else {})), encoding="utf-8")

    return write


def tiny_speaker(*languages: str) -> Path:
    """A Whisper that hears one second and has words to say; of several languages where they are named."""
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    layers = {"encoder_layers": 2, "decoder_layers": 2, "d_model": 32, "num_mel_bins": 16, "max_source_positions": 50, "max_target_positions": 40}
    ids = {"vocab_size": 360, "pad_token_id": 280, "bos_token_id": 280, "eos_token_id": 280, "decoder_start_token_id": 281}
    config = _config("WhisperConfig", **layers, **heads, **ids)
    return _write("-".join(["speaker", *languages]), "WhisperForConditionalGeneration", config, _speech(languages))


def tiny_speller() -> Path:
    """wav2vec 2.0 with its letters on top, and what they are."""

    def write(folder: Path) -> None:
        _waves(folder)
        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
        (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}), encoding="utf-8")

    return _write("speller", "Wav2Vec2ForCTC", _wave_config("Wav2Vec2Config"), write)


def _waves(folder: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)


def _wave_config(name: str, **more: Any) -> Any:
    """Two blocks over convolutions that make a token of every 20 samples, so that a tenth of a second has 80."""
    conv = {"conv_dim": [16, 16], "conv_kernel": [10, 4], "conv_stride": [5, 4], "num_feat_extract_layers": 2}
    place = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "max_position_embeddings": 96}
    return _config(name, vocab_size=32, **(TEXT_SIZES | {"num_hidden_layers": 2} | conv | place | more))


def tiny_wav2vec2() -> Path:
    """wav2vec 2.0 with its letters on top: group norm, over all of a clip."""
    return _write("wav2vec2", "Wav2Vec2ForCTC", _wave_config("Wav2Vec2Config"), _waves)


def tiny_wav2vec2_layer() -> Path:
    """wav2vec 2.0 as the large ones are: layer norm in the convolutions, and before the blocks' halves."""
    stable = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    return _write("wav2vec2-layer", "Wav2Vec2Model", _wave_config("Wav2Vec2Config", **stable), _waves)


def tiny_hubert() -> Path:
    """HuBERT."""
    return _write("hubert", "HubertModel", _wave_config("HubertConfig"), _waves)


def tiny_ast() -> Path:
    """AST with a head: hears 64 frames of 32 bands, in overlapping patches."""

    def processor(folder: Path) -> None:
        from transformers import ASTFeatureExtractor

        ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-5.0, std=3.0).save_pretrained(folder)

    sizes = {name: size for name, size in TEXT_SIZES.items() if name != "max_position_embeddings"}
    config = _config("ASTConfig", num_mel_bins=32, max_length=64, **sizes)
    return _write("ast", "ASTForAudioClassification", config, processor)


def tiny_vit() -> Path:
    """ViT with a classification head: 16 patches and a class token."""
    return _write("vit", "ViTForImageClassification", _config("ViTConfig", **PICTURE_SIZES), _picture({"height": SIDE, "width": SIDE}))


def tiny_dinov2() -> Path:
    """DINOv2."""
    sizes = PICTURE_SIZES | {"mlp_ratio": 2}
    del sizes["intermediate_size"]
    crop = {"do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE}}
    return _write("dinov2", "Dinov2Model", _config("Dinov2Config", **sizes), _picture({"shortest_edge": 36}, **crop))


def tiny_clip() -> Path:
    """CLIP, both towers: 3 blocks for pictures, 2 for text."""
    ids = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = ids | {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = _config("CLIPConfig", vision_config=PICTURE_SIZES, text_config=text, projection_dim=8)
    crop = {"do_center_crop": True, "crop_size": SIDE}
    return _write("clip", "CLIPModel", config, _picture({"shortest_edge": SIDE}, **crop))


def tiny_siglip() -> Path:
    """SigLIP, both towers; its picture tower has no class token."""
    ids = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = ids | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = _config("SiglipConfig", vision_config=PICTURE_SIZES, text_config=text)
    return _write("siglip", "SiglipModel", config, _picture({"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3))


def tiny_efficientnet() -> Path:
    """EfficientNet with a classification head: convolutions and batch norms, a map of 2 x 2."""
    shape = {"in_channels": [16, 8, 16], "out_channels": [8, 16, 24], "kernel_sizes": [3, 3, 5], "strides": [1, 2, 2], "depthwise_padding": [1, 2]}
    repeats = {"num_block_repeats": [1, 2, 1], "expand_ratios": [1, 4, 4], "width_coefficient": 0.03, "depth_coefficient": 1.0}
    config = _config("EfficientNetConfig", image_size=SIDE, hidden_dim=40, depth_divisor=8, **shape, **repeats)
    return _write("efficientnet", "EfficientNetForImageClassification", config, _picture({"height": SIDE, "width": SIDE}))


def tiny_resnet() -> Path:
    """ResNet."""
    config = _config("ResNetConfig", embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 1], layer_type="basic")
    return _write("resnet", "ResNetForImageClassification", config, _picture({"shortest_edge": SIDE}, crop_pct=0.875))


def tiny_convnext() -> Path:
    """ConvNeXt."""
    config = _config("ConvNextConfig", hidden_sizes=[8, 16, 24], depths=[1, 2, 1], num_stages=3, image_size=SIDE)
    return _write("convnext", "ConvNextForImageClassification", config, _picture({"shortest_edge": SIDE}, crop_pct=0.875))


SPEAKING: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("GPTNeoXForCausalLM", {}),
    "gptj": ("GPTJForCausalLM", {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 96}),
    "phi": ("PhiForCausalLM", {}),
    "llama_tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "gemma2": ("Gemma2ForCausalLM", {"head_dim": 8, "num_key_value_heads": 2, "final_logit_softcapping": 3.0}),
    "granite": ("GraniteForCausalLM", {"logits_scaling": 4.0}),
    "cohere": ("CohereForCausalLM", {"logit_scale": 0.25, "pad_token_id": 0}),
    "opt": ("OPTForCausalLM", {"ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 0}),
    "mixtral": ("MixtralForCausalLM", {"num_local_experts": 2, "num_key_value_heads": 2}),
    "roberta": ("RobertaForMaskedLM", {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}),
    "distilbert": ("DistilBertForMaskedLM", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
}
"""Checkpoints with a language head, each with something of its own between tokens and words: its class and its settings."""


def tiny_speaking(name: str) -> Path:
    """One of `SPEAKING`, 2 blocks of width 32."""
    made, settings = SPEAKING[name]
    sizes = TEXT_SIZES | {"num_hidden_layers": 2, "vocab_size": 300}
    ids = {"bos_token_id": 0, "eos_token_id": 0} if made.endswith("CausalLM") else {}
    tokenizer = _bytes if made.endswith("CausalLM") else _roberta_bytes if name == "roberta" else _word_pieces
    return _write(f"speaking-{name}", made, _config(made.partition("For")[0] + "Config", **(sizes | ids | settings)), tokenizer)


TEXT: dict[str, Callable[[], Path]] = {
    "bert": tiny_bert, "distilbert": tiny_distilbert, "roberta": tiny_roberta, "modernbert": tiny_modernbert, "gpt2": tiny_gpt2,
    "llama": tiny_llama, "qwen3": tiny_qwen3, "t5": tiny_t5, "bart": tiny_bart,
}  # fmt: skip
PICTURE: dict[str, Callable[[], Path]] = {
    "vit": tiny_vit, "dinov2": tiny_dinov2, "clip": tiny_clip, "siglip": tiny_siglip, "efficientnet": tiny_efficientnet,
    "resnet": tiny_resnet, "convnext": tiny_convnext,
}  # fmt: skip
SOUND: dict[str, Callable[[], Path]] = {
    "whisper": tiny_whisper, "wav2vec2": tiny_wav2vec2, "wav2vec2_layer": tiny_wav2vec2_layer, "hubert": tiny_hubert, "ast": tiny_ast,
}  # fmt: skip
ALL = TEXT | PICTURE | {"whisper": tiny_whisper}


def inputs(name: str) -> dict[str, Tensor]:
    """What the encoder of checkpoint `name` reads: SENTENCES of unlike length, or two random pictures or sounds."""
    import torch

    from omnitune.backbones.pretrained import Pretrained

    random = torch.Generator().manual_seed(1)
    if name in TEXT:
        made = Pretrained(str(TEXT[name]())).tokenizer()(SENTENCES, padding=True, return_tensors="pt")
        return {key: made[key] for key in ("input_ids", "attention_mask")}
    if name in PICTURE:
        return {"pixel_values": torch.randn(2, 3, SIDE, SIDE, generator=random)}
    return {"input_features": torch.randn(2, 16, 100, generator=random)}

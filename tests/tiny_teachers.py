"""Small random encoders and decoders of the kinds that embed text, with tokenizers shaped like theirs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .tiny_encoders import byte_pairs, modernbert_tokenizer, parts_of, pieces, texts

LAYERS, WIDTH = 2, 24
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # large, so that texts differ visibly
}
HEADS = {"head_dim": 8, "num_key_value_heads": 1}


def qwen3_tokenizer() -> PreTrainedTokenizerBase:
    """As that of Qwen3-Embedding: it ends a text, and puts nothing between two."""
    tokenizer = transformers.Qwen2Tokenizer(**parts_of(byte_pairs(["<|endoftext|>"])))
    end = ("<|endoftext|>", tokenizer.eos_token_id)
    template = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[end]
    )
    tokenizer.backend_tokenizer.post_processor = template
    return tokenizer


def gemma3_tokenizer() -> PreTrainedTokenizerBase:
    """It begins a text, and does not end it."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*texts(), "\nRelation:"], trainer)
    tokenizer = transformers.GemmaTokenizer(**parts_of(tokenizer))
    begin = ("<bos>", tokenizer.bos_token_id)
    template = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[begin])
    tokenizer.backend_tokenizer.post_processor = template
    return tokenizer


TOKENIZERS = {
    "qwen3": qwen3_tokenizer,
    "gemma3": gemma3_tokenizer,
    "modernbert": modernbert_tokenizer,
    "xlm-r": lambda: transformers.XLMRobertaTokenizer(
        vocab=pieces(["<s>", "<unk>", "<pad>", "</s>", "<mask>"], lower=False)
    ),
    "t5": lambda: transformers.T5Tokenizer(vocab=pieces(["<pad>", "<unk>", "</s>"], lower=False), extra_ids=0),
}
CONFIGS = {
    "qwen3": lambda **more: transformers.Qwen3Config(**SIZES, **HEADS, **more),
    "gemma3": lambda **more: transformers.Gemma3TextConfig(**SIZES, **HEADS, **more, sliding_window=8),
    "modernbert": lambda **more: transformers.ModernBertConfig(**SIZES, **more, local_attention=4),
    "xlm-r": lambda **more: transformers.XLMRobertaConfig(**SIZES, **more, type_vocab_size=1),
    "t5": lambda **more: transformers.T5Config(
        d_model=WIDTH, d_kv=8, d_ff=32, num_layers=LAYERS, num_heads=2, dropout_rate=0.0, **more
    ),
}


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerBase:
    return TOKENIZERS[kind]()


def config_of(kind: str) -> PreTrainedConfig:
    tokenizer = tokenizer_of(kind)
    return CONFIGS[kind](vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)


def encoder_of(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return (AutoModelForTextEncoding if kind == "t5" else AutoModel).from_config(config_of(kind))


def checkpoint(kind: str, folder: Path) -> Path:
    """A folder as the Hub has it."""
    encoder_of(kind).save_pretrained(folder)
    tokenizer_of(kind).save_pretrained(folder)
    return folder

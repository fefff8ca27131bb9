"""Small random encoders of the families that `transformers` has, with tokenizers shaped like theirs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from pmd.data.texts.graph_text import entity_text, relation_texts

from .tiny import ENTITIES, RELATIONS, tiny_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
DEPTH, POSITIONS = 4, 32
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,  # large, so that texts and layers differ visibly
}
DEBERTA = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
}


def texts() -> list[str]:
    return [entity_text(*entity) for entity in ENTITIES] + relation_texts(RELATIONS)


def byte_pairs(special: list[str], normalizer=None) -> Tokenizer:
    """Byte-level BPE, whose words begin with their blank."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"vocab_size": 400, "special_tokens": special, "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts(), trainers.BpeTrainer(**options))
    return tokenizer


def parts_of(tokenizer: Tokenizer) -> dict:
    """Vocabulary and merges of a BPE tokenizer."""
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def pieces(special: list[str], lower: bool) -> list[tuple[str, float]]:
    """SentencePiece-like unigrams, whose words begin with `▁`."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    options = {"vocab_size": 300, "special_tokens": special, "unk_token": special[1], "show_progress": False}
    tokenizer.train_from_iterator(
        [text.lower() if lower else text for text in texts()], trainers.UnigramTrainer(**options)
    )
    return [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]


def modernbert_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = byte_pairs(SPECIAL, normalizers.NFC())
    tokenizer.add_tokens(["  ", "   "])  # runs of blanks are tokens of their own, outside the BPE
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def mpnet_tokenizer() -> PreTrainedTokenizerBase:
    words = [word for word in tiny_tokenizer().get_vocab() if word not in SPECIAL]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *words, "<mask>"]
    return transformers.MPNetTokenizer(vocab={word: i for i, word in enumerate(vocabulary)})


TOKENIZERS = {
    "bert": tiny_tokenizer,
    "distilbert": tiny_tokenizer,
    "electra": tiny_tokenizer,
    "roberta": lambda: transformers.RobertaTokenizer(**parts_of(byte_pairs(ROBERTA))),
    "mpnet": mpnet_tokenizer,
    "modernbert": modernbert_tokenizer,
    "albert": lambda: transformers.AlbertTokenizer(vocab=pieces(["<pad>", "<unk>", *SPECIAL[2:]], lower=True)),
    "deberta": lambda: transformers.DebertaTokenizer(**parts_of(byte_pairs(SPECIAL))),
    "deberta-v2": lambda: transformers.DebertaV2Tokenizer(vocab=pieces(SPECIAL, lower=False)),
}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(
        dim=16, n_layers=DEPTH, n_heads=2, hidden_dim=24, max_position_embeddings=POSITIONS, initializer_range=0.3
    ),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=8),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, type_vocab_size=1),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "modernbert": lambda: transformers.ModernBertConfig(**SIZES, local_attention=4),  # less than a text is long
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "deberta": lambda: transformers.DebertaConfig(**SIZES, **DEBERTA),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        **SIZES, **DEBERTA, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm"
    ),
}


@cache
def tokenizer_of(family: str) -> PreTrainedTokenizerBase:
    return TOKENIZERS[family]()


def config_of(family: str) -> PreTrainedConfig:
    """A config that knows the family's tokens and has no dropout."""
    config, tokenizer = CONFIGS[family](), tokenizer_of(family)
    config.vocab_size = len(tokenizer)
    for token in ("pad", "cls", "sep", "bos", "eos"):
        if hasattr(config, f"{token}_token_id"):
            setattr(config, f"{token}_token_id", getattr(tokenizer, f"{token}_token_id"))
    for name in config.to_dict():
        if "dropout" in name:
            setattr(config, name, 0.0)
    return config


def encoder_of(family: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    encoder = AutoModel.from_config(config_of(family))
    with torch.no_grad():  # norms and biases that differ from layer to layer
        for parameter in encoder.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def checkpoint(family: str, folder: Path) -> Path:
    """A folder as the Hub has it."""
    encoder_of(family).save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    return folder

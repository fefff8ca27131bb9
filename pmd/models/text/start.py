"""Where a bi-encoder starts from: a pretrained encoder, an installed package, or random weights."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from pmd.core.errors import PmdError, first_line
from pmd.core.files import read_object
from pmd.core.packages import model_source
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.frames import frame_of
from pmd.data.texts.graph_text import LONGEST, entity_texts, relation_texts
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.encoders import check_reading, longest_text, set_dropout
from pmd.models.text.students import check_students
from pmd.settings.catalogue import FAMILIES
from pmd.settings.text import EncoderConfig

TEXTS_FOR_VOCABULARY = 100_000
"""Entities whose texts make the vocabulary of an encoder from scratch: more hardly change it, and take minutes."""
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def start(config: EncoderConfig, graph: KnowledgeGraph, seed: int) -> tuple[BiEncoder, PreTrainedTokenizerBase]:
    """The untrained bi-encoder of a run and its tokenizer.

    Raises:
        PmdError: if the encoder cannot be found or is not BERT-like.
    """
    if config.name == "scratch":
        tokenizer = train_wordpiece(graph, config.vocab_size)
        encoder = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=max(config.max_length, 64),
            pad_token_id=tokenizer.pad_token_id,
        )
        weights = None
    else:
        encoder = _config_of(config.name)
        encoder.dtype = torch.float32  # whatever the checkpoint was saved in
        source = model_source(config.name, "encoder.name")
        try:
            tokenizer = load_tokenizer(source, encoder)
            plain, loading = AutoModel.from_pretrained(source, output_loading_info=True)
            weights = plain.state_dict()
        except (OSError, ValueError, SafetensorError) as error:
            raise _cannot_load(config.name, error) from None
    set_dropout(encoder, "dropout", config.dropout)
    set_dropout(encoder, "attention_dropout", config.attention_dropout)
    torch.manual_seed(seed)
    model = BiEncoder(
        BiEncoderConfig(
            encoder=encoder,
            tied=config.tied,
            init_temperature=config.temperature,
            max_tokens=config.max_length,
            neighbours_below=config.neighbours_below,
            max_neighbours=config.max_neighbours,
        )
    )
    if weights is not None:
        for role in ("query", "entity"):
            needed = model.encoder(role).state_dict()
            missing = sorted((needed.keys() - weights.keys()) | (needed.keys() & loading["missing_keys"]))
            if missing:
                raise PmdError(
                    f"encoder.name: '{config.name}' has no weights for {missing[0]}; choose a BERT-like encoder"
                )
            model.encoder(role).load_state_dict({name: weights[name] for name in needed})
        check_encoder(model, tokenizer, config)
    return model, tokenizer


def check_encoder(model: BiEncoder, tokenizer: PreTrainedTokenizerBase, config: EncoderConfig) -> None:
    """Refuse an encoder that cannot be distilled, or cannot read texts of the length that is asked for."""
    frame_of(tokenizer)
    longest = longest_text(model.query_encoder)
    if longest is not None and config.max_length > longest:
        raise PmdError(
            f"encoder.max_length: {config.max_length} is more than the {longest} that '{config.name}' can read"
        )
    check_reading(model.query_encoder, tokenizer, config.max_length)
    check_students(model)


def load_tokenizer(
    source: str, encoder: PreTrainedConfig, subfolder: str = "", *, added: bool = True
) -> PreTrainedTokenizerBase:
    """The tokenizer of a Hub id or folder.

    Args:
        encoder: the configuration of the model that reads its tokens.
        added: whether it must know the added tokens too, which no text has, such as those of images.

    Raises:
        OSError, ValueError: if there is none, or it is not that of the model.
    """
    tokenizer = AutoTokenizer.from_pretrained(source, subfolder=subfolder)
    ids = tokenizer.get_vocab().values()
    # For a BERT without tokenizer files `transformers` makes one up, to which every word is unknown.
    if set(ids) <= set(tokenizer.all_special_ids):
        raise ValueError("tokenizer files are missing: it would know nothing but special tokens")
    known = getattr(encoder, "vocab_size", None)
    if not added:
        ids = set(ids) - set(tokenizer.get_added_vocab().values())
    if known is not None and max(ids) >= known:
        raise ValueError(f"the one there has ids up to {max(ids)}, and the model knows those below {known}")
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the files of a tokenizer: the same ones whatever it has read, and wherever it came from."""
    if tokenizer.is_fast:  # it remembers how its last texts were cut and filled up
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)


def depth_of(config: EncoderConfig) -> int:
    """Layers of the encoder that a run starts from, read from its config alone."""
    if config.name == "scratch":
        return config.layers
    if (settings := trained_settings(config.name)) is not None:
        return settings["encoder"]["num_hidden_layers"]
    return _config_of(config.name).num_hidden_layers


def trained_settings(name: str) -> dict[str, Any] | None:
    """The config.json of a folder that holds a trained text model; None for any other encoder."""
    try:
        settings = read_object(Path(name) / "config.json", "restore it")
    except PmdError as error:
        raise _cannot_load(name, error) from None
    return settings if settings.get("model_type") == FAMILIES["text"].model_type else None


def _config_of(name: str) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(model_source(name, "encoder.name"))
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from None
    if not hasattr(config, "num_hidden_layers"):
        raise PmdError(
            f"encoder.name: '{name}' is a '{config.model_type}' model; choose a BERT-like encoder, "
            "or take a trained bi-encoder with a stage's `load`"
        )
    return config


def _cannot_load(name: str, error: Exception) -> PmdError:
    return PmdError(
        f"encoder.name: cannot load '{name}' ({first_line(error)}); give a Hub id, a folder, "
        "package:NAME/FOLDER, or scratch"
    )


def train_wordpiece(graph: KnowledgeGraph, vocab_size: int) -> PreTrainedTokenizerBase:
    """A lower-case WordPiece tokenizer from the graph's own texts; the same texts always give the same one.

    The WordPiece trainer of `tokenizers` breaks ties by hash order, so two runs get two vocabularies. Its BPE
    trainer does not: merges come from there, and every piece that they make of the texts' words goes into
    the vocabulary, as the start of a word or, with `##`, as its continuation.

    Of more than `TEXTS_FOR_VOCABULARY` entities so many are read, evenly taken, and a line on stderr says so.
    """
    texts = entity_texts(graph)
    if len(texts) > TEXTS_FOR_VOCABULARY:
        sample = f"{TEXTS_FOR_VOCABULARY:,} of {len(texts):,} entities, evenly taken"
        print(f"the vocabulary is made from the texts of {sample}", file=sys.stderr)
        texts = [texts[i] for i in np.linspace(0, len(texts) - 1, TEXTS_FOR_VOCABULARY).astype(int).tolist()]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in [*texts, *relation_texts(graph.relation_names)]
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text[:LONGEST]))
    )
    merges = Tokenizer(models.BPE())
    merges.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    merges.train_from_iterator(
        (" ".join([word] * count) for word, count in sorted(words.items())),
        trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, show_progress=False),
    )
    pieces: Counter[str] = Counter()
    for word, count in sorted(words.items()):
        first, *rest = merges.encode(word).tokens
        for piece in (first, *(f"##{token}" for token in rest)):
            pieces[piece] += count
    letters = {letter for word in words for letter in word}
    alphabet = sorted(letters | {f"##{letter}" for letter in letters})
    ranked = sorted(pieces.keys() - set(alphabet), key=lambda piece: (-pieces[piece], piece))
    # Every letter stays, so that no word of the graph is unknown; then the most frequent pieces.
    kept = [*SPECIAL, *alphabet, *ranked][: max(vocab_size, len(SPECIAL) + len(alphabet))]
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(kept)}, do_lower_case=True)

"""Properties of an encoder that `transformers` loads, found in its config and its modules by rule.

So BERT, RoBERTa, DistilBERT or ModernBERT need no code of their own, and what cannot work is refused before anything
is trained: an encoder whose layers cannot be chosen, a rate of dropout that nothing would read, a text longer than its
positions, padding that changes a text's hidden states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from pmd.core.errors import PmdError, first_line

HEADS = ("classif", "pooler", "summary", "qa_")
"""In the names of dropout rates of what stands on top of an encoder, which we do not use."""
PER_LAYER = ("layer_types", "attention_window")
"""Settings of a config that have an item for each layer, where they are lists."""
TOLERANCE = 1e-3
"""Largest difference that padding may make to a hidden state, relative to the largest number there."""


def set_dropout(config: PreTrainedConfig, option: str, rate: float | None) -> None:
    """Set the rates of `dropout` (of hidden states) or `attention_dropout` that a config has; None leaves its own.

    Raises:
        PmdError: if it has none.
    """
    if rate is None:
        return
    rates = {name for name in type(config)().to_dict() if "dropout" in name and not any(head in name for head in HEADS)}
    chosen = [name for name in rates if ("attention" in name) == (option == "attention_dropout")]
    if not chosen:
        raise PmdError(f"encoder.{option}: a '{config.model_type}' encoder has no such dropout; leave the option out")
    for name in chosen:
        setattr(config, name, rate)


def longest_text(encoder: nn.Module) -> int | None:
    """Tokens that an encoder reads at most; None if its config sets no limit.

    A table of positions with a row for padding, as RoBERTa's, counts tokens from the row after that.
    """
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    limit = getattr(encoder.config, "max_position_embeddings", None)
    return limit if limit and limit > 0 else None  # XLNet, which has no limit, says -1


def layer_lists(encoder: nn.Module) -> list[str]:
    """Names of the lists of modules that hold an encoder's layers; none if one layer is used again and again.

    Raises:
        PmdError: if layers cannot be chosen one by one.
    """
    config = encoder.config
    groups = getattr(config, "num_hidden_groups", None)  # of layers that share their weights, in ALBERT
    if groups == 1:
        return []
    lists: list[str] = []
    for name, module in encoder.named_modules():
        outermost = not any(name.startswith(f"{other}.") for other in lists)
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers and outermost:
            lists.append(name)
    if groups or not lists:
        reason = f"its layers share the weights of {groups} groups" if groups else "they are in no list of their own"
        raise PmdError(
            f"encoder.name: layers of a '{config.model_type}' encoder cannot be chosen one by one ({reason}); "
            "choose a BERT-like encoder"
        )
    return lists


def with_layers(config: PreTrainedConfig, layers: list[int]) -> None:
    """Make a config one of the chosen layers alone."""
    for name in PER_LAYER:
        values = getattr(config, name, None)
        if isinstance(values, (list, tuple)):
            setattr(config, name, [values[layer] for layer in layers])
    config.num_hidden_layers = len(layers)


def attention_projections(encoder: nn.Module) -> list[str]:
    """Names of the linear layers of an encoder's attention that make queries and values: `query` and `value` in BERT,
    `q_lin` and `v_lin` in DistilBERT, or one that makes them and the keys at once, such as `Wqkv` in ModernBERT.

    Raises:
        PmdError: if there are none.
    """
    linear = {
        name.rsplit(".", 1)[-1]: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and "att" in name.lower()
    }
    fused = [name for name, module in linear.items() if module.out_features == 3 * module.in_features]
    split = [name for name in linear if name[0] in "qv"]
    if {name[0] for name in split} == {"q", "v"}:
        return split
    if fused:
        return fused
    raise PmdError(
        f"train.lora.targets: the attention of a '{encoder.config.model_type}' encoder has no linear layers for queries "
        "and values; name the layers that are to get adapters"
    )


@torch.no_grad()
def check_reading(
    encoder: nn.Module, tokenizer: PreTrainedTokenizerBase, length: int, key: str = "encoder.name"
) -> None:
    """Refuse an encoder that does not read two texts, one of them padded, as it reads each of them alone.

    Args:
        length: of the longer text, in tokens.
        key: the setting that names the encoder.
    """
    config, short, pad = encoder.config, length // 2, tokenizer.pad_token_id or 0
    ordinary = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    ids = torch.tensor((ordinary * (2 * length))[: 2 * length]).reshape(2, length)
    mask = torch.ones_like(ids)
    mask[1, short:], ids[1, short:] = 0, pad
    refusal = f"{key}: a '{config.model_type}' encoder "
    was_training = encoder.training
    try:
        whole, alone = _states(encoder.eval(), ids, mask), _states(encoder, ids[1:, :short], mask[1:, :short])
    except Exception as error:  # whatever an encoder of another kind says
        reason = first_line(error)
        raise PmdError(f"{refusal}cannot read texts of {length} tokens ({reason}); choose a BERT-like one") from None
    finally:
        encoder.train(was_training)
    if whole.shape != (config.num_hidden_layers + 1, *ids.shape, config.hidden_size):
        raise PmdError(f"{refusal}does not give a hidden state of each token after each layer; choose a BERT-like one")
    if not (whole[:, 1, :short] - alone[:, 0]).abs().max() <= TOLERANCE * alone.abs().max():
        raise PmdError(f"{refusal}reads padding as a part of the text; choose a BERT-like one")


def _states(encoder: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Hidden states (layers + 1, b, L, d)."""
    return torch.stack(encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states)

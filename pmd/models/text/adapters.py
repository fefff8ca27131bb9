"""Low-rank adapters in the encoders of a bi-encoder (LoRA; Hu et al., ICLR 2022): added before a stage, merged after it."""

from __future__ import annotations

from torch import nn

from pmd.core.errors import PmdError
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.encoders import attention_projections
from pmd.settings.text import LoraConfig


def adapter_targets(model: BiEncoder, lora: LoraConfig, key: str = "train.lora") -> list[str]:
    """Names of the linear layers that get an adapter.

    `key` is where the settings name them.

    Raises:
        PmdError: for layers that the encoder does not have.
    """
    if lora.targets is None:
        return attention_projections(model.query_encoder)
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    missing = [target for target in lora.targets if target not in linear]
    if missing or not lora.targets:
        wrong = f"no linear layer '{missing[0]}'" if missing else "the list is empty"
        raise PmdError(f"{key}.targets: {wrong}; there are {', '.join(sorted(linear))}")
    return list(lora.targets)


def add_adapters(student: BiEncoder, lora: LoraConfig) -> None:
    """Freeze the encoders and give them low-rank adapters; the temperature stays trainable."""
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    targets = adapter_targets(student, lora)
    settings = PeftConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    student.query_encoder = get_peft_model(student.query_encoder, settings)
    if student.entity_encoder is not None:
        student.entity_encoder = get_peft_model(student.entity_encoder, settings)


def merge_adapters(student: BiEncoder) -> None:
    """Add the trained adapters to the weights, in fp32, so that the saved model is a plain bi-encoder."""
    student.query_encoder = student.query_encoder.float().merge_and_unload()
    if student.entity_encoder is not None:
        student.entity_encoder = student.entity_encoder.float().merge_and_unload()

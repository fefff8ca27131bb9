"""Whether a trained model that a stage loads fits the run."""

from __future__ import annotations

from pmd.core.errors import PmdError
from pmd.models.text.folder import TextModel, load_model
from pmd.settings.text import StageConfig


def check_load(stage: StageConfig, origin: TextModel, same_size: bool) -> None:
    """Refuse a model to load that does not fit the run; with `same_size`, also one with hidden states of another size."""
    where, loaded = f"stages ({stage.name}).load: '{stage.load}'", load_model(stage.load)
    if loaded.model.depth != stage.layers:
        raise PmdError(f"{where} has {loaded.model.depth} layers, not {stage.layers}; set the stage's layers")
    if loaded.tokenizer.get_vocab() != origin.tokenizer.get_vocab():
        raise PmdError(
            f"{where} has another vocabulary than encoder.name; load a model that was trained from the same encoder"
        )
    if loaded.reading != origin.reading:
        raise PmdError(f"{where} reads {loaded.reading}, this run {origin.reading}; set encoder.max_length and others")
    sizes = loaded.model.hidden_size, origin.model.hidden_size
    if same_size and sizes[0] != sizes[1]:
        raise PmdError(
            f"{where} is {sizes[0]} wide, the last of encoder.widths {sizes[1]}; leave encoder.widths out, "
            "or start its students from pretrained weights (init: pretrained)"
        )

"""The lower layers of a bi-encoder, kept as they are while the upper ones learn.

What frozen layers make of a text never changes, so it can be computed once; the upper layers then go on from there
(`lower_states`, `from_states`). Nothing in it is particular to BERT: an encoder's layers stand in a list, and each gets the
hidden states of the one before as its first argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pmd.core.errors import PmdError
from pmd.models.text.encoders import layer_lists

if TYPE_CHECKING:
    from pmd.models.text.bi_encoder import BiEncoder


def freeze(model: BiEncoder, count: int) -> None:
    """Keep the embeddings and the `count` lowest layers of both encoders as they are; 0 lets all learn.

    Raises:
        PmdError: for an encoder whose layers are in no list of their own.
    """
    model.frozen_layers = count
    for encoder in model.encoders if count else ():
        for module in lower_modules(encoder, count):
            module.requires_grad_(False)


def lower_modules(encoder: nn.Module, count: int) -> list[nn.Module]:
    """What stands before the layers of an encoder, and the `count` lowest of them."""
    before, parent = [], encoder
    for part in layer_list(encoder).split("."):
        names = [name for name, _ in parent.named_children()]
        before += [parent.get_submodule(name) for name in names[: names.index(part)]]
        parent = parent.get_submodule(part)
    return [*before, *parent[:count]]


def layer_list(encoder: nn.Module) -> str:
    """The name of the list that holds an encoder's layers. PmdError if there is not one such list."""
    names = layer_lists(encoder)
    if len(names) != 1:
        raise PmdError(
            f"train.frozen_share: the layers of a '{encoder.config.model_type}' encoder stand in {len(names)} lists, not in one; "
            "set it to 0"
        )
    return names[0]


def _hidden(arguments: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    return arguments[0] if arguments else options["hidden_states"]


@contextmanager
def noted_states(encoder: nn.Module, count: int) -> Iterator[list[Tensor]]:
    """Within it, every call of the encoder adds the hidden states (b, L, d) that its layer `count` gets."""
    noted: list[Tensor] = []
    layer = encoder.get_submodule(layer_list(encoder))[count]
    hook = layer.register_forward_pre_hook(
        lambda _, arguments, options: noted.append(_hidden(arguments, options)), with_kwargs=True
    )
    try:
        yield noted
    finally:
        hook.remove()


@contextmanager
def from_states(encoder: nn.Module, count: int, states: Tensor) -> Iterator[None]:
    """Within it the encoder has its layers from `count` on alone, and the first of them gets `states` (b, L, d)."""
    name = layer_list(encoder)
    parent = encoder.get_submodule(name.rpartition(".")[0])
    last, layers = name.rpartition(".")[2], encoder.get_submodule(name)

    def replaced(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
        given = states.to(_hidden(arguments, options).dtype)
        return ((given, *arguments[1:]), options) if arguments else (arguments, {**options, "hidden_states": given})

    hook = layers[count].register_forward_pre_hook(replaced, with_kwargs=True)
    setattr(parent, last, layers[count:])
    try:
        yield
    finally:
        setattr(parent, last, layers)
        hook.remove()

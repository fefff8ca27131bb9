"""Settings of what computes the vectors of entities from few parameters, in the place of a table. As light as `kge`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pmd.core.errors import PmdError
from pmd.settings.catalogue import ENTITY_ENCODERS, lookup
from pmd.settings.checks import check_numbers, check_share, numbers_at

if TYPE_CHECKING:
    from pmd.settings.kge import KgeConfig, KgeStageConfig

TABLE = "table"
Selection = Literal["degree", "random", "pagerank", "mixed"]


@dataclass
class NodePieceConfig:
    """NodePiece (Galkin et al., ICLR 2022): an entity is made of tokens, its nearest anchors and its relations.

    Args:
        anchors: entities that have rows of their own.
        selection: of the anchors: those with the most triples (`degree`) or the highest `pagerank`, at `random`, or
            `mixed`: 40 % by degree, 40 % by PageRank, the others at random.
        nearest: k: so many of the anchors nearest to an entity are tokens of it.
        relations: m: so many of its relations, outgoing and incoming, are.
        distances: an anchor's row is added to one for how far away it is.
        aggregation: of the tokens of an entity: two layers on all of them, one after the other (`mlp`), or their `mean`.
    """

    anchors: int = 32
    selection: Selection = "degree"
    nearest: int = 8
    relations: int = 4
    distances: bool = True
    aggregation: Literal["mlp", "mean"] = "mlp"


@dataclass
class EarlConfig:
    """EARL (Chen et al., AAAI 2023): an entity is computed from its relations, similar reserved entities and its neighbours.

    Args:
        reserved: the share of entities that have rows of their own, in (0, 1].
        selection: of the reserved entities; the paper draws them at `random`.
        nearest: so many of the reserved entities whose relations are most like an entity's describe it.
        layers: of the graph network.
    """

    reserved: float = 0.1
    selection: Selection = "random"
    nearest: int = 10
    layers: int = 2


def check_encoders(config: KgeConfig) -> None:
    """Refuse settings of encoders that are out of range, or that no model has a use for."""
    model = config.model
    used = {model.encoder, *(stage.encoder for stage in config.stages or ())}
    for name, usual in (("nodepiece", NodePieceConfig()), ("earl", EarlConfig())):
        if getattr(model, name) != usual and name not in used:
            raise PmdError(f"model.{name}: no model has this encoder; set model.encoder to {name}, or leave it out")
    numbers = numbers_at(config, "model.nodepiece.anchors", "model.nodepiece.nearest", "model.earl.nearest")
    check_numbers(
        {**numbers, **numbers_at(config, "model.earl.layers")}, numbers_at(config, "model.nodepiece.relations")
    )
    check_share("model.earl.reserved", model.earl.reserved, "(0, 1]", "0.1 is the paper's")


def check_encoder(stage: KgeStageConfig, key: str, config: KgeConfig, earlier: Mapping[str, KgeStageConfig]) -> None:
    """Refuse an encoder that is unknown, or that cannot do what the stage asks."""
    row = lookup(ENTITY_ENCODERS, stage.encoder, f"{key}.encoder")
    if stage.start in earlier and earlier[stage.start].encoder != stage.encoder:
        raise PmdError(
            f"{key}.encoder: '{stage.start}' has {earlier[stage.start].encoder}; start from one that has {row.name}"
        )
    source = earlier[stage.crop].encoder if stage.crop else TABLE
    if source != TABLE:
        raise PmdError(f"{key}.crop: '{stage.crop}' computes its entities ({source}), so no dimensions can be cut off")
    if row.name == TABLE:
        return
    if stage.widths or stage.crop:
        setting = "widths" if stage.widths else "crop"
        raise PmdError(f"{key}.{setting}: {row.name} computes entities of one width; leave it out, or use a table")
    if config.train.optimizer == "sparse_adam":
        raise PmdError(
            f"train.optimizer: sparse_adam moves rows of tables, and {row.name} has other parameters; use adam"
        )

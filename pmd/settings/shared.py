"""Settings that all kinds of runs share: the graph, the training loop, the ranking.

Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal


@dataclass
class DataConfig:
    """Which knowledge graph.

    Args:
        path: `world` (bundled), a folder with train.tsv … entities.tsv, relations.tsv, a KG-BERT style
            folder, or the name of a Hugging Face Hub data set with head/relation/tail columns.
        subset: configuration of a Hub data set.
        columns: of a Hub data set, where its columns have other names, such as {head: subject}.
        revision: of a Hub data set.
        cache: folder for tokenised texts; default is `pmd` in the user's cache folder.
    """

    path: str = "world"
    subset: str | None = None
    columns: dict[str, str] | None = None
    revision: str | None = None
    cache: str | None = None

    @property
    def options(self) -> dict[str, object]:
        """The options of `load_graph` that are set."""
        named = {name: getattr(self, name) for name in ("subset", "columns", "revision")}
        return {name: value for name, value in named.items() if value is not None}


@dataclass
class LoopConfig:
    """What the training loop needs to know, whatever it trains.

    Args:
        epochs: passes over the training examples.
        batch_size: examples in a batch over all processes; of a graph they are triples.
        lr: peak learning rate.
        weight_decay: of AdamW, on matrices only.
        warmup: steps of linear warm-up, then linear decay to zero; at most a tenth of all steps.
        grad_clip: largest gradient norm; 0 for any.
        precision: `no` is fp32; bf16 pays on GPUs and on CPUs that compute in it (AMX), fp16 on GPUs only.
        log_every: steps between two lines in metrics.jsonl.
        save_minutes: a checkpoint at least that often, in minutes; one is always written on Ctrl-C.
        valid_every: epochs between two validations; 0 for never. The best model is then the one that is kept: by the
            MRR of the validation split, or a task's score, averaged over the widths.
        patience: stop after so many validations without a better one; 0 for never.
        threads: CPU threads of a process; 0 shares the cores evenly. OMP_NUM_THREADS is not read, for
            `accelerate launch` sets it to 1.
        workers: processes that prepare batches; 0 prepares them in the training process.
    """

    epochs: int = 20
    batch_size: int = 512
    lr: float = 5e-5
    weight_decay: float = 1e-4
    warmup: int = 400
    grad_clip: float = 10.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    log_every: int = 10
    save_minutes: float = 5.0
    valid_every: int = 0
    patience: int = 0
    threads: int = 0
    workers: int = 0

    optimizer: ClassVar[str] = "adamw"
    schedule: ClassVar[str] = "linear"


@dataclass
class EvaluationConfig:
    """The final ranking of every stage: exact, filtered, both directions, realistic ranks.

    Args:
        split: which split; a list of names for several.
        batch_size: triples ranked at a time, the one size that bounds the memory.
        rerank_hops: add `rerank_weight` to entities within so many hops of the query's; 0 for never.
        rerank_weight: in units of cosine.
    """

    split: str | list[str] = "test"
    batch_size: int = 256
    rerank_hops: int = 0
    rerank_weight: float = 0.05

    @property
    def splits(self) -> list[str]:
        return [self.split] if isinstance(self.split, str) else list(self.split)


@dataclass
class EvaluateConfig:
    """Rank a split with trained models, text and embedding models alike.

    Args:
        model: a stage's folder in a run, or a Hub id; a list of them for one table of several.
        data: the knowledge graph; by default the one of the run that the first folder is in.
        evaluation: what is ranked, and how.
        threads: CPU threads; 0 for all cores.
    """

    model: str | list[str]
    data: DataConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    threads: int = 0

    @property
    def models(self) -> list[str]:
        return [self.model] if isinstance(self.model, str) else list(self.model)

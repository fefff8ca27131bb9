"""Settings that all kinds of runs share: the graph, the training loop, the ranking.

Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pmd.core.errors import PmdError

GRAPH_OPTIONS = ("columns", "drop", "weight", "language", "subset", "revision")
"""The settings of `data` that say how a graph is read."""

Tracker = Literal["tensorboard", "mlflow", "trackio", "wandb"]
Search = Literal["exact", "funnel", "faiss"]


TASKS = ("entities", "relations", "triples")
"""What `pmd evaluate` measures."""
OWN = "own"
"""The teacher of a stage that a program gives."""


@dataclass
class DataConfig:
    """Which knowledge graph.

    Args:
        path: `world` (bundled), a folder or a file of triples in any layout of docs/graphs.md, or the name of a data set on
            the Hugging Face Hub with the columns head, relation and tail.
        columns: columns of the source that have other names or another order, such as {head: subject} or, by number,
            {head: 1, tail: 2, relation: 3}.
        drop: columns to leave out, by name or number; `time` and `weight` for those that hold such values.
        weight: the column that says how certain each triple is; the losses weigh their terms by it.
        language: of names and descriptions, where a source has several.
        subset: configuration of a Hub data set.
        revision: revision of a Hub data set.
        cache: folder for tokenised texts; by default `pmd` in the user's cache folder.
    """

    path: str = "world"
    columns: dict[str, str | int] | None = None
    drop: list[str | int] | None = None
    weight: str | None = None
    language: str | None = None
    subset: str | None = None
    revision: str | None = None
    cache: str | None = None

    @property
    def options(self) -> dict[str, object]:
        """The options of `load_graph` that are set."""
        named = {name: getattr(self, name) for name in GRAPH_OPTIONS}
        return {name: value for name, value in named.items() if value is not None}


@dataclass
class LoopConfig:
    """Settings of the training loop, whatever it trains.

    Args:
        epochs: passes over the training examples.
        epoch_steps: an epoch ends after so many steps, for examples whose whole takes too long between two validations; each epoch
            then has others, drawn from all. 0 for a whole pass.
        batch_size: examples in a batch, over all processes; an example of a graph is a triple.
        lr: peak learning rate.
        weight_decay: weight decay of AdamW, for matrices only.
        warmup: steps of linear warm-up, followed by linear decay to zero; at most a tenth of all steps.
        grad_clip: largest gradient norm; 0 for no limit.
        precision: `no` is fp32; bf16 is faster on GPUs and on CPUs that compute in it (AMX), fp16 on GPUs only.
        log_every: steps between two lines in metrics.jsonl.
        gradient_norms: with each of these lines log the norms of the gradients of all weighted loss terms, before clipping, as
            `grad_` and the term's name: which terms count. Nothing else changes; a logged step takes a backward pass more for
            each term.
        save_minutes: largest number of minutes between two checkpoints; Ctrl-C always writes one.
        valid_every: epochs between two validations; 0 for none. If there are any, the best model is kept, by the MRR
            of the validation split or the score of the task, averaged over the widths.
        patience: stop after this many validations without improvement; 0 for never.
        threads: CPU threads of each process; 0 for what the user sets by OMP_NUM_THREADS, or else for the cores that are
            free at the start, shared evenly by the processes. A resumed run keeps its number.
        workers: processes that prepare batches; 0 for the training process itself.
        report_to: trackers that are told, beside metrics.jsonl and results.json; one or a list. `tensorboard` and `mlflow`
            write to `tracking` in the run folder.
    """

    epochs: int = 20
    epoch_steps: int = 0
    batch_size: int = 512
    lr: float = 5e-5
    weight_decay: float = 1e-4
    warmup: int = 400
    grad_clip: float = 10.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    log_every: int = 10
    gradient_norms: bool = False
    save_minutes: float = 5.0
    valid_every: int = 0
    patience: int = 0
    threads: int = 0
    workers: int = 0
    report_to: Tracker | list[Tracker] | None = None

    optimizer: ClassVar[str] = "adamw"
    schedule: ClassVar[str] = "linear"

    @property
    def trackers(self) -> list[str]:
        """The trackers by name, each once."""
        named = [self.report_to] if isinstance(self.report_to, str) else self.report_to or []
        return [*dict.fromkeys(named)]


@dataclass
class EvaluationConfig:
    """The final ranking of every stage: exact, filtered, for heads and tails, by realistic ranks.

    Args:
        split: the split to rank; a list of names for several.
        batch_size: triples that are ranked at a time; the memory needed grows with it.
        rerank_hops: add `rerank_weight` to the score of entities at most this many hops from the query's; 0 for none.
        rerank_weight: what is added, in units of the cosine.
        types: `soft` adds to the scores of entities that fit the open end of a question (docs/trust.md), by a weight that the
            validation split chooses; `strict` also leaves out those that do not fit.
    """

    split: str | list[str] = "test"
    batch_size: int = 256
    rerank_hops: int = 0
    rerank_weight: float = 0.05
    types: Literal["off", "soft", "strict"] = "off"

    @property
    def splits(self) -> list[str]:
        """The splits to rank. PmdError if there are none."""
        if not self.split:
            raise PmdError("evaluation.split: nothing to rank; name a split, such as test")
        return [self.split] if isinstance(self.split, str) else list(self.split)


@dataclass
class EvaluateConfig:
    """Rank a split with trained models, text and embedding models alike.

    Args:
        model: a stage's folder in a run, or a Hub id; several for a table of all.
        data: the knowledge graph; by default that of the run that holds the first folder.
        evaluation: what is ranked, and how.
        threads: CPU threads; 0 for OMP_NUM_THREADS, or else for all free cores.
        keep_ranks: write the ranks by query of every width to RUN/ranks/STAGE.safetensors, as runs do themselves, for paired
            comparisons of runs that have none; queries/s is then of all widths together.
        trust: instead, measure how far the probabilities of the models and their answer sets can be trusted: calibration error, and
            the coverage of sets by relation and direction.
        tasks: what is measured, one or several between commas: `entities` ranks entities, as runs do; `relations` ranks the
            relations between two entities; `triples` tells true triples from false ones. The last two are noted in the run's
            results.json.
        max_triples: at most so many triples of a split, drawn, for the last two; 0 for all.
    """

    model: str | list[str]
    data: DataConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    threads: int = 0
    keep_ranks: bool = False
    trust: bool = False
    tasks: str = "entities"
    max_triples: int = 0

    @property
    def task_names(self) -> list[str]:
        """The tasks by name, each once. PmdError for one that there is not."""
        names = [*dict.fromkeys(name.strip() for name in self.tasks.split(","))]
        for name in names:
            if name not in TASKS:
                raise PmdError(f"--tasks: there is no task '{name}'; there are {', '.join(TASKS)}")
        return names

    @property
    def models(self) -> list[str]:
        return [self.model] if isinstance(self.model, str) else list(self.model)

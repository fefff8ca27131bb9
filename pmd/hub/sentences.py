"""What a card says in words, each sentence from the run's own settings and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from pmd.hub.facts import Facts, Metrics
from pmd.hub.papers import METHODS
from pmd.settings.catalogue import INTERACTIONS

TAUGHT = {
    "pmd": "progressive distillation with masked generation features (PMD)",
    "pmd_no_mgfd": "progressive distillation without masked generation features",
    "lkd": "softened logits (LKD)",
    "pkd": "patient distillation (PKD)",
    "bkd": "softened logits (BKD)",
    "minilm": "attention and value relations (MiniLM)",
    "rkd": "relations between examples (RKD)",
}
"""How a student was taught, by the method's name."""


def summary(facts: Facts) -> str:
    """What the model is."""
    return " ".join({"text": _text, "embedding": _embedding, "bert": _bert}[facts.kind](facts))


def _text(facts: Facts) -> Iterator[str]:
    result, graph = facts.result, facts.graph
    layers, width = f"{result['layers']} {plural(result['layers'], 'layer')}", f"{facts.dim}-dimensional vectors"
    yield (
        f"A text bi-encoder of {layers} for knowledge graph completion on `{graph.name}`: it reads names and "
        f"descriptions, and ranks all {graph.num_entities:,} entities as the missing end of a triple by the cosine of "
        f"{width}."
    )
    if facts.listed.get("load"):
        yield "It was trained in another run."
    elif result["teacher"] == "none":
        yield "It was trained on the graph's triples alone, without a teacher."
    else:
        mask = f", with {result['mask_rate']:.0%} of the tokens masked" if result["mask_rate"] else ""
        yield f"It was taught by the stage `{result['teacher']}` of the same run, by {TAUGHT[result['method']]}{mask}."
    yield from _widths(facts, "Its vectors")


def _embedding(facts: Facts) -> Iterator[str]:
    result, graph = facts.result, facts.graph
    yield (
        f"A {INTERACTIONS[result['interaction']].title} embedding model of width {facts.dim} for knowledge graph completion on "
        f"`{graph.name}`: it ranks all {graph.num_entities:,} entities as the missing end of a triple."
    )
    if result.get("teacher"):
        teacher = facts.results.get(result["teacher"], {})
        wide = f" of width {teacher['dim']}" if "dim" in teacher else ""
        first = f"; it began as `{result['start']}`" if result.get("start") else ""
        both = ", which learned with it" if result.get("released") else ""
        yield f"It was taught by the stage `{result['teacher']}`{wide}{both} (DualDE){first}."
    if facts.listed.get("crop"):
        yield f"It is the stage `{facts.listed['crop']}` of the same run, cropped without training."
    if facts.listed.get("load"):
        yield "It was trained in another run."
    yield from _widths(facts, "It")


def _bert(facts: Facts) -> Iterator[str]:
    result, method = facts.result, facts.result["method"]
    yield f"A BERT of {result['layers']} {plural(result['layers'], 'layer')} and width {facts.dim}, fine-tuned on GLUE's task `{facts.config['task']}`."
    if method in TAUGHT:
        yield f"It was taught by the stage `{result['teacher']}` of the same run, by {TAUGHT[method]}."
    if method == "hat":
        yield "All widths were trained in one model, one drawn for each step (HAT)."
    yield from _widths(facts, "It")


def _widths(facts: Facts, what: str) -> Iterator[str]:
    if len(facts.widths) > 1:
        leading = ", ".join(map(str, facts.widths[:-1]))
        yield f"{what} can be cropped: the leading {leading} dimensions were trained to stand alone."
    if facts.dim != facts.whole:
        yield f"It is the leading {facts.dim} of the {facts.whole} dimensions that were trained."


def limits(facts: Facts) -> list[str]:
    """What the model is for, and where it fails, as far as the run tells."""
    if facts.kind == "bert":
        said = [
            f"It classifies English texts as GLUE's `{facts.config['task']}` does, and was measured on that task's "
            "validation split alone, which also chose the epoch that was kept."
        ]
    else:
        said = [*_questions(facts), *_weaknesses(facts)]
    if not facts.metrics:
        said.append(
            f"Width {facts.dim} was not measured in the run, so nothing is known of its quality: the table above is of "
            "other widths."
        )
    return said


def _questions(facts: Facts) -> Iterator[str]:
    graph = facts.graph
    yield (
        f"It answers (h, r, ?) and (?, r, t) for the {graph.num_relations} {plural(graph.num_relations, 'relation')} and "
        f"{graph.num_entities:,} entities of `{graph.name}`, to propose missing facts that a person or a second source "
        "then checks; it says nothing about relations that are not in the graph."
    )
    if facts.kind == "text":
        yield (
            'It can read the description of an entity that is not in the graph (`answer(text="…")`), but it still '
            "chooses among the entities of the graph. It knows the language and the topics of its training texts only."
        )
    else:
        yield "It knows nothing of entities that were not in its training triples, and reads no texts."
    yield (
        "A score orders the answers to one question; it is no probability, and every question gets answers, also one "
        "that has none."
    )


def _weaknesses(facts: Facts) -> Iterator[str]:
    for split, metrics in facts.metrics.items():
        missed = 1 - metrics["hits_at_10"]
        yield (
            f"On the {split} split the right entity is not among the first ten answers for {missed:.1%} of "
            f"{metrics['num_queries']:,} queries, and not the first one for {1 - metrics['hits_at_1']:.1%}."
        )
        yield from _sides(split, metrics)
        ties = metrics["optimistic"]["mrr"] - metrics["pessimistic"]["mrr"]
        if ties > 0.01:
            yield f"Many candidates have equal scores there: how ties fall moves the MRR by {ties:.3f}."
    reranked = facts.config["evaluation"].get("rerank_hops") or 0
    if reranked:
        yield (
            f"The metrics are those of reranked candidates: entities within {reranked} hops of the query's gain "
            f"{facts.config['evaluation']['rerank_weight']}. `answer` does not do that."
        )


def _sides(split: str, metrics: Metrics) -> Iterator[str]:
    if not {"head", "tail"} <= metrics.keys():
        return
    head, tail = metrics["head"]["mrr"], metrics["tail"]["mrr"]
    if round(head, 3) != round(tail, 3):
        weak, strong = ("(?, r, t)", "(h, r, ?)") if head < tail else ("(h, r, ?)", "(?, r, t)")
        yield (
            f"It is weaker at {weak} than at {strong}: an MRR of {min(head, tail):.3f} against {max(head, tail):.3f} "
            f"({split} split)."
        )


def speed(facts: Facts) -> str | None:
    """What the run timed, and on what; None if it timed nothing of what is published."""
    result, environment = facts.result, facts.environment
    timed = []
    if facts.kind == "bert":
        of = result["widths"].get(str(facts.dim), {})
        if "speedup" in of:
            timed.append(f"{of['seconds']:.3f} s for a batch of 32, {of['speedup']:.2f} × as fast as the whole BERT")
    elif facts.kind == "text":
        timed.append(f"{result['entities_per_second']:,.0f} entities encoded a second")
    elif facts.dim == facts.whole:
        timed = [f"{seconds:.3g} s to rank the {split} split" for split, seconds in result["rank_seconds"].items()]
    if not timed:
        return None
    threads = environment.get("threads")
    on = [environment.get("device"), f"{threads} {plural(threads, 'thread')}" if threads else None]
    where = ", ".join(filter(None, on))
    return f"{'; '.join(timed)}{f' ({where})' if where else ''}. A single timing, as the run noted it."


def cited(facts: Facts) -> list[str]:
    """Keys of the papers that the model stands on."""
    keys = ["simkgc"] if facts.kind == "text" else []
    if facts.kind == "embedding":
        keys.append(facts.result["interaction"])
        if facts.result.get("teacher"):
            keys.append("dualde")
    if facts.kind == "bert":
        keys += ["bert", "glue"]
    keys = [*METHODS.get(facts.result.get("method"), ()), *keys]
    # The result of a BERT always names its widths; whether they were trained together, its method says.
    return [*keys, "med"] if facts.kind != "bert" and "widths" in facts.result else keys


def settings(facts: Facts) -> dict[str, Any]:
    """The run's settings without what only says where files lay."""
    shown = {key: value for key, value in facts.config.items() if key not in ("runs", "name")}
    shown["data"] = {key: value for key, value in shown["data"].items() if key != "cache"}
    return _public(shown)


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_public(of) for of in value]
    if isinstance(value, str) and value.startswith(("/", "~", "./", "../")):
        return PurePath(value).name
    return value


def plural(count: int, word: str) -> str:
    """The word, with an s unless there is one."""
    return word if count == 1 else f"{word}s"

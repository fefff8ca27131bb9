"""Gradients of the objectives of embeddings, averaged over processes as DDP does, in one process or several.

The batch has fifteen examples, of which the second process has one more.
"""

from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from pmd.core.types import Objective
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives
from pmd.distill.kge_dualde import DualDistillation
from pmd.distill.kge_med import MutualEvolution
from pmd.distill.kge_supervised import KgeSupervised
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import DualConfig, LossConfig
from pmd.settings.med import MedConfig, resolve_med
from pmd.training.batching import share_of_batch
from pmd.training.gradients import gradient_norms

ENTITIES, RELATIONS = 20, 3

LOSSES = {
    "logistic": LossConfig("logistic", margin=2.0, negatives=6, adversarial=1.0, filtered=True),
    "shared": LossConfig("margin", margin=1.0, negatives=6, shared=2, constraint=0.2),
    "sparse": LossConfig("logistic", margin=2.0, negatives=6),
    "one_vs_all": LossConfig("one_vs_all", margin=0.0, n3=0.1),
    "k_vs_all": LossConfig("k_vs_all", margin=0.0, label_smoothing=0.1),
    "dualde": LossConfig("logistic", margin=2.0, negatives=6, adversarial=1.0),
    "med": LossConfig("softmax", margin=0.0, negatives=6, constraint=0.2),
    "evolution": LossConfig("logistic", margin=2.0, negatives=6, filtered=True, shared=2),
    "evolution by confidence": LossConfig("logistic", margin=2.0, negatives=6),
    "confidences": LossConfig("softmax", margin=0.0, negatives=6),
    "confidences of all": LossConfig("k_vs_all", margin=0.0),
}
INTERACTIONS = {
    "logistic": "rotate",
    "shared": "transh",
    "sparse": "pairre",
    "one_vs_all": "complex",
    "k_vs_all": "simple",
    "confidences": "rotate",
    "confidences of all": "simple",
}


def share(options: LossConfig, weighted: bool, process: int, processes: int) -> KgeBatch:
    """One process's share of a batch of fifteen examples."""
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(high, (60,), generator=generator) for high in (ENTITIES, RELATIONS, ENTITIES)]
    triples = torch.stack(columns, dim=1)
    confidences = torch.rand(60, generator=generator) if weighted else None
    positions = [*range(15)]
    if options.name == "one_vs_all":
        examples = OneVsAll(triples)
    elif options.name == "k_vs_all":
        examples = KvsAll(triples, ENTITIES, RELATIONS, confidences=confidences)
        positions = [0, 3, 5, 7, 8, *range(len(examples) - 10, len(examples))]
    else:
        known = KnownAnswers(triples, ENTITIES, RELATIONS) if options.filtered else None
        examples = SampledNegatives(
            triples, ENTITIES, options.negatives, options.shared, known, confidences=confidences
        )
    return share_of_batch(examples, process, processes, positions)


def model(name: str, dim: int, seed: int, widths: tuple[int, ...] | None = None) -> KgeModel:
    torch.manual_seed(seed)
    return KgeModel(name, ENTITIES, RELATIONS, dim, widths, reciprocal=name == "complex")


def objective_of(kind: str) -> Objective:
    """The objective of a kind of `LOSSES`, with the same weights each time."""
    options = LOSSES[kind]
    if kind == "dualde":
        models = (model("rotate", 4, 1), model("rotate", 16, 2))
        teacher = LossConfig("logistic", margin=3.0, negatives=6, adversarial=1.0)
        return DualDistillation(*models, options, teacher, DualConfig(0.4, 0.7), release=True)
    if kind == "med":
        med = resolve_med(MedConfig("best", calibrated=True, mutual=0.5, dynamic=True, learned=True, soft=1.0))
        return MutualEvolution(model("transe", 16, 1, (2, 4, 16)), options, med)
    if kind.startswith("evolution"):
        med = resolve_med(MedConfig("med", learned=True, w1=0.7, w2=0.4))
        return MutualEvolution(model("transe", 16, 1, (2, 4, 16)), options, med)
    return KgeSupervised(model(INTERACTIONS[kind], 8, 1).sparse_gradients(kind == "sparse"), options)


def write(out: str | Path) -> None:
    """Write the gradients, their norms by term, and the terms of every objective."""
    accelerator = Accelerator(cpu=True)
    found = {"processes": torch.tensor([accelerator.num_processes])}
    for kind, options in LOSSES.items():
        objective = objective_of(kind)
        wrapped = accelerator.prepare(objective).train()
        weighted = "confidence" in kind
        batch = share(options, weighted, accelerator.process_index, accelerator.num_processes)
        terms = wrapped(batch)
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        norms = gradient_norms(objective.weights, terms, trained, accelerator)
        found |= {f"{kind}/{name}": torch.tensor([norm]) for name, norm in norms.items()}
        accelerator.backward(objective.total(terms))
        rows = torch.tensor([float(len(batch.triples))])
        found[f"{kind}/rows"] = accelerator.reduce(rows, "sum")
        for name, parameter in objective.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad.is_sparse == (kind == "sparse")
            found[f"{kind}/{name}"] = parameter.grad.to_dense()
        for name, value in terms.items():
            found[f"{kind}/term:{name}"] = accelerator.reduce(value.detach(), "mean").reshape(1)
    if accelerator.is_main_process:
        save_file({name: value.contiguous() for name, value in found.items()}, out)

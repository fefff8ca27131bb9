"""Gradients of the objectives of texts, averaged over processes as DDP does, in one process or several."""

from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import BertConfig, PreTrainedTokenizerFast

from pmd.core.distributed import global_mean
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText, Reading
from pmd.distill.bert_finetune import Supernet
from pmd.distill.text_baselines import PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.widths import CroppableObjective
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.students import student_of
from pmd.settings.med import MedConfig, resolve_med
from pmd.settings.text import ContrastiveConfig, DistillConfig
from pmd.training.batching import epoch_batches, share_of_batch
from pmd.training.gradients import gradient_norms

PMD = {
    "pmd": {"masked_view": "same"},
    "separate": {"masked_view": "separate", "masked_share": 0.5, "mask_choice": "attention"},
    "uncertain": {"masked_view": "same", "mask_rate_by": "uncertainty", "mask_choice": "uncertainty", "score": "mse"},
    "pooled": {"masked_view": "separate", "feature": "pooled", "feature_mean": "sides"},
}
"""Settings of distillation by masked features."""

WORDS = [f"w{i}" for i in range(30)]


def tiny():
    generator = torch.Generator().manual_seed(0)

    def draw(high, n):
        return torch.randint(high, (n,), generator=generator).tolist()

    names = [" ".join(WORDS[i] for i in draw(30, 2 + n % 3)) for n in range(20)]
    triples = torch.tensor([draw(20, 40), draw(3, 40), draw(20, 40)]).T.contiguous()
    ids = [f"e{i}" for i in range(20)]
    graph = KnowledgeGraph(
        "tiny", ids, names, [""] * 20, ["a", "b", "c"], ["w1", "w2", "w3"], triples, triples, triples
    )
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "inverse", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    encoder = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(1)
    teacher = BiEncoder(BiEncoderConfig(encoder=encoder))
    return graph, GraphText(graph, tokenizer, Reading(16, 3, 4)), teacher


def uneven_mean(accelerator: Accelerator) -> dict[str, Tensor]:
    """Gradient of a mean over rows of which the second process has three and the first one."""
    weight, rows = torch.ones(2, requires_grad=True), torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0], [13.0, 17.0]])
    if accelerator.num_processes > 1:
        rows = rows[:1] if accelerator.process_index == 0 else rows[1:]
    global_mean((rows @ weight).square()).backward()
    return {"weight": accelerator.reduce(weight.grad, "mean")}


def drawn_widths(accelerator: Accelerator) -> dict[str, Tensor]:
    """The widths of ten steps, of a supernet and of MED, by processes whose random numbers differ."""
    torch.manual_seed(accelerator.process_index)
    seen, widths = [], [1, 2, 3, 4, 5, 6, 7, 8]

    def forward_widths(widths: list[int], first_tokens: None) -> Tensor:
        seen.extend(widths)
        return torch.zeros(1, 2, 2)

    model = torch.nn.Module()
    model.widths, model.forward_widths = widths, forward_widths
    model.config = SimpleNamespace(_attn_implementation="sdpa")
    batch = SimpleNamespace(
        weight=1.0, labels=torch.tensor([0, 1]), packed=SimpleNamespace(inputs={}, first_tokens=None)
    )
    supernet, med = Supernet(model), CroppableObjective(widths, resolve_med(MedConfig(draw=3)), False)
    for _ in range(10):
        supernet(batch)
        seen.extend(med.draw_widths()[1])
    return {"drawn": accelerator.gather(torch.tensor([seen]))}


def objective_gradients(accelerator: Accelerator, kind: str) -> dict[str, Tensor]:
    """Gradients of the student after two batches, and the terms of the second with the norms of their gradients."""
    graph, text, teacher = tiny()
    student = student_of(teacher, [1])
    options = ContrastiveConfig(pre_batches=1)
    arguments = (student, options, graph.train, 20, 3)
    torch.manual_seed(3)  # of the masks
    if kind in PMD:
        objective = MaskedFeatureDistillation(
            *arguments,
            teacher=teacher,
            distill=DistillConfig(beta=0.3, similarity=0.2, **PMD[kind]),
            mask_rate=0.3,
            mask=text.mask,
            special=torch.tensor(text.special),
        )
    else:
        objective = PatientDistillation(*arguments, teacher=teacher, distill=DistillConfig(alpha=0.4))
    wrapped = accelerator.prepare(objective)
    wrapped.train()
    confidences = torch.rand(40, generator=torch.Generator().manual_seed(2)) if kind == "confidences" else None
    collate = TripleCollator(graph.train, text, 64, confidences)
    terms, norms = {}, {}
    for positions in epoch_batches(40, 20, seed=0, epoch=0):
        terms = wrapped(share_of_batch(collate, accelerator.process_index, accelerator.num_processes, positions))
        norms = gradient_norms(objective.weights, terms, [*student.parameters()], accelerator)
        accelerator.backward(objective.total(terms))
    values = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    means = {f"term:{name}": accelerator.reduce(value.detach(), "mean") for name, value in terms.items()}
    scalars = means | {name: torch.tensor(norm) for name, norm in norms.items()}
    return values | {name: scalar.reshape(1) for name, scalar in scalars.items()}


def write(kind: str, out: str | Path) -> None:
    """Write what one of the functions above gives: `mean`, `drawn`, or the objective of a kind of `PMD`, `pkd` or, with `confidences`, pkd."""
    accelerator = Accelerator(cpu=True)
    functions = {"mean": uneven_mean, "drawn": drawn_widths}
    values = functions[kind](accelerator) if kind in functions else objective_gradients(accelerator, kind)
    values["processes"] = torch.tensor([accelerator.num_processes])
    if accelerator.is_main_process:
        save_file({name: value.contiguous() for name, value in values.items()}, out)

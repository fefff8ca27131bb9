"""Frozen layers read a text once: what a student learns is what it would learn if they read it in every step."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from pmd.core.distributed import rank
from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText
from pmd.distill.kept import rows as kept_rows
from pmd.distill.kept.lower_states import keep_lower_states
from pmd.distill.text_baselines import LogitDistillation, PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.text_supervised import Supervised
from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig
from pmd.models.text.lower_layers import freeze
from pmd.settings.text import ContrastiveConfig, DistillConfig

from ..tiny import READING, TRAIN, supervised_arguments, tiny_graph, tiny_model, tiny_text
from ..tiny_encoders import CONFIGS, encoder_of, tokenizer_of

POSITIONS = [*range(0, len(TRAIN), 2)]
METHODS = {
    "labels": (Supervised, None),
    "lkd": (LogitDistillation, DistillConfig(alpha=0.4)),
    "pkd": (PatientDistillation, DistillConfig(alpha=0.4, beta=0.3)),
    "pmd": (MaskedFeatureDistillation, DistillConfig(alpha=0.4, beta=0.3, masked_share=0.5)),
    "one view": (MaskedFeatureDistillation, DistillConfig(alpha=0.4, beta=0.3, masked_view="same")),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(kept_rows, "BLOCK", 5)


def frozen(count: int = 2, **options) -> BiEncoder:
    student = tiny_model(3, seed=1, dropout=0.3, **options)
    freeze(student, count)
    return student


def objective(name: str, student: BiEncoder) -> Supervised:
    method, distill = METHODS[name]
    options = {} if distill is None else {"distill": distill, "teacher": tiny_model(3, seed=2).eval()}
    if method is MaskedFeatureDistillation:
        options |= {"mask_rate": 0.3, "mask": tiny_text().mask, "special": torch.tensor(tiny_text().special)}
    return method(*supervised_arguments(student, ContrastiveConfig()), **options).train()


def collator(text: GraphText | None = None) -> TripleCollator:
    return TripleCollator(tiny_graph().train, text or tiny_text(), 60)


@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_are_those_of_reading_again(name, tmp_path):
    found = []
    for kept in (False, True):
        student, collate = frozen(), collator()
        learning = objective(name, student)
        if kept:
            collate.lower_states = keep_lower_states(student, tiny_text(), collate, tmp_path)
        torch.manual_seed(3)  # of dropout, which frozen layers have not, and of masks
        loss = learning.total(learning(collate(POSITIONS)))
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in student.named_parameters() if p.grad is not None}))
    (loss, gradients), (kept_loss, kept_gradients) = found
    assert kept_loss == pytest.approx(loss, rel=2e-3)
    assert gradients.keys() == kept_gradients.keys()
    assert all("layer.2." in name or "temperature" in name for name in gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            kept_gradients[name], gradient, rtol=0.05, atol=1e-6 + 5e-3 * gradient.abs().max().item()
        )


@pytest.mark.parametrize("name", METHODS)
def test_frozen_layers_read_only_what_is_masked(name, tmp_path, monkeypatch):
    student, collate = frozen(), collator()
    learning = objective(name, student)
    collate.lower_states = keep_lower_states(student, tiny_text(), collate, tmp_path)
    read = []
    for encoder in student.encoders:
        encoder.encoder.layer[0].register_forward_hook(lambda *_: read.append(1))
    batch = collate(POSITIONS)
    learning(batch)
    whole = len(batch.queries) + len(batch.entities)
    # PKD compares lower layers too; one view of masked texts is drawn anew in every step.
    assert len(read) == {"labels": 0, "lkd": 0}.get(name, whole)
    assert learning.takes_states == (name in ("labels", "lkd", "pmd"))


@pytest.mark.parametrize("family", [*CONFIGS])
@torch.no_grad()
def test_encoders_of_all_kinds(family, tmp_path):
    config = encoder_of(family).config
    student = BiEncoder(BiEncoderConfig(encoder=config, max_tokens=READING.max_length))
    student.query_encoder.load_state_dict(encoder_of(family).state_dict(), strict=False)
    student.entity_encoder.load_state_dict(encoder_of(family, 1).state_dict(), strict=False)
    if family == "albert":  # one layer, again and again
        with pytest.raises(PmdError, match=r"train\.frozen_share: .*'albert'"):
            freeze(student, 2)
        return
    freeze(student.eval(), 2)
    text = GraphText(tiny_graph(), tokenizer_of(family), READING)
    collate = collator(text)
    collate.lower_states = keep_lower_states(student, text, collate, tmp_path)
    learning = Supervised(*supervised_arguments(student, ContrastiveConfig()))
    batch = collate(POSITIONS)
    plain = replace(
        batch,
        queries=[replace(chunk, states=None) for chunk in batch.queries],
        entities=[replace(chunk, states=None) for chunk in batch.entities],
    )
    for kept, again in zip(learning.encode(student, batch), learning.encode(student, plain)):
        assert (kept.pooled - again.pooled).abs().max() < 2e-3


def test_states_that_do_not_suffice_are_refused(tmp_path):
    """As of an encoder whose upper layers look at what it read once more."""
    student, collate = frozen(), collator()
    layers, seen = student.entity_encoder.encoder.layer, []
    layers[0].register_forward_hook(lambda _, given, made: seen.append(made[0] if isinstance(made, tuple) else made))
    layers[2].register_forward_pre_hook(lambda _, given: (given[0] + 3 * len(seen), *given[1:]))
    with pytest.raises(PmdError, match="upper layers of a 'bert' encoder need more"):
        keep_lower_states(student, tiny_text(), collate, tmp_path)


def test_states_too_large_for_16_bits_are_refused(tmp_path):
    student = frozen()
    with torch.no_grad():
        student.entity_encoder.encoder.layer[1].output.LayerNorm.bias.fill_(1e5)
    with pytest.raises(PmdError, match="too large for 16 bits"):
        keep_lower_states(student, tiny_text(), collator(), tmp_path)


def test_a_full_disk_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(PmdError, match=r"states of frozen layers take .*train\.frozen_share"):
        keep_lower_states(frozen(), tiny_text(), collator(), tmp_path)


def test_a_damaged_block_is_read_again(tmp_path):
    student, collate = frozen(), collator()
    queries, _ = keep_lower_states(student, tiny_text(), collate, tmp_path)
    whole = queries.path.read_bytes()
    damaged = bytearray(whole)
    damaged[-7] ^= 1
    queries.path.write_bytes(damaged)
    again, _ = keep_lower_states(student, tiny_text(), collate, tmp_path)
    assert again.path.read_bytes() == whole and np.isfinite(again.rows().flat).all()


def learn_in_two(folder: str) -> None:
    """Called in each of two processes: both read the kept states of a batch together, and have the loss of one."""
    Accelerator(cpu=True)
    before, kept_rows.BLOCK = kept_rows.BLOCK, 5
    try:
        student, collate = tiny_model(3, seed=1), collator()
        freeze(student, 2)
        collate.lower_states = keep_lower_states(student, tiny_text(), collate, Path(folder))
        batch, learning = collate(POSITIONS), objective("labels", student)
        loss = learning.total(learning(batch))
        (Path(folder) / f"loss-{rank()}").write_text(repr(loss.item()))
    finally:
        kept_rows.BLOCK = before


def test_two_processes_keep_and_learn_what_one_does(two_processes, tmp_path):
    two_processes.call(f"{__name__}:learn_in_two", tmp_path / "two")
    learn_in_two(str(tmp_path / "one"))
    one = float((tmp_path / "one" / "loss-0").read_text())
    for process in range(2):
        assert float((tmp_path / "two" / f"loss-{process}").read_text()) == pytest.approx(one, rel=1e-5)
    files = [file for file in (tmp_path / "one").iterdir() if not file.name.startswith("loss")]
    assert len(files) == 4 and all(file.read_bytes() == (tmp_path / "two" / file.name).read_bytes() for file in files)

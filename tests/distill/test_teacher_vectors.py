"""A teacher that is asked once says what it says in every batch, whenever and by whomever it is asked."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from pmd.core.errors import PmdError
from pmd.data.texts.batches import TripleCollator
from pmd.distill.kept import rows as kept_rows
from pmd.distill.kept.teacher_vectors import ask_once
from pmd.distill.text_baselines import LogitDistillation, PatientDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.settings.text import ContrastiveConfig, DistillConfig

from ..tiny import READING, TRAIN, supervised_arguments, tiny_graph, tiny_model, tiny_text

POSITIONS = [*range(0, len(TRAIN), 2)]
DISTILL = DistillConfig(alpha=0.4, beta=0.3, similarity=0.5, masked_share=0.5)
KINDS = {
    "lkd": (LogitDistillation, DISTILL),
    "pkd": (PatientDistillation, DISTILL),
    "pmd": (MaskedFeatureDistillation, DISTILL),
    "rates": (MaskedFeatureDistillation, replace(DISTILL, mask_rate_by="uncertainty")),
    "rates of one view": (
        MaskedFeatureDistillation,
        replace(DISTILL, mask_rate_by="uncertainty", masked_view="same", similarity=0.0),
    ),
    "no features": (MaskedFeatureDistillation, replace(DISTILL, beta=0.0, masked_view="same")),
}


def teacher_of(seed: int = 2):
    return tiny_model(4, seed=seed, init_temperature=0.2, dropout=0.3).eval()


def objective(kind: str, **changes):
    method, distill = KINDS[kind]
    text = tiny_text()
    masks = {"mask_rate": 0.3, "mask": text.mask, "special": torch.tensor(text.special)}
    return method(
        *supervised_arguments(tiny_model(2, seed=1), ContrastiveConfig()),
        teacher=teacher_of(),
        distill=replace(distill, **changes),
        **(masks if method is MaskedFeatureDistillation else {}),
    ).train()


def collator(**options) -> TripleCollator:
    return TripleCollator(tiny_graph().train, tiny_text(), 60, **options)


def ask(folder, teacher=None, layers=(), text=None, collate=None):
    return ask_once(teacher or teacher_of(), text or tiny_text(), collate or collator(), layers, Path(folder))


def contents(files) -> list[bytes]:
    return [path.read_bytes() for file in files for path in (file.path, file.sums)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(kept_rows, "BLOCK", 5)


def of_both(objective_, collate, asked) -> list[dict[str, torch.Tensor]]:
    """The loss terms of a batch with the same random masks, without and with what the teacher was asked before."""
    terms = []
    for vectors in (None, asked):
        collate.teacher_vectors = vectors
        torch.manual_seed(7)
        terms.append(objective_(collate(POSITIONS)))
    return terms


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_is_kept_is_what_is_asked_each_time(kind, tmp_path):
    objective_, collate = objective(kind), collator()
    asked = ask(tmp_path, objective_.teacher.model, objective_.asks, collate=collate)
    expected, found = of_both(objective_, collate, asked)
    assert expected.keys() == found.keys() == objective_.weights.keys()
    for name, value in expected.items():
        assert value.item() == pytest.approx(found[name].item(), rel=1e-5), name


@pytest.mark.parametrize("kind", ["lkd", "pkd", "pmd", "no features"])
def test_the_teacher_is_not_asked_again(kind, tmp_path, monkeypatch):
    objective_, collate = objective(kind), collator()
    collate.teacher_vectors = ask(tmp_path, objective_.teacher.model, objective_.asks, collate=collate)
    calls = []
    forward = objective_.teacher.model.forward
    monkeypatch.setattr(
        objective_.teacher.model, "forward", lambda *given, **more: calls.append(given) or forward(*given, **more)
    )
    batch = collate(POSITIONS)
    objective_.total(objective_(batch)).backward()
    masked = kind == "pmd"  # drawn anew in every step
    assert len(calls) == (len(batch.queries) + len(batch.entities) if masked else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_weight_0_ask_nobody(kind, monkeypatch):
    plain = objective(kind, mask_rate_by="schedule", alpha=0.0, beta=0.0, similarity=0.0)
    assert plain.asks is None and [*plain.weights] == ["ce"]
    monkeypatch.setattr(plain.teacher.model, "forward", None)
    terms = plain(collator()(POSITIONS))
    assert [*terms] == ["ce"]
    features = objective("pmd", alpha=0.0, similarity=0.0)
    assert features.asks is None and [*features(collator()(POSITIONS))] == ["ce", "feature"]


@torch.no_grad()
def test_a_teacher_that_reads_otherwise_is_kept_too(tmp_path):
    theirs = tiny_text(replace(READING, max_length=18))
    collate = collator(teacher_text=theirs)
    asked = ask(tmp_path, text=theirs, collate=collate)
    expected, found = of_both(objective("lkd"), collate, asked)
    collate.teacher_text = None
    other = of_both(objective("lkd"), collate, None)[0]
    assert expected["logits"].item() == pytest.approx(found["logits"].item(), rel=1e-5)
    assert expected["logits"].item() != pytest.approx(other["logits"].item(), rel=1e-3)


def test_it_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    whole = contents(ask(tmp_path / "whole"))
    write, written = kept_rows.RowFile.write, []

    def stopping(file, block, rows):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(block)
        write(file, block, rows)

    monkeypatch.setattr(kept_rows.RowFile, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path / "cut")
    written = ["not", "stopped"]
    monkeypatch.setattr(kept_rows.RowFile, "write", lambda *given: written.append(1) or write(*given))
    files = ask(tmp_path / "cut")
    assert contents(files) == whole
    assert len(written) - 2 == sum(file.blocks for file in files) - 3
    assert contents(ask(tmp_path / "cut")) == whole and len(written) - 2 == sum(file.blocks for file in files) - 3


@pytest.mark.parametrize("what", ["path", "sums"])
def test_what_is_damaged_is_asked_again(what, tmp_path):
    files = ask(tmp_path)
    whole = contents(files)
    for damage in (lambda data: data[:-3], lambda data: data[:9] + b"?" + data[10:], lambda data: b""):
        file = getattr(files[0], what)
        file.write_bytes(damage(file.read_bytes()))
        assert contents(ask(tmp_path)) == whole


def test_other_teachers_texts_and_precisions_have_files_of_their_own(tmp_path):
    (first, _), names = ask(tmp_path), set()
    for options in ({"teacher": teacher_of(3)}, {"text": tiny_text(replace(READING, max_length=18))}, {"layers": [1]}):
        names.add(ask(tmp_path, **options)[0].path.name)
        assert len([*tmp_path.iterdir()]) == 4  # those of the others are removed
    with torch.autocast("cpu", torch.bfloat16):
        files = ask(tmp_path)
    assert len(names | {first.path.name, files[0].path.name}) == 5
    plain = ask(tmp_path)[0](first.keys)
    assert ask(tmp_path, copy.deepcopy(teacher_of()))[0].path == first.path
    with torch.autocast("cpu", torch.bfloat16):
        coarse = ask(tmp_path)[0](first.keys)
    assert 1e-4 < (plain - coarse).norm() / plain.norm() < 2e-2


def test_a_full_disk_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(PmdError, match=r"0\.0 GB are free; .* distill\.ask_once") as caught:
        ask(tmp_path)
    assert str(tmp_path) in str(caught.value)


def ask_in_small_blocks(folder: str) -> None:
    """Called in each of two processes."""
    Accelerator(cpu=True)
    before, kept_rows.BLOCK = kept_rows.BLOCK, 5
    try:
        ask(folder)
    finally:
        kept_rows.BLOCK = before


def test_two_processes_write_what_one_writes(two_processes, tmp_path):
    two_processes.call(f"{__name__}:ask_in_small_blocks", tmp_path / "two")
    files = ask(tmp_path / "one")
    assert contents(files) == [(tmp_path / "two" / f.name).read_bytes() for o in files for f in (o.path, o.sums)]

"""An embedding model beside the text teacher: its scores are mixed into the logits that the student follows."""

import shutil

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.distill.teacher import Structure, batch_scores
from pmd.models.kge.model import KgeModel
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.text import resolve_stages
from pmd.settings.text import ProgressiveConfig

from ..recipes.test_text import TINY
from ..tiny import tiny_batch, tiny_graph
from .test_text_baselines import POSITIONS, objective, slow_logits


def embedding(reciprocal: bool = True) -> KgeModel:
    torch.manual_seed(3)
    graph = tiny_graph()
    return KgeModel("complex", graph.num_entities, graph.num_relations, 4, reciprocal=reciprocal, init=1.0).eval()


@torch.no_grad()
def scores_by_hand(model: KgeModel, examples: torch.Tensor) -> np.ndarray:
    relations, rows = tiny_graph().num_relations, []
    for head, relation, _ in examples.tolist():
        if relation < relations:
            rows.append(model.score_all(torch.tensor([[head, relation, 0]]), "tail")[0, examples[:, 2]])
        else:
            rows.append(model.score_all(torch.tensor([[0, relation - relations, head]]), "head")[0, examples[:, 2]])
    return torch.stack(rows).double().numpy()


@torch.no_grad()
@pytest.mark.parametrize("reciprocal", [True, False])
def test_the_scores_of_a_batch_are_those_of_its_queries(reciprocal):
    model, examples = embedding(reciprocal), tiny_batch(POSITIONS).examples
    scores = batch_scores(model, examples, tiny_graph().num_relations)
    np.testing.assert_allclose(scores, scores_by_hand(model, examples), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_student_follows_the_mixed_logits(share):
    lkd, batch = objective("lkd"), tiny_batch(POSITIONS)
    lkd.structure = Structure(embedding(), share, tiny_graph().num_relations)
    mine, text = slow_logits(lkd.student, batch), slow_logits(lkd.teacher.model, batch)
    scores = scores_by_hand(embedding(), batch.examples)
    scores -= scores.mean(1, keepdims=True)
    spread = np.sqrt(((text - text.mean(1, keepdims=True)) ** 2).mean() / (scores**2).mean())
    taught, expected = (1 - share) * text + share * spread * scores, 0.0
    for axis in (0, 1):
        p, q = (softmax(logits / 3, axis=axis) for logits in (taught, mine))
        expected += rel_entr(p, q).sum() / len(p) * 9
    assert lkd(batch)["logits"].item() == pytest.approx(expected, rel=1e-4)


def test_stages_have_a_share_of_their_own_and_a_teacher_none():
    stages = "--stages=[{name: a, layers: 4}, {name: b, layers: 2, structure_share: 0.1}, {name: c, layers: 1}]"
    resolved = resolve_stages(read_config(ProgressiveConfig, [*TINY, stages, "--distill.structure=runs/kge"]), 4)
    assert [stage.structure_share for stage in resolved] == [0.0, 0.1, 0.4]
    plain = resolve_stages(read_config(ProgressiveConfig, TINY), 4)
    assert {stage.structure_share for stage in plain} == {0.0}
    with pytest.raises(PmdError, match=r"stages\[1\] \(b\).structure_share: 1.5 is not in \[0, 1\]"):
        wrong = stages.replace("0.1", "1.5")
        resolve_stages(read_config(ProgressiveConfig, [*TINY, wrong, "--distill.structure=runs/kge"]), 4)
    alone = [*TINY, "--stages=[{name: a}, {name: b, layers: 2, structure_share: 0.1}]"]
    with pytest.raises(PmdError, match=r"\(b\).structure_share: there is no distill.structure to have one"):
        resolve_stages(read_config(ProgressiveConfig, alone), 4)


def test_structure_that_teaches_no_stage_is_refused():
    alone = [*TINY, '--stages=[{"name": "teacher"}]', "--distill.structure=runs/kge"]
    with pytest.raises(PmdError, match=r"distill.structure: no stage is taught by it; leave it out"):
        resolve_stages(read_config(ProgressiveConfig, alone), 4)


def test_a_run_is_taught_by_text_and_structure(folder, tmp_path, capsys):
    train = [f"--data.path={folder}", f"--runs={tmp_path}", "--train.threads=1", "--train.epochs=2"]
    COMMANDS["train"]([*train, "--model.interaction=complex", "--model.dim=4", "--name=kge"])
    run = next(tmp_path.glob("kge-*"))
    capsys.readouterr()
    chain = [*TINY, *train, "--distill.depths=[2,1]", "--distill.mask_rates=[0.2,0.1]", f"--distill.structure={run}"]
    COMMANDS["progressive"]([*chain, "--name=taught"])
    assert "teacher, pmd, structure 0.4" in capsys.readouterr().err
    with pytest.raises(PmdError, match=r"distill.structure: '.*grade2' is no embedding model; give the folder of one"):
        taught = next(tmp_path.glob("taught-*")) / "grade2"
        COMMANDS["progressive"]([*TINY, *train, f"--distill.structure={taught}", "--name=wrong"])
    with pytest.raises(
        PmdError, match=r"distill.structure: '.*complex' was trained on another graph, or on another split"
    ):
        other = shutil.copytree(folder, tmp_path / "other")
        lines = (other / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (other / "train.tsv").write_text("".join(lines[1:]), encoding="utf-8")
        COMMANDS["progressive"]([*TINY, *train, f"--data.path={other}", f"--distill.structure={run}", "--name=wrong"])
    with pytest.raises(PmdError, match=r"distill.structure: no folder 'nowhere'"):
        COMMANDS["progressive"]([*TINY, *train, "--distill.structure=nowhere", "--name=wrong"])

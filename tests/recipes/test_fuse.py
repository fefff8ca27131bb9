"""Text and structure as one model: its scores by value, in every way that a model is used."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.evaluation.fusing import choose, validate
from pmd.models.kge.folder import save as save_kge
from pmd.models.text.folder import TextModel
from pmd.models.text.folder import save as save_text
from pmd.models.text.start import train_wordpiece
from pmd.recipes.ranking import read_ranks
from pmd.use.answer_records import Question

from ..tiny import tiny_encoder
from ..trained import made_once

ASKED = {"tail": "Icelandish", "relation": "speaks"}


def write_parts(base, graph):
    """A text model and embedding models of random weights."""
    from pmd.models.text.bi_encoder import BiEncoder, BiEncoderConfig

    torch.manual_seed(0)
    tokenizer = train_wordpiece(graph, 300)
    encoder = replace_vocabulary(tiny_encoder(1, 16), len(tokenizer))
    model = BiEncoder(BiEncoderConfig(encoder=encoder, max_tokens=24, widths=[4, 16]))
    save_text(base / "text", TextModel(model, tokenizer), graph)
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations, "dim": 8, "init": 1.0}
    for name, options in {
        "complex": {"reciprocal": True, "widths": (2, 8)},
        "transe": {"norm": "squared"},
        "l1": {"norm": "l1"},
    }.items():
        interaction = "transe" if name == "l1" else name
        save_kge(base / name, pmd.KgeModel(interaction, **sizes, **options), graph)


def replace_vocabulary(config, size):
    config.vocab_size = size
    return config


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """The parts, and a run of each rule for weights, on a graph with an entity that no training triple has."""

    def chosen(kind, validated, num_questions):
        """Random models have no best share: both parts count here."""
        weights = choose(kind, validated, num_questions)
        shares = {"common": np.full(num_questions, 0.4), "relation": np.linspace(0.2, 0.8, num_questions)}
        return weights if weights.by_query else replace(weights, shares=shares[kind], common=0.4)

    def make(base):
        shutil.copytree(folder, base / "towns")
        with open(base / "towns" / "entities.tsv", "a") as file:
            file.write("e48\tAtlantis\ta town that nobody has seen\n")
        graph = pmd.load_graph(base / "towns")
        write_parts(base, graph)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pmd.recipes.fuse.choose", chosen)
            for structure, weights in (("complex", "common"), ("complex", "query"), ("transe", "relation")):
                out = base / f"{structure}-{weights}"
                pmd.fuse(base / "text", base / structure, out, base / "towns", weights=weights, threads=1)

    base = made_once(tmp_path_factory, "fused", make)
    base = shutil.copytree(base, tmp_path_factory.mktemp("fused") / "made")  # some tests write into it
    return SimpleNamespace(base=base, graph=pmd.load_graph(base / "towns"))


@pytest.fixture(params=["complex-common", "complex-query", "transe-relation"])
def run(request, made):
    return made.base / request.param


def triples_of(graph):
    return torch.tensor([(e, r, e) for e in range(graph.num_entities) for r in range(graph.num_relations)])


def part_scores(made, run, target):
    """Cosines and scores of the embedding model, and which entities the latter knows."""
    triples, graph = triples_of(made.graph), made.graph
    with torch.no_grad():
        text = pmd.load_scorer(made.base / "text", graph).score_all(triples, target)
        structure = pmd.load_scorer(made.base / run.name.split("-")[0], graph).score_all(triples, target)
    return text, structure


def questions_of(made, model, target):
    known = "head" if target == "tail" else "tail"
    graph = made.graph
    return [
        model.question(**{known: graph.entity_ids[e], "relation": graph.relation_ids[r]})
        for e, r, _ in triples_of(graph).tolist()
    ]


@pytest.mark.parametrize("target", ["head", "tail"])
def test_a_score_is_the_weighted_sum_of_both(run, made, target):
    scorer = pmd.load_scorer(run / "fused", made.graph)
    text, structure = part_scores(made, run, target)
    triples, known = triples_of(made.graph), torch.arange(49) < 48
    factors = torch.from_numpy(load_file(run / "fused" / "weights.safetensors")["factors"])
    factors = factors[triples[:, 1] + 2 * (target == "head")]
    fused = scorer.score_all(triples, target)
    if run.name.endswith("query"):  # every query has its own: read from two candidates
        of_parts = torch.stack([text[:, :48], structure[:, :48]], 2)
        factors = torch.linalg.lstsq(of_parts, fused[:, :48, None]).solution.squeeze(2)
        assert factors[: 2 * 48].std(0).min() > 1e-6
    factors = torch.where(known[triples[:, 0], None], factors, factors * torch.tensor([1.0, 0.0]))
    structure[:, 48] = structure[:, :48].mean(1)
    expected = factors[:, :1] * text + factors[:, 1:] * structure
    torch.testing.assert_close(fused, expected, atol=2e-4, rtol=1e-4)


def test_ranks_by_query_are_kept(run, made):
    width = Run(run).results["fused"].dim
    kept = read_ranks(run / "fused", "test", [width])[width]
    ranks = pmd.ranks(pmd.load_scorer(run / "fused", made.graph), made.graph)
    assert kept.tolist() == torch.cat([ranks.head.realistic, ranks.tail.realistic]).tolist()
    assert read_ranks(run / "text", "test", [16]) and read_ranks(run / "structure", "test", [8])


def test_its_ranks_are_those_of_the_summed_tables(run, made):
    class Summed:
        def score_all(self, triples, target):
            text, structure = (
                pmd.load_scorer(made.base / name, made.graph) for name in ("text", run.name.split("-")[0])
            )
            rows = triples[:, 1] + 2 * (target == "head")
            factors = torch.from_numpy(load_file(run / "fused" / "weights.safetensors")["factors"])[rows]
            with torch.no_grad():
                scores = structure.score_all(triples, target)
                scores[:, 48] = scores[:, :48].mean(1)
                return factors[:, :1] * text.score_all(triples, target) + factors[:, 1:] * scores

    if run.name.endswith("query"):
        pytest.skip("its factors are no table")
    fused = pmd.rank(pmd.load_scorer(run / "fused", made.graph), made.graph).to_dict()
    assert fused["mrr"] == pytest.approx(pmd.rank(Summed(), made.graph).to_dict()["mrr"], abs=1e-6)
    assert Run(run).results["fused"].metrics["test"]["mrr"] == pytest.approx(fused["mrr"], abs=1e-6)


@pytest.mark.parametrize("target", ["head", "tail"])
def test_answers_are_those_that_are_ranked(run, made, target):
    model = pmd.load(run)
    expected = pmd.load_scorer(run / "fused", made.graph).score_all(triples_of(made.graph), target)
    scores = model.scores(questions_of(made, model, target))
    np.testing.assert_allclose(scores, expected.numpy(), atol=2e-4, rtol=1e-4)


def test_answers_need_no_torch(run):
    pmd.load(run).answer(**ASKED)  # builds the index
    program = f"import sys, pmd; print(pmd.load({str(run)!r}).answer(**{ASKED}, top_k=1)[0].id, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [pmd.load(run).answer(**ASKED)[0].id, "False"]


def test_a_described_entity_has_its_text_alone(made):
    run = made.base / "transe-relation"
    model, text = pmd.load(run), pmd.load(made.base / "text", made.graph)
    factors = load_file(run / "fused" / "weights.safetensors")["factors"]
    question = model.question(text="a town by the sea", relation="lies in")
    expected = factors[0, 0] * text.scores([question])
    np.testing.assert_allclose(model.scores([question]), expected, atol=1e-5)


@pytest.mark.parametrize("widths", [(4, None), (16, 2), (4, 2)])
def test_a_crop_is_the_model_of_the_cropped_parts(run, made, widths, tmp_path):
    width, structure_width = widths
    more = {} if structure_width is None else {"structure_width": structure_width}
    small = pmd.crop(run / "fused", width, tmp_path / "small", **more)
    model, whole = pmd.load(small), pmd.load(run)
    assert model.settings["text_dim"] == width and model.settings["structure_dim"] == (structure_width or 8)
    assert model.index.vectors.shape == (49, model.settings["dim"])
    questions = questions_of(made, model, "tail")
    expected = pmd.load_scorer(small, made.graph).score_all(triples_of(made.graph), "tail").numpy()
    np.testing.assert_allclose(model.scores(questions), expected, atol=2e-4, rtol=1e-4)
    np.testing.assert_allclose(whole.crop(*widths).scores(questions), expected, atol=2e-4, rtol=1e-4)
    parts = (
        pmd.load_scorer(made.base / "text", made.graph),
        pmd.load_scorer(made.base / run.name.split("-")[0], made.graph),
    )
    with torch.no_grad():
        tables = [
            part.score_all(triples_of(made.graph), "tail", size).numpy()
            for part, size in zip(parts, (width, structure_width))
        ]
    if not run.name.endswith("query"):
        factors = load_file(small / "weights.safetensors")["factors"][triples_of(made.graph)[:, 1]]
        total = factors[:, :1] * tables[0] + factors[:, 1:] * tables[1]
        np.testing.assert_allclose(expected[: 2 * 48, :48], total[: 2 * 48, :48], atol=2e-4, rtol=1e-4)


def test_a_changed_graph_has_a_new_index(made, tmp_path, capsys):
    """A new entity has its text alone; relations and entities are told by id and name."""
    run = shutil.copytree(made.base / "complex-common", tmp_path / "run")
    shutil.copytree(made.base / "towns", tmp_path / "towns")
    before = pmd.load(run / "fused", str(tmp_path / "towns")).answer(**ASKED, top_k=49, all=True, types="off")
    with open(tmp_path / "towns" / "entities.tsv", "a") as file:
        file.write("e49\tNewland\ta new country\n")
    model = pmd.load(run / "fused", str(tmp_path / "towns"))
    after = model.answer(**ASKED, top_k=50, all=True, types="off")
    assert "the graph changed" in capsys.readouterr().err
    scores = {answer.id: answer.score for answer in after}
    assert len(scores) == 50 and all(scores[a.id] == pytest.approx(a.score, abs=1e-4) for a in before)
    assert scores["e49"] != scores["e48"]
    assert len(model.answer(head="Newland", relation="speaks", top_k=3)) == 3


def test_a_changed_part_has_a_new_index(made, tmp_path, capsys):
    run = shutil.copytree(made.base / "complex-common", tmp_path / "run")
    before = pmd.load(run).answer(**ASKED)[0].score
    model = pmd.KgeModel.from_pretrained(run / "fused" / "structure")
    with torch.no_grad():
        model.entity_rows.weight.mul_(3)
    model.save_pretrained(run / "fused" / "structure")
    (run / "fused" / "manifest.json").unlink()
    assert pmd.load(run).answer(**ASKED)[0].score != before
    assert "the model changed" in capsys.readouterr().err


def test_the_run_has_a_table_of_parts_and_rules(run):
    table = (run / "table.md").read_text()
    results = Run(run).results
    assert [*results] == ["text", "structure", "fused"] and Run(run).loadable == ["fused"]
    assert all(f"{result.metrics['test']['mrr']:.3f}" in table for result in results.values())
    settings = json.loads((run / "fused" / "config.json").read_text())
    rules = [line.split("|")[2].strip() for line in table[table.index("| weights") :].splitlines()[2:] if line]
    assert rules[:2] == [f"{settings['valid_mrr'][part]:.4f}" for part in ("text", "structure")] and len(rules) == 5


def test_it_is_evaluated_beside_others(run, made, capsys):
    dispatch(["evaluate", str(run / "fused"), str(made.base / "text"), f"--data.path={made.base / 'towns'}"])
    printed = capsys.readouterr().out
    assert f"{Run(run).results['fused'].metrics['test']['mrr']:.3f}" in printed
    with pytest.raises(PmdError, match="rerank_hops"):
        dispatch(["evaluate", str(run / "fused"), "--evaluation.rerank_hops=1"])


@pytest.mark.parametrize("more", [[], ["--structure_width=2"]])
def test_it_is_published_with_a_card(run, more, tmp_path):
    dispatch(["push", str(run), "user/name", "--dry-run", f"--out={tmp_path}/out", *more])
    card = (tmp_path / "out" / "README.md").read_text()
    result = Run(run).results["fused"].metrics["test"]
    assert "side by side in one index" in card and f"{result['mrr']:.3f}" in card and "simkgc2022" in card
    answers = pmd.load(tmp_path / "out").answer(**ASKED)
    if not more:
        assert [(a.id, a.score) for a in answers] == [(a.id, a.score) for a in pmd.load(run).answer(**ASKED)]
    assert not (tmp_path / "out" / "text" / "entities.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "structure", "message"),
    [
        ("complex", "complex", "text: .*is an embedding model; give a text model"),
        ("text", "text", "structure: .*is a text model; give an embedding model"),
        ("text", "l1", r"TransE with norm l1.*--model\.norm squared"),
        ("complex-common", "complex", "text: .*is a fused model"),
    ],
)
def test_models_that_cannot_be_fused(text, structure, message, made, tmp_path):
    models = [str(made.base / name) for name in (text, structure)]
    with pytest.raises(PmdError, match=message):
        dispatch(["fuse", *models, f"--data.path={made.base / 'towns'}", f"--out={tmp_path}/out"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("structure", "more", "message"),
    [
        ("complex-common", ["--structure_stage=grade9"], "^structure_stage: .*no finished stage 'grade9'"),
        ("towns", [], "^structure: .*towns"),
    ],
)
def test_a_part_that_is_not_there_is_refused_under_its_option(structure, more, message, made, tmp_path):
    models = [str(made.base / name) for name in ("text", structure)]
    with pytest.raises(PmdError, match=message):
        dispatch(["fuse", *models, *more, f"--data.path={made.base / 'towns'}", f"--out={tmp_path}/out"])


def test_models_of_two_graphs_are_refused(made, tmp_path):
    runs = []
    for part, checksum in (("text", "1"), ("complex", "2")):
        runs.append(tmp_path / f"run-{part}")
        shutil.copytree(made.base / part, runs[-1] / part)
        (runs[-1] / "data.sha256").write_text(checksum)
    options = [f"--data.path={made.base / 'towns'}", f"--out={tmp_path}/out"]
    with pytest.raises(PmdError, match="trained on another graph than"):
        dispatch(["fuse", str(runs[0] / "text"), str(runs[1] / "complex"), *options])
    with pytest.raises(PmdError, match=r"text: .*another graph than '.*towns' holds now"):
        dispatch(["fuse", str(runs[0] / "text"), str(made.base / "complex"), *options])


def test_the_index_of_a_crop_is_of_the_graph_as_it_is_now(run, made, tmp_path):
    """Whose entities are more, and in another order, than when the model was trained."""
    changed = shutil.copytree(made.base / "towns", tmp_path / "towns")
    lines = (changed / "entities.tsv").read_text().splitlines()
    (changed / "entities.tsv").write_text("\n".join(["e99\tNewtown\ta town", *reversed(lines)]) + "\n")
    whole = shutil.copytree(run, tmp_path / "run")
    pmd.crop(whole / "fused", 4, tmp_path / "small", structure_width=2, data={"path": str(changed)})
    graph = pmd.load_graph(changed)
    scores = pmd.load_scorer(tmp_path / "small", graph).score_all(graph.test[:1], "head")[0]
    tail, relation = graph.entity_ids[graph.test[0, 2]], graph.relation_ids[graph.test[0, 1]]
    small = pmd.load(tmp_path / "small", str(changed))
    answers = small.answer(tail=tail, relation=relation, top_k=50, all=True, types="off")
    assert len(answers) == 50
    for answer in answers:
        assert answer.score == pytest.approx(float(scores[graph.entity_ids.index(answer.id)]), abs=2e-4)


def test_a_structure_is_needed_to_be_cropped(made, tmp_path):
    with pytest.raises(PmdError, match=r"structure_width: .*is a text model"):
        pmd.crop(made.base / "text", 4, tmp_path / "small", structure_width=2)
    with pytest.raises(PmdError, match=r"width 9 is outside 1 to 8"):
        pmd.crop(made.base / "complex-common" / "fused", 4, tmp_path / "small", structure_width=9)


def test_without_validation_there_is_nothing_to_choose_by(made):
    scorer = pmd.load_scorer(made.base / "complex-common" / "fused", made.graph)
    with pytest.raises(PmdError, match=r"weights: .*no validation triple"):
        validate(scorer, replace(made.graph, valid=made.graph.valid[:0]), max_triples=0)


def test_its_export_answers_alike_without_torch(run, made, tmp_path):
    pytest.importorskip("onnxruntime")
    pmd.export(run / "fused", "onnx", tmp_path / "out")
    program = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    guard = "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"
    printed = subprocess.run(
        [sys.executable, "-c", guard + program], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    ).stdout
    head, relation, _ = made.graph.test[0].tolist()
    names = {"head": made.graph.entity_ids[head], "relation": made.graph.relation_ids[relation]}
    answers = {answer.id: answer.score for answer in pmd.load(run).answer(**names, top_k=10, all=True, types="off")}
    found = dict(line.split() for line in printed.splitlines())
    assert found.keys() == answers.keys()
    assert {key: float(score) for key, score in found.items()} == pytest.approx(answers, abs=2e-4)


def test_it_exports_to_onnx_alone(run, tmp_path):
    with pytest.raises(PmdError, match="is a fused model; it exports to onnx, not to embeddings"):
        pmd.export(run / "fused", "embeddings", tmp_path / "out")


def test_its_run_is_reported(made, tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    dispatch(["report", str(made.base / "complex-common"), f"--out={page}", "--latency_rounds=1"])
    text = page.read_text()
    assert (
        "Text and structure in one index" in text and "Right: the wanted answer" in text
    ) or "Wrong: the worst" in text
    assert all(f">{name}<" in text for name in ("text", "structure", "fused"))


def test_a_graph_of_unseen_entities_is_ranked_by_text_alone(run, made):
    names = [*made.graph.entity_names, "North", "South", "Middle"]
    larger = replace(
        made.graph,
        entity_ids=[*made.graph.entity_ids, "n0", "n1", "n2"],
        entity_names=names,
        entity_descriptions=[*made.graph.entity_descriptions, "a cold place", "a warm place", ""],
        splits={
            "inductive_train": torch.tensor([[49, 0, 50], [50, 0, 51]]),
            "inductive_test": torch.tensor([[49, 1, 51], [51, 1, 50], [50, 1, 49]]),
        },
    )
    fused, text = (pmd.load_scorer(folder, larger) for folder in (run / "fused", made.base / "text"))
    found, expected = (pmd.ranks(scorer, larger, "inductive_test").realistic for scorer in (fused, text))
    assert found.tolist() == expected.tolist() and len(set(expected.tolist())) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--evaluation.rerank_hops=1"], "no cosines"), (["--evaluation.split=tset"], "no split 'tset'")],
)
def test_what_it_cannot_rank_is_refused(options, message, made, tmp_path):
    models = [str(made.base / name) for name in ("text", "complex")]
    with pytest.raises(PmdError, match=message):
        dispatch(["fuse", *models, f"--data.path={made.base / 'towns'}", f"--out={tmp_path}/out", *options])


def test_the_parts_of_a_fused_score_are_what_is_above_the_mean(run):
    model = pmd.load(run)
    question = Question("tail", 0, 8)
    model.index.metadata["types"]["factor"] = 0.5
    scores = model.answer_scores([question])[0].astype(float)
    for answer in (0, 3):
        parts = model.score_parts("tail", 8, 0, answer, None)
        assert {*parts} == {"text", "structure", "types"}
        assert np.linalg.norm(model.unit_vectors(np.array([answer]))) == pytest.approx(1, abs=1e-5)
        assert sum(parts.values()) == pytest.approx(scores[answer] - scores.mean(), abs=1e-4)
    model.types.facts["factor"] = 0
    assert {*model.score_parts("tail", 8, 0, 3, None)} == {"text", "structure"}

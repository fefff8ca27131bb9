"""A run of text models with a structure: trained once, fused with the last grade, and gone on with like any other."""

import pytest

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.run import Run

SIZES = {"hidden_size": 16, "heads": 2, "intermediate_size": 32, "layers": 2, "vocab_size": 300, "max_length": 24}
STAGES = '[{"name": "teacher"}, {"name": "grade1", "layers": 1}]'


def write_settings(file, interaction="complex", more=""):
    file.write_text(
        f"model: {{interaction: {interaction}, dim: 4{more}}}\nloss: {{name: one_vs_all}}\n"
        "train: {epochs: 2, batch_size: 16, lr: 0.1}\n"
    )
    return file


def train(folder, tmp_path, settings, stages=STAGES):
    options = [
        *(f"--encoder.{key}={value}" for key, value in SIZES.items()),
        f"--data.path={folder}",
        f"--stages={stages}",
    ]
    options += [
        f"--runs={tmp_path}",
        f"--structure={settings}",
        "--train.epochs=1",
        "--train.batch_size=16",
        "--name=towns",
    ]
    COMMANDS["progressive"]([*options, "--train.threads=1", "--evaluation.split=[test,valid]", "--distill.epochs=1"])


def test_a_run_has_its_structure_and_goes_on(folder, tmp_path, capsys):
    train(folder, tmp_path, write_settings(tmp_path / "structure.yaml"))
    printed = capsys.readouterr()
    run = Run(next(tmp_path.glob("towns-*")))
    assert run.loadable == ["teacher", "grade1", "structure", "fused"]
    assert "relation: one for each" in printed.out and "structure and grade1 ->" in printed.err
    rows = [line.split("|")[1].strip() for line in printed.out.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in run.loadable] == 2 * run.loadable
    embedding = Run(next((run.folder / "embedding").glob("*")))
    assert run.results["structure"] == embedding.results["complex"]
    graph = pmd.load_graph(folder)
    again = pmd.rank(pmd.load_scorer(run.folder / "fused", graph), graph, "valid").mrr
    assert run.results["fused"].metrics["valid"]["mrr"] == pytest.approx(again, abs=1e-6)
    assert pmd.load(run.folder).answer(tail="Icelandish", relation="speaks", top_k=2)[1].rank == 2
    fused = pmd.fuse(
        run.folder, run.folder, tmp_path / "both"
    )  # of a run that ends in a fused model, its last text model
    assert fused.metrics()["mrr"] == pytest.approx(run.results["fused"].metrics["test"]["mrr"], abs=1e-6)
    with pytest.raises(
        PmdError, match="exports to onnx, not to sentence-transformers; of its run, these do: teacher, grade1"
    ):
        pmd.export(run.folder, "sentence-transformers", tmp_path / "out")
    before, table = run.stored, (run.folder / "table.md").read_text()
    COMMANDS["progressive"]([f"--resume={run.folder}"])
    assert (run.folder / "table.md").read_text() == table and "| relation: one for each" in table
    assert run.stored == before and "all stages were finished before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("interaction", "more", "message"),
    [("transe", ", norm: l1", "TransE with norm l1"), ("complexx", "", "'complexx'.*'complex'")],
)
def test_what_cannot_be_fused_is_refused_before_anything_is_trained(interaction, more, message, folder, tmp_path):
    with pytest.raises(PmdError, match=message):
        train(folder, tmp_path, write_settings(tmp_path / "structure.yaml", interaction, more))
    assert not [*tmp_path.glob("towns-*")]


@pytest.mark.parametrize("name", ["structure", "fused", "embedding"])
def test_a_stage_does_not_take_the_place_of_the_structure(name, folder, tmp_path):
    settings = write_settings(tmp_path / "structure.yaml")
    with pytest.raises(PmdError, match=rf"stages: with structure, '{name}' is a folder"):
        train(folder, tmp_path, settings, stages=f'[{{"name": "{name}"}}]')
    assert not [*tmp_path.glob("towns-*")]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("nonsense", "^structure: nonsense: no such file, and no bundled config"),
        (".", "^structure: '.' is a folder; give a config of `pmd train`.*`pmd fuse`"),
        ("kge/wn18rr_rotate", "^structure: 'kge/wn18rr_rotate': RotatE with norm l1"),
    ],
)
def test_what_is_no_config_of_an_embedding_model_is_refused_under_its_option(structure, message, folder, tmp_path):
    with pytest.raises(PmdError, match=message):
        train(folder, tmp_path, structure)
    assert not [*tmp_path.glob("towns-*")]

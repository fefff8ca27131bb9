from dataclasses import replace
from operator import attrgetter

import pytest

from pmd.core.errors import PmdError, PmdWarning
from pmd.settings.shared import EvaluationConfig
from pmd.settings.stages.grades import grade_depths
from pmd.settings.stages.text import check_progressive, resolve_stages, warn_of_listed
from pmd.settings.text import (
    ContrastiveConfig,
    DistillConfig,
    EncoderConfig,
    LoraConfig,
    ProgressiveConfig,
    StageConfig,
    TrainConfig,
)

from ..says import says


def brief(stages: list[StageConfig]) -> list[tuple]:
    return [(s.name, s.layers, s.mask_rate, s.teacher) for s in stages]


@pytest.mark.parametrize(
    ("layers", "grades"),
    [
        (12, [(12, 0.2), (9, 0.1), (6, 0.05), (3, 0.0)]),  # the paper's
        (4, [(4, 0.2), (3, 0.1), (2, 0.05), (1, 0.0)]),
        (6, [(6, 0.2), (5, 0.1), (3, 0.05), (2, 0.0)]),
        (3, [(3, 0.2), (2, 0.05), (1, 0.0)]),
        (2, [(2, 0.2), (1, 0.05)]),
        (1, [(1, 0.2)]),
    ],
)
def test_the_grades_of_an_encoder(layers, grades):
    stages = resolve_stages(ProgressiveConfig(), layers)
    expected, teacher = [("teacher", layers, 0.0, "none")], "teacher"
    for depth, rate in grades:
        expected.append((f"grade{depth}", depth, rate, teacher))
        teacher = f"grade{depth}"
    assert brief(stages) == expected
    assert [s.method for s in stages] == ["none"] + ["pmd"] * len(grades)
    assert [s.init for s in stages] == ["pretrained"] + ["teacher"] * len(grades)


def test_depths_are_rounded_up():
    assert [grade_depths(n) for n in (12, 6, 5, 1)] == [[12, 9, 6, 3], [6, 5, 3, 2], [5, 4, 3, 2], [1, 1, 1, 1]]


def test_depths_and_mask_rates_can_be_chosen():
    distill = DistillConfig(depths=[10, 8, 4], mask_rates=[0.3, 0.2, 0.1])
    stages = resolve_stages(ProgressiveConfig(distill=distill), 12)
    assert brief(stages) == [
        ("teacher", 12, 0.0, "none"),
        ("grade10", 10, 0.3, "teacher"),
        ("grade8", 8, 0.2, "grade10"),
        ("grade4", 4, 0.1, "grade8"),
    ]


def test_the_first_teacher_can_teach_all():
    stages = resolve_stages(ProgressiveConfig(distill=DistillConfig(taught_by="teacher")), 12)
    assert [s.teacher for s in stages] == ["none", "teacher", "teacher", "teacher", "teacher"]


def test_settings_left_out_are_those_of_the_run():
    config = ProgressiveConfig(
        train=TrainConfig(epochs=7, lr=2e-4),
        distill=DistillConfig(method="lkd", alpha=0.2, beta=0.3, init="pretrained"),
        stages=[StageConfig("a"), StageConfig("b", 2), StageConfig("c", 1, teacher="a")],
    )
    first, second, third = resolve_stages(config, 4)
    assert (first.layers, first.teacher, first.method, first.init, first.epochs, first.lr) == (
        4,
        "none",
        "none",
        "pretrained",
        7,
        2e-4,
    )
    assert (second.layers, second.teacher, second.method, second.init) == (2, "a", "lkd", "pretrained")
    assert (second.alpha, second.beta, second.epochs, second.lr) == (0.2, 0.0, 7, 2e-4)  # lkd has no beta
    assert (third.teacher, third.layers) == ("a", 1)


@pytest.mark.parametrize(
    ("distill", "epochs"),
    [
        (DistillConfig(), [6, 6, 6, 6]),
        (DistillConfig(taught_by="teacher"), [6, 12, 18, 24]),
        (DistillConfig("lkd", taught_by="teacher", depths=[3, 1], mask_rates=[0.0, 0.0]), [6, 12]),
        (DistillConfig("none"), [16, 22, 28, 34]),  # without a teacher
    ],
)
def test_grades_that_begin_elsewhere_may_train_as_long_as_the_chain(distill, epochs):
    config = ProgressiveConfig(train=TrainConfig(epochs=10), distill=replace(distill, epochs=6))
    without = [stage.epochs for stage in resolve_stages(config, 4)]
    assert without == [10] + [10 if distill.method == "none" else 6] * len(epochs)
    config.distill.chain_epochs = True
    assert [stage.epochs for stage in resolve_stages(config, 4)] == [10, *epochs]


@pytest.mark.parametrize(
    ("distill", "epochs"),
    [
        (DistillConfig(), [3, 7]),
        (DistillConfig("none"), [10, 10]),
        (DistillConfig(chain_epochs=True), [3, 7]),
        (DistillConfig(chain_epochs=True, taught_by="teacher"), [3, 10]),
        (DistillConfig("none", chain_epochs=True), [13, 20]),
    ],
)
def test_grades_may_have_epochs_of_their_own(distill, epochs):
    distill = replace(distill, depths=[2, 1], mask_rates=[0.1, 0.0], epochs=[3, 7])
    config = ProgressiveConfig(train=TrainConfig(epochs=10), distill=distill)
    resolved = resolve_stages(config, 4)
    assert [stage.epochs for stage in resolved] == [10, *epochs]
    assert resolve_stages(replace(config, stages=resolved), 4) == resolved  # a run's own config is read again


@pytest.mark.parametrize("method", ["pmd", "none"])
def test_grades_from_the_checkpoint_have_no_chain_to_be_as_long_as(method):
    distill = DistillConfig(method, init="pretrained", epochs=6, chain_epochs=True, taught_by="teacher")
    config = ProgressiveConfig(train=TrainConfig(epochs=10), distill=distill)
    assert [stage.epochs for stage in resolve_stages(config, 4)] == [10, 6, 6, 6, 6]


def test_listed_grades_may_train_as_long_as_the_chain():
    config = ProgressiveConfig(
        train=TrainConfig(epochs=10),
        distill=DistillConfig(epochs=6, chain_epochs=True, taught_by="teacher"),
        stages=[StageConfig("a"), StageConfig("b", 3), StageConfig("c", 2, epochs=4), StageConfig("d", 1)],
    )
    assert [stage.epochs for stage in resolve_stages(config, 4)] == [10, 6, 4, 16]
    alone = [StageConfig("a"), StageConfig("b", 2), StageConfig("c", 2, teacher="none")]
    config = replace(config, distill=DistillConfig(epochs=6), stages=alone)
    assert [stage.epochs for stage in resolve_stages(config, 4)] == [10, 6, 10]  # nothing is lengthened unless asked


def test_grades_take_steps_of_the_same_size_taught_or_not():
    for method in ("pmd", "none"):
        distill = DistillConfig(method, lr=4e-4, batch_size=64, pre_batches=1, depths=[2], mask_rates=[0.0])
        steps = [(s.lr, s.batch_size, s.pre_batches) for s in resolve_stages(ProgressiveConfig(distill=distill), 4)]
        assert steps == [(TrainConfig().lr, TrainConfig().batch_size, 0), (4e-4, 64, 1)]


@pytest.mark.parametrize("given", [{"depths": [2, 1]}, {"mask_rates": [0.2, 0.0]}])
def test_depths_and_rates_beside_listed_stages_are_said_to_be_unused(given, recwarn):
    config = ProgressiveConfig(distill=DistillConfig(**given))
    listed = replace(config, stages=[StageConfig("a"), StageConfig("b", 2)])
    with pytest.warns(PmdWarning, match=f"distill.{next(iter(given))}: not used, for the stages are listed"):
        warn_of_listed(listed)
    recwarn.clear()
    chosen = ProgressiveConfig(distill=DistillConfig(depths=[2, 1], mask_rates=[0.2, 0.0]))
    warn_of_listed(replace(chosen, stages=resolve_stages(chosen, 4)))
    assert not recwarn.list


def test_equal_depths_have_the_epochs_of_the_first():
    stages = resolve_stages(ProgressiveConfig(distill=DistillConfig(epochs=[3, 4, 7, 8])), 2)[1:]
    assert [(s.name, s.mask_rate, s.epochs) for s in stages] == [("grade2", 0.2, 3), ("grade1", 0.05, 7)]
    twice = DistillConfig(depths=[2, 2, 1], mask_rates=[0.1, 0.2, 0.0])
    assert says(error(ProgressiveConfig(distill=twice)), "distill.depths: …twice")


def test_batches_queues_and_features_of_students_may_differ_from_the_teachers():
    config = ProgressiveConfig(
        train=TrainConfig(batch_size=512),
        contrastive=ContrastiveConfig(pre_batches=2),
        distill=DistillConfig(feature="pooled", batch_size=256, pre_batches=0),
        stages=[
            StageConfig("a"),
            StageConfig("b", 2),
            StageConfig("c", 1, batch_size=64, pre_batches=1, feature="token"),
        ],
    )
    found = [(s.batch_size, s.pre_batches, s.feature) for s in resolve_stages(config, 4)]
    assert found == [(512, 2, "pooled"), (256, 0, "pooled"), (64, 1, "token")]
    config = replace(config, distill=DistillConfig(), stages=[StageConfig("a", batch_size=8), StageConfig("b", 2)])
    found = [(s.batch_size, s.pre_batches, s.feature) for s in resolve_stages(config, 4)]
    assert found == [(8, 2, "token"), (512, 2, "token")]


def test_a_stage_overrides_the_run():
    own = StageConfig(
        "b", 2, 0.15, method="pkd", init="teacher", alpha=0.0, beta=0.0, epochs=3, lr=1e-5, teacher_layers=[0, 3]
    )
    own = replace(own, batch_size=8, pre_batches=1, feature="pooled", mask_choice="rare", mask_rate_by="uncertainty")
    own = replace(own, structure_share=0.2, frozen_layers=1)
    config = ProgressiveConfig(
        distill=DistillConfig(init="pretrained", structure="runs/kge"), stages=[StageConfig("a"), own]
    )
    assert resolve_stages(config, 4)[1] == replace(own, teacher="a", mask_rate=0.0)  # pkd masks nothing


def test_labels_alone_need_no_teacher():
    for stage in (StageConfig("b", 2, method="none"), StageConfig("b", 2, teacher="none"), StageConfig("b", 2)):
        config = ProgressiveConfig(stages=[StageConfig("a", 1), stage])
        config.distill.method = "none" if stage == StageConfig("b", 2) else "pmd"
        found = resolve_stages(config, 4)[1]
        assert (found.teacher, found.method, found.init, found.layers) == ("none", "none", "pretrained", 2)


def test_resolving_twice_changes_nothing():
    config = ProgressiveConfig()
    once = resolve_stages(config, 12)
    assert config.stages is None
    assert resolve_stages(replace(config, stages=once), 12) == once


def error(config: ProgressiveConfig, layers: int = 4) -> str:
    with pytest.raises(PmdError) as caught:
        resolve_stages(config, layers)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (StageConfig("a"), "stages[1].name: 'a'"),
        (StageConfig(""), "stages[1].name: ''"),
        (StageConfig("b/c"), "stages[1].name: 'b/c'"),
        (StageConfig("../b"), "stages[1].name"),
        (StageConfig(".b"), "stages[1].name"),
        (StageConfig("b c"), "stages[1].name"),
        (StageConfig("b\n"), "stages[1].name"),
        (StageConfig("checkpoint"), "stages[1].name: 'checkpoint'"),
        (StageConfig("none"), "stages[1].name: 'none'"),
        (StageConfig("b", teacher="c"), "stages[1] (b).teacher…'c'"),
        (StageConfig("b", teacher="b"), "stages[1] (b).teacher…'b'"),
        (StageConfig("b", -1), "stages[1] (b).layers: -1"),
        (StageConfig("b", 4), "stages[1] (b).layers: 4…3…0…3"),
        (StageConfig("b", 5, init="pretrained"), "stages[1] (b).layers: 5…4"),
        (StageConfig("b", 2, teacher_layers=[0]), "stages[1] (b).teacher_layers: [0]…2"),
        (StageConfig("b", 2, teacher_layers=[0, 3]), "stages[1] (b).teacher_layers: [0, 3]"),
        (StageConfig("b", 2, teacher_layers=[-1, 0]), "stages[1] (b).teacher_layers: [-1, 0]"),
        (StageConfig("b", 2, init="pretrained", pretrained_layers=[0, 4]), "stages[1] (b).pretrained_layers: [0, 4]"),
        (StageConfig("b", 2, 1.0), "stages[1] (b).mask_rate: 1.0"),
        (StageConfig("b", 2, -0.1), "stages[1] (b).mask_rate: -0.1"),
        (StageConfig("b", 2, float("nan")), "stages[1] (b).mask_rate: nan"),
        (StageConfig("b", 2, alpha=0.5, beta=0.5), "stages[1] (b): alpha 0.5…beta 0.5…distill.label_weight"),
        (StageConfig("b", 2, method="lkd", alpha=1.0), "stages[1] (b): alpha 1.0 …labels…distill.label_weight"),
        (StageConfig("b", 2, alpha=-0.1), "stages[1] (b).alpha: -0.1"),
        (StageConfig("b", 2, beta=-0.1), "stages[1] (b).beta: -0.1"),
        (StageConfig("b", 2, beta=float("nan")), "stages[1] (b).beta: nan"),
        (StageConfig("b", 2, epochs=0), "stages[1] (b).epochs: 0"),
        (StageConfig("b", 2, lr=0.0), "stages[1] (b).lr: 0.0"),
        (StageConfig("b", 2, batch_size=0), "stages[1] (b).batch_size: 0"),
        (StageConfig("b", 2, batch_size=1), "stages[1] (b).batch_size: 1 …at least 2"),
        (StageConfig("b", 2, pre_batches=-1), "stages[1] (b).pre_batches: -1"),
        (StageConfig("b", 2, lr=float("inf")), "stages[1] (b).lr: inf"),
    ],
)
def test_a_stage_that_cannot_run_names_its_key(stage, message):
    assert says(error(ProgressiveConfig(stages=[StageConfig("a", 3), stage])), message)


def test_weights_may_be_large_where_they_take_nothing_from_the_labels():
    large = [StageConfig("a", 3), StageConfig("b", 2, alpha=0.5, beta=40.0)]
    weighted = ProgressiveConfig(distill=DistillConfig(label_weight=0.4), stages=large)
    assert (resolve_stages(weighted, 4)[1].alpha, resolve_stages(weighted, 4)[1].beta) == (0.5, 40.0)
    patient = ProgressiveConfig(distill=DistillConfig(method="pkd"), stages=large)
    assert resolve_stages(patient, 4)[1].beta == 40.0


def test_lists_of_stages_that_cannot_run():
    assert says(error(ProgressiveConfig(stages=[])), "stages: ")
    assert says(error(ProgressiveConfig(stages=[StageConfig("a", teacher="b")])), "stages[0] (a).teacher: …'b'…none")
    short = DistillConfig(depths=[4, 2])
    assert says(error(ProgressiveConfig(distill=short)), "distill.mask_rates: 4 …2 grades")
    uneven = DistillConfig(depths=[4, 2], mask_rates=[0.1, 0.0], epochs=[5])
    assert says(error(ProgressiveConfig(distill=uneven)), "distill.epochs: 1 values …2 grades")
    listed = ProgressiveConfig(distill=DistillConfig(epochs=[5]), stages=[StageConfig("a"), StageConfig("b", 2)])
    assert says(error(listed), "stages[1] (b).epochs: distill.epochs …distill.depths…its own epochs")
    deep = DistillConfig(depths=[5, 2], mask_rates=[0.1, 0.0])
    assert says(error(ProgressiveConfig(distill=deep)), "(grade5).layers: 5 …4")


def test_layers_that_are_not_used_are_not_checked():
    stage = StageConfig("b", 2, pretrained_layers=[99, 99])
    assert resolve_stages(ProgressiveConfig(stages=[StageConfig("a"), stage]), 4)[1].init == "teacher"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((f"train.{key}", 0) for key in ("epochs", "batch_size", "lr", "tokens_per_chunk", "log_every")),
        ("train.batch_size", 1),
        ("train.lr", -1e-5),
        ("encoder.temperature", 0.0),
        ("encoder.max_length", 15),
        ("encoder.hidden_size", 33),
        ("encoder.widths", [64, 32]),
        ("evaluation.batch_size", 0),
        ("evaluation.rerank_weight", float("nan")),
        ("distill.temperature", -2.0),
        ("distill.masked_share", 0.0),
        ("distill.masked_share", 1.1),
        ("distill.structure_share", 1.5),
        ("distill.mask_rates", [0.1]),
        ("train.lora.alpha", 0),
        ("distill.label_weight", -0.1),
        ("distill.label_weight", float("nan")),
    ],
)
def test_a_setting_that_cannot_work_is_named(key, value):
    config = ProgressiveConfig(train=TrainConfig(lora=LoraConfig()))
    part, _, name = key.rpartition(".")
    setattr(attrgetter(part)(config), name, value)
    with pytest.raises(PmdError) as caught:
        check_progressive(config)
    assert str(caught.value).startswith(f"{key}: ") and len(str(caught.value).splitlines()) == 1


def test_the_defaults_can_work():
    check_progressive(ProgressiveConfig())
    check_progressive(
        ProgressiveConfig(encoder=EncoderConfig(name="bert-base-uncased", hidden_size=33))
    )  # not read there


def test_the_stages_of_scratch_are_checked_at_once():
    with pytest.raises(PmdError, match=r"stages\[1\] \(b\)\.layers: 9"):
        check_progressive(ProgressiveConfig(stages=[StageConfig("a"), StageConfig("b", 9)]))


def test_splits_are_one_or_several():
    assert EvaluationConfig().splits == ["test"]
    assert EvaluationConfig(split=["valid", "test"]).splits == ["valid", "test"]
    for nothing in ("", []):
        with pytest.raises(PmdError, match=r"evaluation\.split: nothing"):
            assert not EvaluationConfig(split=nothing).splits

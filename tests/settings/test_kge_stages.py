"""Which embedding models a config asks for, and what is refused before anything is loaded."""

from dataclasses import replace

import pytest

from pmd.core.errors import PmdError
from pmd.settings.kge import DualConfig, KgeConfig, KgeStageConfig, KgeTrainConfig, LossConfig, ModelConfig
from pmd.settings.stages.kge import check_kge, resolve_kge_stages

from ..says import says

DUALDE = [
    KgeStageConfig("teacher"),
    KgeStageConfig("first", dim=8, teacher="teacher"),
    KgeStageConfig("second", dim=8, teacher="teacher", start="first", release=True),
]


def test_the_default_is_one_model_named_after_its_interaction():
    (stage,) = resolve_kge_stages(KgeConfig(model=ModelConfig("complex", dim=48)))
    assert (stage.name, stage.dim, stage.teacher, stage.start, stage.release) == ("complex", 48, None, None, False)
    assert (stage.epochs, stage.lr, stage.scale) == (200, 0.02, 1.0)


def test_settings_left_out_are_those_of_the_run():
    config = KgeConfig(
        model=ModelConfig("transe", dim=32),
        loss=LossConfig("logistic", margin=9.0, scale=2.0),
        train=KgeTrainConfig(epochs=7, lr=0.02),
        dual=DualConfig(alpha=0.2, beta=0.9),
        stages=DUALDE,
    )
    found = [(s.name, s.dim, s.epochs, s.lr, s.margin, s.scale, s.alpha, s.beta) for s in resolve_kge_stages(config)]
    rest = (7, 0.02, 9.0, 2.0, 0.2, 0.9)
    assert found == [("teacher", 32, *rest), ("first", 8, *rest), ("second", 8, *rest)]
    assert config.stages[1].epochs is None  # the config itself stays as it was written


def test_a_stage_overrides_the_run():
    own = {"dim": 4, "epochs": 3, "lr": 0.5, "margin": 0.0, "scale": 3.0, "constraint": 0.5, "alpha": 0.0, "beta": 1.0}
    own["adversarial"] = 0.0
    loss = LossConfig("logistic", margin=9.0, adversarial=1.0)
    (stage,) = resolve_kge_stages(KgeConfig(loss=loss, stages=[KgeStageConfig("a", **own)]))
    assert {name: getattr(stage, name) for name in own} == own


def test_resolving_twice_changes_nothing():
    once = resolve_kge_stages(KgeConfig(stages=DUALDE))
    assert resolve_kge_stages(KgeConfig(stages=once)) == once


@pytest.mark.parametrize(
    ("loss", "interaction", "margin"),
    [
        ("margin", "transe", 1.0),
        ("margin", "complex", 1.0),
        *((loss, "rotate", 6.0) for loss in ("logistic", "k_vs_all")),
        *((loss, "rotate", 0.0) for loss in ("softmax", "one_vs_all")),
        *(("logistic", name, 6.0) for name in ("transe", "transh", "pairre")),
        *(("logistic", name, 0.0) for name in ("complex", "simple")),
        ("k_vs_all", "simple", 0.0),
    ],
)
def test_the_usual_margins(loss, interaction, margin):
    config = KgeConfig(loss=LossConfig(loss), model=ModelConfig(interaction))
    assert [stage.margin for stage in resolve_kge_stages(config)] == [margin]


def test_students_are_trained_alone_and_taught_in_two_stages():
    config = KgeConfig(
        model=ModelConfig(dim=64),
        train=KgeTrainConfig(epochs=10, lr=0.1),
        dual=DualConfig(students=[16, 8], second_lr=0.01),
    )
    found = [(s.name, s.dim, s.teacher, s.start, s.release, s.epochs, s.lr) for s in resolve_kge_stages(config)]
    expected = [("teacher", 64, None, None, False, 10, 0.1)]
    for dim in (16, 8):
        expected += [
            (f"alone-{dim}", dim, None, None, False, 15, 0.1),  # as many epochs as the two stages
            (f"first-{dim}", dim, "teacher", None, False, 10, 0.1),
            (f"taught-{dim}", dim, "teacher", f"first-{dim}", True, 5, 0.01),
        ]
    assert found == expected
    more = resolve_kge_stages(replace(config, dual=DualConfig(students=[8], ablations=True, second_epochs=3)))
    brief = [(s.name, s.teacher, s.start, s.release, s.epochs) for s in more]
    assert brief[1:] == [
        ("alone-8", None, None, False, 13),
        ("first-8", "teacher", None, False, 10),
        ("taught-8", "teacher", "first-8", True, 3),
        ("without-first-8", "teacher", None, True, 13),
        ("without-second-8", "teacher", None, False, 13),
    ]


def resolve_error(stages) -> str:
    with pytest.raises(PmdError) as caught:
        resolve_kge_stages(KgeConfig(model=ModelConfig(dim=16), stages=stages))
    return str(caught.value)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (KgeStageConfig("a"), "stages[1].name: 'a'"),
        (KgeStageConfig("b/c"), "stages[1].name: 'b/c'"),
        (KgeStageConfig(""), "stages[1].name: ''"),
        (KgeStageConfig("checkpoint"), "stages[1].name: 'checkpoint'"),
        (KgeStageConfig("ranks"), "stages[1].name: 'ranks'"),
        (KgeStageConfig("b", teacher="c"), "stages[1] (b).teacher…'c'"),
        (KgeStageConfig("b", teacher="b"), "stages[1] (b).teacher…'b'"),
        (KgeStageConfig("b", start="c"), "stages[1] (b).start…'c'"),
        (KgeStageConfig("b", dim=8, start="a"), "stages[1] (b).start: 'a'…dim 16…8"),
        (KgeStageConfig("b", release=True), "stages[1] (b).release:…teacher"),
        (KgeStageConfig("b", alpha=1.5), "stages[1] (b).alpha: 1.5…[0, 1]"),
        (KgeStageConfig("b", beta=-0.5), "stages[1] (b).beta: -0.5…[0, 1]"),
        (KgeStageConfig("b", alpha=float("nan")), "stages[1] (b).alpha: nan"),
        (KgeStageConfig("b", dim=0), "stages[1] (b).dim: 0"),
        (KgeStageConfig("b", epochs=0), "stages[1] (b).epochs: 0"),
        (KgeStageConfig("b", lr=-1.0), "stages[1] (b).lr: -1.0"),
        (KgeStageConfig("b", scale=0.0), "stages[1] (b).scale: 0.0"),
        (KgeStageConfig("b", loss="logistic", adversarial=-1.0), "stages[1] (b).adversarial: -1.0"),
        (KgeStageConfig("b", adversarial=1.0), "stages[1] (b).adversarial…softmax"),
        (KgeStageConfig("b", constraint=-1.0), "stages[1] (b).constraint: -1.0"),
        (KgeStageConfig("b", lr=float("inf")), "stages[1] (b).lr: inf"),
        (KgeStageConfig("b", loss="logistic", margin=float("nan")), "stages[1] (b).margin: nan"),
        (KgeStageConfig("b", method="dualde"), "stages[1] (b).teacher: dualde"),
        (KgeStageConfig("b", method="med"), "stages[1] (b).widths: med…list"),
        (KgeStageConfig("b", method="supervised", widths=[8, 16]), "stages[1] (b).widths: supervised…leave"),
        (KgeStageConfig("b", load="x", start="a"), "stages[1] (b).load:…start"),
        (KgeStageConfig("b", dim=32, teacher="a"), "stages[1] (b).dim: 32…16"),
        (KgeStageConfig("b", loss="k_vs_all"), "stages[1] (b).loss:…margin, logistic, softmax"),
    ],
)
def test_a_stage_that_cannot_run_names_its_key(stage, message):
    assert says(resolve_error([KgeStageConfig("a"), stage]), message)


def test_lists_of_stages_that_cannot_run():
    assert says(resolve_error([]), "stages: ")
    found = resolve_error([KgeStageConfig("a", teacher="b"), KgeStageConfig("b")])
    assert says(found, "stages[0] (a).teacher: …'b'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((f"train.{key}", 0, "0") for key in ("epochs", "batch_size", "lr", "log_every")),
        *((f"train.{key}", -1, "-1") for key in ("warmup", "grad_clip", "patience", "workers", "epoch_steps")),
        *((f"loss.{key}", 0, "0") for key in ("negatives", "shared", "scale")),
        *((f"loss.{key}", -0.5, "-0.5") for key in ("adversarial", "n3", "constraint")),
        ("loss.label_smoothing", 0.1, "softmax…loss.name"),
        ("loss.adversarial", 1.0, "softmax…loss.name"),
        ("dual.ablations", True, "dual.students"),
        ("dual.lrs", [0.1], "dual.students"),
        ("dual.students", [8, 0], "0"),
        ("evaluation.rerank_hops", 2, "0"),
        ("loss.n3", 0.1, "complex…simple…rotate"),
        ("model.dim", 0, "0"),
        ("dual.temperature", 0.0, "0.0"),
        ("model.init", 0.0, "0.0"),
        ("evaluation.batch_size", 0, "0"),
        ("train.weight_decay", 0.1, "adam…adamw…loss.n3"),
    ],
)
def test_a_setting_that_cannot_work_is_named(key, value, message):
    config = KgeConfig()
    part, name = key.split(".")
    setattr(getattr(config, part), name, value)
    with pytest.raises(PmdError) as caught:
        check_kge(config)
    assert says(str(caught.value), f"{key}: …{message}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (KgeConfig(model=ModelConfig("simple", norm="l1")), "model.norm: simple…norm"),
        *(
            (
                KgeConfig(loss=LossConfig(loss), train=KgeTrainConfig(optimizer="sparse_adam")),
                f"train.optimizer: sparse_adam…{loss}…adam",
            )
            for loss in ("one_vs_all", "k_vs_all")
        ),
        (KgeConfig(train=KgeTrainConfig(optimizer="sparse_adam", grad_clip=1.0)), "train.grad_clip…0"),
        (KgeConfig(loss=LossConfig("logistic", margin=float("inf"))), "loss.margin: inf"),
        (KgeConfig(loss=LossConfig(margin=3.0)), "loss.margin…softmax…loss.name"),
        (KgeConfig(train=KgeTrainConfig(patience=2, valid_every=0)), "train.patience…train.valid_every"),
        (KgeConfig(name="a/b"), "name: 'a/b'"),
        (KgeConfig(seed=-1), "seed: -1"),
        (KgeConfig(seed=2**32), "seed: 4294967296…4294967295"),
        (KgeConfig(dual=DualConfig(students=[8, 4], lrs=[0.1])), "dual.lrs…dual.students"),
        (KgeConfig(dual=DualConfig(students=[8]), stages=[KgeStageConfig("a")]), "dual.students…stages"),
        (KgeConfig(model=ModelConfig(dim=16, widths=[8, 16]), dual=DualConfig(students=[8])), "dual.students…widths"),
        (
            KgeConfig(model=ModelConfig("transh", unit_entities=True), loss=LossConfig(constraint=0.25)),
            "loss.constraint: model.unit_entities",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, message):
    with pytest.raises(PmdError) as caught:
        check_kge(config)
    assert says(str(caught.value), message)


@pytest.mark.parametrize(
    "config",
    [
        KgeConfig(),
        KgeConfig(model=ModelConfig("complex", init=0.1, reciprocal=True), loss=LossConfig("one_vs_all", n3=0.05)),
        KgeConfig(model=ModelConfig("transh", norm="squared"), loss=LossConfig("margin", constraint=0.25)),
        KgeConfig(train=KgeTrainConfig(optimizer="sparse_adam")),
        KgeConfig(loss=LossConfig(margin=3.0), stages=[KgeStageConfig("a", loss="logistic")]),
        KgeConfig(train=KgeTrainConfig(optimizer="adamw", weight_decay=0.01)),
    ],
)
def test_what_can_work_is_not_refused(config):
    assert check_kge(config) is None and len(resolve_kge_stages(config)) == 1

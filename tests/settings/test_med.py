"""Recipes of croppable embeddings, and what cannot be trained that way: one line, the key and the remedy."""

from dataclasses import replace

import pytest

from pmd.core.errors import PmdError
from pmd.settings.kge import KgeConfig, KgeStageConfig, LossConfig, ModelConfig
from pmd.settings.med import RECIPES, MedConfig, as_begun, resolve_med
from pmd.settings.stages.kge import check_kge_run, resolve_kge_stages


def config(widths=(4, 8), dim=8, loss="softmax", stages=None, med=None, **options):
    model = {name: options.pop(name) for name in ("interaction", "norm", "unit_entities") if name in options}
    return KgeConfig(
        model=ModelConfig(dim=dim, widths=None if widths is None else [*widths], **model),
        loss=LossConfig(loss, **options),
        stages=stages,
        med=med or MedConfig(),
    )


def sparse(**options):
    settings = config(**options)
    settings.train.optimizer = "sparse_adam"
    return settings


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_decides_everything_and_an_option_overrides_it(name):
    found = resolve_med(MedConfig(name))
    assert all(getattr(found, key) == value for key, value in RECIPES[name].items())
    assert None not in vars(found).values()
    assert resolve_med(MedConfig(name, prefix=0.5)).prefix == 0.5


def test_the_papers_recipe():
    found = resolve_med(MedConfig("med"))
    assert (found.evolutionary, found.mutual, found.dynamic, found.learned) == (True, 1.0, True, True)
    assert (found.w1, found.w2, found.w3) == (1.0, 1.0, 1.0)
    assert (found.soft, found.prefix, found.power, found.draw) == (0.0, 1.0, 0.0, 0)


@pytest.mark.parametrize(
    ("interaction", "usual"), [("rotate", "literal"), ("transe", "literal"), ("simple", "bounded")]
)
def test_the_form_of_the_weights_follows_the_scores(interaction, usual):
    """A distance is below zero, a product passes it."""
    settings = config(loss="logistic", interaction=interaction, med=MedConfig("med"))
    (stage,) = resolve_kge_stages(settings)
    assert (stage.med.improvement, stage.med.weight_lr) == (usual, 1e-3)
    settings.med = MedConfig("med", improvement="bounded", weight_lr=None)
    (stage,) = resolve_kge_stages(settings)
    assert (stage.med.improvement, stage.med.weight_lr) == ("bounded", None)


def test_a_run_that_goes_on_keeps_what_its_settings_do_not_say():
    med = resolve_med(MedConfig("med"), distance=True)
    assert as_begun(med, vars(MedConfig())) == med
    old = as_begun(med, {"recipe": "med", "w1": None})
    assert old == replace(med, improvement="bounded", weight_lr=None)
    assert as_begun(med, {"improvement": None}) == replace(med, weight_lr=None)


def test_one_stage_of_all_widths():
    (stage,) = resolve_kge_stages(config())
    assert (stage.widths, stage.dim, stage.teacher) == ([4, 8], 8, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config((8, 4)), r"model.widths: \[8, 4\]"),
        (config((4, 4, 8)), "must increase"),
        (config((0, 8)), "increase"),
        (config((4, 16)), "model.widths: 16.*dimension 8.*model.dim"),
        (config((2, 4)), "after 4.*8.*model.dim.*4"),
        (config((8,)), "single width"),
        (config(loss="one_vs_all"), "loss.name.*widths"),
        (config(unit_entities=True), "model.unit_entities.*width"),
        (config(interaction="transh", norm="l1"), "model.norm: TransH.*l1"),
        (config(med=MedConfig("med")), "med.evolutionary.*logistic.*softmax"),
        (config(loss="logistic", adversarial=1.0, med=MedConfig("med")), "loss.adversarial: med.evolutionary weighs"),
        (config(med=MedConfig(prefix=1.5)), r"med.prefix: 1.5.*\[0, 1\]"),
        (config(med=MedConfig(mutual=-1.0)), "med.mutual: -1.0"),
        (config(med=MedConfig(temperature=0.0)), "med.temperature: 0.0"),
        (config(med=MedConfig(draw=1)), "med.draw: 1.*2.*0"),
        (config(med=MedConfig(draw=3)), "med.draw: 3.*2 widths.*drawn; 0"),
        (config(med=MedConfig(w1=2.0)), "med.w1.*med.evolutionary"),
        (config(med=MedConfig(w3=2.0)), "med.w3.*med.dynamic"),
        (config(med=MedConfig(improvement="bounded")), "med.improvement: nothing uses it.*med.evolutionary"),
        (config(med=MedConfig(weight_lr=0.01)), "med.weight_lr: nothing uses it.*med.learned"),
        (config(loss="logistic", med=MedConfig("med", weight_lr=0.0)), "med.weight_lr: 0.0 is not positive"),
        (
            config(loss="logistic", interaction="simple", med=MedConfig("med", improvement="literal")),
            "med.improvement: literal .*pass zero.*bounded",
        ),
        (config(med=MedConfig(learned=True)), "med.learned:"),
        (config(med=MedConfig("joint", temperature=2.0)), "med.temperature:.*med.soft"),
        (config(widths=None, med=MedConfig(soft=0.5)), "^med:.*widths"),
        (sparse(med=MedConfig(calibrated=True)), "med.calibrated: sparse_adam"),
        (sparse(loss="logistic", med=MedConfig("med")), "med.learned: sparse_adam"),
        (config(stages=[KgeStageConfig("a")]), "model.widths.*stages"),
    ],
)
def test_what_cannot_work_is_refused(settings, message):
    with pytest.raises(PmdError, match=message) as caught:
        check_kge_run(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [KgeStageConfig("a"), KgeStageConfig("b", start="a", widths=[4, 8])],
            r"stages\[1\] \(b\).widths: 'a'.*widths",
        ),
        ([KgeStageConfig("a", load="x", widths=[4, 8])], r"stages\[0\] \(a\).widths: 'x'.*widths"),
        ([KgeStageConfig("a", med=MedConfig())], r"stages\[0\] \(a\).med.*widths"),
        ([KgeStageConfig("a", margin=3.0)], r"stages\[0\] \(a\).margin:"),
        ([KgeStageConfig("a"), KgeStageConfig("b", dim=4, crop="c")], r"stages\[1\] \(b\).crop.*'c'"),
        ([KgeStageConfig("a", dim=4), KgeStageConfig("b", dim=8, crop="a")], "8.*'a', 4"),
        ([KgeStageConfig("a"), KgeStageConfig("b", dim=4, crop="a", teacher="a")], "teacher"),
        ([KgeStageConfig("a", order="loss")], "order:"),
        ([KgeStageConfig("a", widths=[8, 4])], r"stages\[0\] \(a\).widths: \[8, 4\]"),
        ([KgeStageConfig("a"), KgeStageConfig("b", widths=[4, 8], teacher="a")], "med has none"),
        ([KgeStageConfig("a", epochs=1.5)], r"stages\[0\] \(a\).epochs: 1.5"),
    ],
)
def test_stages_that_cannot_work_are_refused(stages, message):
    with pytest.raises(PmdError, match=message):
        resolve_kge_stages(config(None, stages=stages))


def test_epochs_of_a_stage_may_be_a_share():
    settings = config(
        None, stages=[KgeStageConfig("a", epochs=0.25), KgeStageConfig("b", epochs=7), KgeStageConfig("c")]
    )
    settings.train.epochs = 40
    assert [stage.epochs for stage in resolve_kge_stages(settings)] == [10, 7, 40]

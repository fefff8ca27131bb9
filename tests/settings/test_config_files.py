"""How `--config` finds a bundled config by its name."""

import pytest

from pmd.core.errors import PmdError
from pmd.papers.compare import CompareConfig
from pmd.settings.glue import GlueConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.config_files import CONFIGS, config_file
from pmd.settings.parsing.parse import read_config
from pmd.settings.text import ProgressiveConfig

PROGRESSIVE = {*ProgressiveConfig.__dataclass_fields__}
TRAIN = {*KgeConfig.__dataclass_fields__}
GLUE = {*GlueConfig.__dataclass_fields__}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder that is no checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("value", "options", "name"),
    [
        ("world", PROGRESSIVE, "pmd/world"),  # not downstream/world, which has other settings
        ("pmd/world", PROGRESSIVE, "pmd/world"),
        ("world.yaml", PROGRESSIVE, "pmd/world"),
        ("configs/pmd/world.yaml", PROGRESSIVE, "pmd/world"),
        ("./configs/pmd/world.yaml", PROGRESSIVE, "pmd/world"),
        ("world", {"base", "methods", "tuned", "croppable", "seeds", "out"}, "downstream/world"),
        ("minilm", GLUE, "glue/minilm"),
        ("wn18rr_transh", TRAIN, "dualde/wn18rr_transh"),
        ("med/wn18rr_rotate", TRAIN, "med/wn18rr_rotate"),
        (
            "tables/umls_parts_literal_rotate",
            {"base", "methods", "croppable", "out"},
            "med/tables/umls_parts_literal_rotate",
        ),
    ],
)
def test_a_name_is_found_with_or_without_its_folder(value, options, name):
    assert config_file(value, options) == str(CONFIGS / f"{name}.yaml")


def test_a_file_comes_before_a_name(tmp_path):
    (tmp_path / "world").write_text("seed: 7\n")
    assert config_file("world", PROGRESSIVE) == "world"
    assert read_config(ProgressiveConfig, ["--config", "world"]).seed == 7


@pytest.mark.parametrize("value", ['{"seed": 7}', "seed: 7\n"])
def test_settings_in_place_of_a_file_stay_as_they_are(value):
    assert config_file(value, PROGRESSIVE) == value


def test_a_name_of_several_configs_is_refused_with_their_names():
    with pytest.raises(PmdError) as refused:
        config_file("wn18rr_rotate", TRAIN)
    for name in ("dualde/wn18rr_rotate", "kge/wn18rr_rotate", "med/wn18rr_rotate", "'wn18rr_rotate'"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("value", "options", "nearest"),
    [
        ("wrold", PROGRESSIVE, "'pmd/world'"),
        ("configs/pmd/wrold.yaml", PROGRESSIVE, "'pmd/world'"),
        ("med/wn18rr_rotat", TRAIN, "'med/wn18rr_rotate'"),
        ("mini_lm", GLUE, "'glue/minilm'"),
        ("xyz", GLUE, "glue/bert_base, glue/minilm"),
        ("tables/umls_parts_literal_rotate", TRAIN, "med/tables/umls_parts_literal_rotate"),  # another command's
    ],
)
def test_what_is_no_name_is_refused_with_the_nearest(value, options, nearest):
    with pytest.raises(PmdError, match=r"^--config: ") as refused:
        config_file(value, options)
    assert nearest in str(refused.value)


@pytest.mark.parametrize("arguments", [["--config", "world"], ["--config=pmd/world"]])
def test_settings_are_read_by_name_and_options_override_them(arguments):
    config = read_config(ProgressiveConfig, [*arguments, "--train.lr", "0.25"])
    assert config.encoder.layers == 4 and config.train.lr == 0.25
    assert config == read_config(
        ProgressiveConfig, ["--config", str(CONFIGS / "pmd" / "world.yaml"), "--train.lr=0.25"]
    )


@pytest.mark.parametrize("name", ["world_methods", "mask_rates"])
def test_a_config_that_names_another_is_read_anywhere(name):
    base = read_config(CompareConfig, ["--config", name]).base
    assert read_config(ProgressiveConfig, ["--config", base]).encoder.layers == 4

"""Values that do not fit their options: one line with the option, the value, what it takes and what was meant."""

import subprocess
import sys

import pytest

from pmd.core.errors import PmdError
from pmd.papers.glue_table import GlueTableConfig
from pmd.settings.kge import KgeConfig
from pmd.settings.parsing.parse import read_config
from pmd.settings.text import ProgressiveConfig

from ..says import says


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.widths=10,64", "model.widths: '10,64'…'[10,64]'"),
        ("--model.widths=[10,64", "model.widths: '[10,64'…write '[10,64]'"),
        ("--model.widths=[a,64]", "model.widths: 'a'"),
        ("--train.epochs=1.5", "train.epochs: '1.5'"),
        ("--train.lr=fast", "train.lr: 'fast'"),
        ("--loss.filtered=maybe", "loss.filtered: 'maybe'"),
        ("--med.draw=x", "med.draw: 'x'"),
        ("--loss.name=softmx", "loss.name: 'softmx'…margin, logistic, softmax, one_vs_all, k_vs_all…'softmax'"),
        ("--model.norm=l3", "model.norm: 'l3'…l1, l2, squared"),
        ('--stages=[{"name": "a", "lr": "x"}]', "stages.lr: 'x'"),
        ("--stages=[1]", "stages: '1'…'[{name: …}]'"),
        ("--data.columns=-1", "data.columns: '-1' is not a mapping…'{NAME: VALUE}'"),
    ],
)
def test_wrong_values(option, message):
    with pytest.raises(PmdError) as error:
        read_config(KgeConfig, [option])
    assert says(str(error.value), message)


@pytest.mark.parametrize(("value", "proposed"), [("3,4", "; write '[3,4]'"), ("3.5", "")])
def test_a_list_is_proposed_only_where_it_would_be_taken(value, proposed):
    with pytest.raises(PmdError) as error:
        read_config(ProgressiveConfig, [f"--distill.epochs={value}"])
    assert str(error.value).endswith(f"'{value}' is not a whole number or a list{proposed}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--sed=1", "sed: …'seed'"),
        ("--lr=1", "lr: …'train.lr'"),
        ("--epoch=1", "epoch: …'train.epochs'"),  # not that of distill
        ("--train.lrr=1", "train.lrr: …'train.lr'"),
        ("--trian.lr=1", "trian.lr: …'train.lr'"),
        ("--train.quite_another=1", "train.quite_another: …--help"),
        ("--train.lora.rr=1", "train.lora.rr: …'train.lora.r'"),
        ('--train={"lrr": 1}', "train.lrr: …'train.lr'"),
        ('--stages=[{"name": "a", "lrr": 1}]', "stages.lrr: …'stages.lr'"),
        ('--stages=[{"lr": 1}]', "stages.name: not given"),
        ("--data=world", "data: 'world'…--data.NAME"),
        ("--seed.x=1", "seed.x: …seed takes a value"),
        ("--data.path.x=1", "data.path.x: …data.path takes a value"),
        ("--train.lr", "--train.lr: the value is missing"),
        ("world", "'world'…--NAME VALUE"),
    ],
)
def test_wrong_options(option, message):
    with pytest.raises(PmdError) as error:
        read_config(ProgressiveConfig, [option])
    assert says(str(error.value), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed: 1", "--config: …config.yaml: …'sed'…'seed'"),
        ("train: {lrr: 1}", "train.lrr: …'train.lr'"),
        ("train: {lr: x}", "train.lr: 'x'"),
        ("seed: 1\ntrain: [b", "--config: …config.yaml, line 2: …YAML"),
        ("train: {lr: 1}\nseed: 1\ntrain: {epochs: 2}", "--config: …config.yaml, line 3: 'train' is there twice"),
        ("train:\n\tlr: 1", "--config: …config.yaml, line 2: …tab"),
        ("name: \x00", "--config: …config.yaml: …YAML"),
        ("day: 2025-13-01", "--config: …config.yaml: month must be in 1..12…correct its YAML"),
        ("- 1", "--config: …config.yaml: …[1]…NAME: VALUE"),
        ("", "--config: …config.yaml: …nothing…NAME: VALUE"),
        ("train: 5", "--config: …config.yaml: train: 5…mapping"),
        ("train:", "--config: …config.yaml: train: None…mapping"),
        ("loss: {margin: 1}", "--config: …config.yaml: …'loss'…`pmd train`"),
        (b"\xffseed: 1", "--config: …config.yaml, line 1: byte 1 (0xff) is not UTF-8…iconv"),
    ],
)
def test_wrong_files(text, message, tmp_path):
    (tmp_path / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PmdError) as error:
        read_config(ProgressiveConfig, [f"--config={tmp_path}/config.yaml"])
    assert says(str(error.value), message)


def test_a_part_of_a_table_that_is_no_mapping_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("tuned: [{task: rte}]\nbase: {train: 5}")
    with pytest.raises(PmdError, match=r"config\.yaml: base\.train: 5 is no mapping"):
        read_config(GlueTableConfig, [f"--config={tmp_path}/config.yaml"])


@pytest.mark.parametrize("module", ["pmd.recipes.crop", "pmd.papers.figures", "pmd.settings.med_table"])
def test_options_are_known_without_torch(module):
    """Help and misspelt options are answered before anything heavy is loaded."""
    code = f"import {module}, sys; print(sorted({{'torch', 'transformers', 'matplotlib'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

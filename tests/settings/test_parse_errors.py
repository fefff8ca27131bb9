"""Values that do not fit their options: one line with the option, the value, what it takes and what was meant."""

import subprocess
import sys

import pytest

from pmd.core.errors import PmdError
from pmd.settings.kge import KgeConfig
from pmd.settings.parse import read_config

from ..says import says


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.widths=10,64", "model.widths: '10,64'…'[10,64]'"),
        ("--model.widths=[a,64]", "model.widths: 'a'"),
        ("--train.epochs=1.5", "train.epochs: '1.5'"),
        ("--train.lr=fast", "train.lr: 'fast'"),
        ("--loss.filtered=maybe", "loss.filtered: 'maybe'"),
        ("--med.draw=x", "med.draw: 'x'"),
        ("--loss.name=softmx", "loss.name: 'softmx'…margin, logistic, softmax, one_vs_all, k_vs_all…'softmax'"),
        ("--model.norm=l3", "model.norm: 'l3'…l1, l2, squared"),
        ('--stages=[{"name": "a", "lr": "x"}]', "stages.lr: 'x'"),
    ],
)
def test_wrong_values(option, message):
    with pytest.raises(PmdError) as error:
        read_config(KgeConfig, [option])
    assert says(str(error.value), message)


@pytest.mark.parametrize("module", ["pmd.recipes.crop", "pmd.papers.figures", "pmd.settings.med_table"])
def test_options_are_known_without_torch(module):
    """Help and misspelt options are answered before anything heavy is loaded."""
    code = f"import {module}, sys; print(sorted({{'torch', 'transformers', 'matplotlib'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Commands that train refuse settings that cannot work before anything heavy is imported."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError

said = []
for arguments in json.loads(sys.argv[1]):
    try:
        dispatch(arguments)
    except PmdError as error:
        said.append(str(error))
print(json.dumps({"said": said, "imported": [name for name in ("torch", "transformers") if name in sys.modules]}))
"""


def test_bad_values_are_refused_before_torch_is_imported(tmp_path):
    bert, distil = tmp_path / "bert", tmp_path / "distil"
    for folder, settings in ((bert, {"num_hidden_layers": 3}), (distil, {"n_layers": 2})):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(settings))
    stages = [{"name": "teacher"}, {"name": "student", "layers": 4}]
    expected = {
        ("progressive", "--train.batch_size=1"): "train.batch_size: 1",
        ("progressive", "--encoder.heads=3"): "encoder.heads (3)",
        ("progressive", "--distill.mask_rates=[0.1]"): "1 values for 4 grades",
        ("progressive", f"--encoder.name={bert}", f"--stages={json.dumps(stages)}"): "4 layers cannot start from 3",
        ("progressive", f"--encoder.name={distil}", f"--stages={json.dumps(stages)}"): "4 layers cannot start from 2",
        ("progressive", "--encoder.name=package:no_such_package/model"): "no package 'no_such_package'",
        ("train", "--model.dim=0"): "model.dim: 0",
        ("train", "--data.path=./no_such"): "data.path: './no_such' is neither",
        ("train", "--train.lr=.inf"): "train.lr: inf",
        ("progressive", f"--seed={2**32}"): f"seed: {2**32}",
        ("train", "--dual.students=[128]"): "wider than its teacher",
        ("glue", "--task=rte", "--distill.temperature=0"): "distill.temperature: 0",
    }
    command = [sys.executable, "-c", PROGRAM, json.dumps([*expected])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["imported"] == []
    assert len(found["said"]) == len(expected)
    for said, words in zip(found["said"], expected.values()):
        assert words in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "distil"]

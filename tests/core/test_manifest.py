"""The manifest of a model's folder: what is lost or damaged is named, what came later or may be edited is not in it."""

import hashlib
import json

import pytest

from pmd.core.errors import PmdError
from pmd.core.manifest import MANIFEST, check_manifest, write_manifest, write_model


@pytest.fixture
def model(tmp_path):
    def fill(folder):
        for name in ("config.json", "text/model.safetensors", "README.md", "index/vectors.npy", f"text/{MANIFEST}"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"content of {name}")

    write_model(tmp_path / "model", fill)
    return tmp_path / "model"


def test_a_folder_notes_its_files_and_those_of_its_parts(model):
    noted = json.loads((model / MANIFEST).read_text())
    assert set(noted) == {"config.json", "text/model.safetensors"}
    content = (model / "config.json").read_bytes()
    assert noted["config.json"] == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert not (model / "text" / MANIFEST).exists()  # of the part alone


@pytest.mark.parametrize("name", ["config.json", "text/model.safetensors"])
def test_what_is_lost_or_damaged_is_named(name, model):
    content = (model / name).read_text()
    (model / "README.md").write_text("edited")
    (model / "index/vectors.npy").write_text("rebuilt")
    check_manifest(model, checksums=True)
    (model / name).write_text(content.replace("content", "CONTENT"))
    check_manifest(model)  # of the same size
    with pytest.raises(PmdError, match=rf"{name}: has another checksum.*manifest.json if you changed it"):
        check_manifest(model, checksums=True)
    (model / name).write_text(content + " more")
    with pytest.raises(PmdError, match=rf"{name}: has {len(content) + 5} bytes in place of {len(content)}"):
        check_manifest(model)
    (model / name).unlink()
    with pytest.raises(PmdError, match=rf"{name}: is missing"):
        check_manifest(model)
    (model / MANIFEST).unlink()
    check_manifest(model, checksums=True)  # of an older version


def test_files_that_change_by_themselves_are_left_out(model):
    write_manifest(model / "index", without=("vectors.npy",))
    assert json.loads((model / "index" / MANIFEST).read_text()) == {}
    write_manifest(model)
    assert (model / "index" / MANIFEST).exists()

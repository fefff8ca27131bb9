"""What a wheel must carry beside modules: every file that lies in the package."""

import re
from pathlib import Path

import pytest

import pmd

PACKAGE = Path(pmd.__file__).parent
PYPROJECT = PACKAGE.parent / "pyproject.toml"


@pytest.fixture(scope="module")
def patterns() -> list[str]:
    """The package data of pyproject.toml, which Python 3.10 cannot parse by itself."""
    listed = re.search(r"^pmd = \[(.*?)\]$", PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', listed[1])


def is_data(path: Path) -> bool:
    """Whether the build would leave a file out: all but the modules of packages, which it finds by itself."""
    module = path.suffix == ".py" and (path.parent / "__init__.py").is_file()
    return path.is_file() and not module and path.suffix != ".pyc"


def test_every_file_of_the_package_travels_with_it(patterns):
    carried = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert {path for path in PACKAGE.rglob("*") if is_data(path)} == {path for path in carried if path.is_file()}
    for name in ("configs/pmd/world.yaml", "data/world/train.tsv", "data/world/LICENSE.cldr.txt", "hub/card.md.jinja"):
        assert PACKAGE / name in carried


def test_no_pattern_is_left_over(patterns):
    assert patterns and all(any(PACKAGE.glob(pattern)) for pattern in patterns)


def test_every_folder_of_modules_is_a_package():
    modules = [path for path in PACKAGE.rglob("*.py") if (path.parent.parent / "__init__.py").is_file()]
    without = {path.parent.name for path in modules if not (path.parent / "__init__.py").is_file()}
    assert without == {"kgc_ranks", "glue_scores"}  # metrics of `evaluate`, which are folders with a script

"""Who may import whom: the straight line of the design, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pmd

PACKAGE = Path(pmd.__file__).parent
ORDER = {
    "core": (),
    "settings": (),
    "losses": (),
    "training": (),
    "hub": (),
    "data": (),
    "models": ("data",),
    "evaluation": ("data", "models"),
    "distill": ("data", "models", "losses"),
    "trust": ("data", "models", "evaluation"),
    "use": ("data", "models", "evaluation", "hub", "trust"),
    "recipes": ("data", "models", "losses", "training", "hub", "evaluation", "distill", "use", "trust"),
    "serve": ("data", "models", "evaluation", "use", "trust"),
    "reports": ("data", "models", "training", "evaluation", "use", "trust", "recipes"),
    "papers": ("data", "models", "training", "evaluation", "use", "trust", "recipes", "reports"),
    "api": ("data", "models", "training", "evaluation", "use", "trust", "recipes", "reports"),
    "cli": (),
}
"""Which rooms each room may import, beside itself, `core` and `settings`."""
ALLOWED = {room: {room, "core", "settings", *others} for room, others in ORDER.items()} | {"core": {"core"}}
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imported(path: Path) -> set[str]:
    """The parts of pmd that a module imports anywhere, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("pmd.")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    part = Path(module).parts[0]
    assert part in ALLOWED, f"say in this test what pmd.{part} may import"
    assert imported(PACKAGE / module) <= ALLOWED[part]


def test_the_reading_of_imports_sees_them():
    found = imported(PACKAGE / "distill" / "text_pmd.py")
    assert found == {"core", "settings", "data", "distill", "losses", "models"}
    assert {"core", "training", "evaluation"} <= set().union(
        *(imported(path) for path in (PACKAGE / "recipes").glob("*.py"))
    )


HEAVY = ("torch", "transformers", "datasets", "accelerate", "numpy")


@pytest.mark.parametrize("modules", [["pmd"], ["pmd.settings.text", "pmd.core.errors", "pmd.core.run"]])
def test_the_config_loads_nothing_heavy(modules):
    program = f"import sys, {', '.join(modules)}; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_names_are_found_on_first_use():
    assert {"load_graph", "BiEncoder", "rank", "ranks", "PmdError"} <= set(dir(pmd))
    for name in pmd.__all__:
        assert getattr(pmd, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        pmd.no_such_name  # noqa: B018

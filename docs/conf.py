"""The site: `sphinx-build -W -n docs build/site`. Sphinx with MyST (and its notebooks), for the pages are Markdown that also reads
well in a repository, and every link and reference is checked; the theme Furo, for it is light and dark, fits a phone, and asks no
other host."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pmd"
author = copyright = "the maintainers of pmd"
version = release = version_of("pmd")
extensions = ["myst_nb", "sphinx_copybutton", "reference_pages", "mathml"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_block"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # scripts/pages/notebooks.py runs them
exclude_patterns = ["_ext", "_static", "results/data"]
nitpicky = True
html_theme = "furo"
html_title = "pmd"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7fb2ea", "color-brand-content": "#7fb2ea"},
}
copybutton_exclude = ".linenos, .gp, .go"

nb_render_markdown_format = "myst"
"""Tables that a notebook's cell prints as Markdown are tables."""
smartquotes_action = "qe"
"""Quotes and ellipses alone: two hyphens are the beginning of an option."""

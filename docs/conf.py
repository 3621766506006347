"""How Sphinx builds these pages: Markdown by MyST, the API from docstrings, warnings as errors (``python3 dev.py docs``)."""

from importlib.metadata import version as installed

project = "cotan"
author = "The cotan developers"
release = version = installed("cotan")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "generated"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}
html_title = "cotan"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
templates_path: list[str] = []
html_static_path: list[str] = []

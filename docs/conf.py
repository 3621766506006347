"""How Sphinx builds these pages: Markdown by MyST, the API from docstrings, warnings as errors (``python3 dev.py docs``).

Tables that the code knows best (the rule matrix, the names of the NumPy-like modules) are written to ``generated/`` first, and the pages
include them from there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version as installed
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import cotan
from cotan.api.audit import audit
from cotan.core.op import REGISTRY

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
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Raises (when called)", "Raises")]
templates_path: list[str] = []
html_static_path: list[str] = []

GENERATED = Path(__file__).resolve().parent / "generated"
RULES = ("type", "impl", "lowering", "jvp", "transpose", "batch")


def setup(app: Any) -> None:
    """Sphinx calls this before it reads any page."""
    app.connect("builder-inited", write_tables)


def write_tables(_: Any) -> None:
    """Write every generated page; one that would not change is left alone, so that Sphinx need not read it again."""
    GENERATED.mkdir(exist_ok=True)
    pages = {"rules.md": rule_matrix()}
    pages |= {
        f"{m.__name__}.md": names(m)
        for m in (cotan.numpy, cotan.numpy.linalg, cotan.lax, cotan.lax.linalg, cotan.scipy.linalg, cotan.special)
    }
    for name, lines in pages.items():
        path, text = GENERATED / name, "\n".join(lines) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    header = list(header)
    for row in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def rule_matrix() -> Iterator[str]:
    """A table of rules for each module that defines ops."""
    ops = [cls for cls in REGISTRY.values() if cls.__module__.startswith("cotan.")]
    for module, classes in groupby(sorted(ops, key=lambda cls: cls.__module__), key=lambda cls: cls.__module__):
        yield from ("", f"## {module.removeprefix('cotan.')}", "", summary(sys.modules[module]), "")
        audits = [audit(cls) for cls in classes]
        linear = {a.op: "-" if a.linear_in.startswith("no operand") else a.linear_in for a in audits}
        rows = ([f"`{a.op}`", markdown(a.summary), linear[a.op], *(a[rule].status for rule in RULES)] for a in audits)
        yield from table(["op", "what it computes", "linear in", *RULES], rows)


def names(module: ModuleType) -> Iterator[str]:
    """The public functions of a module with what they do, then its other names."""
    public = {name: getattr(module, name) for name in module.__all__}
    functions = {name: x for name, x in public.items() if inspect.isroutine(x)}
    # An alias is named by the function that it stands for.
    same = {name: f.__name__ for name, f in functions.items() if f.__name__ != name and f.__name__ in functions}
    rows = ([f"`{name}`", f"`{same[name]}`" if name in same else summary(f)] for name, f in functions.items())
    yield from table(["function", "what it does"], rows)
    if others := [f"`{name}`" for name in public if name not in functions]:
        yield from ("", f"Types, constants and the rest: {', '.join(others)}.")


def summary(x: Any) -> str:
    """The first paragraph of a docstring."""
    return markdown(inspect.cleandoc(x.__doc__ or "").partition("\n\n")[0].replace("\n", " "))


def markdown(text: str) -> str:
    """Text of a docstring as Markdown: single backquotes round code, and no formulas read as markup."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\[\]])", r"\\\1", part) for part in parts)

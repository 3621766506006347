"""The documentation is true: its examples run, its quotations exist, its links have targets, its lists are complete.

Every block marked ``python`` is run, in the order of the page and in one namespace per page: one with ``>>>`` as doctest, so its output is
compared, and one without as a plain piece of a module.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import cotan
from cotan.core.op import REGISTRY, Op

from .conformance import cases as conformance_cases
from .conformance import test_batch, test_derivatives, test_element, test_registry, test_staging, test_types

ROOT = Path(__file__).resolve().parent.parent
BUILT = {"_build", "generated"}
CHAPTERS = [page for page in sorted((ROOT / "docs").rglob("*.md")) if BUILT.isdisjoint(page.parts)]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CHAPTERS]
FEWEST_EXAMPLES = {"docs/thread.md": 25, "docs/tour": 80, "README.md": 10, "CONTRIBUTING.md": 15}
"""Fewer than these, and something keeps the examples from being found."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages(chosen: list[Path]) -> list[Any]:
    return [pytest.param(page, id=name_of(page)) for page in chosen]


# ---- examples ------------------------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A block of Python on a page, and the lines above it."""

    text: str
    above: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield Block(found[1], text.count("\n", 0, found.start(1)))


def examples(page: Path) -> list[doctest.Example]:
    return [example for block in blocks(page) for example in doctest.DocTestParser().get_examples(block.text)]


def run(page: Path) -> dict[str, Any]:
    """Run a page; returns its namespace, or fails with what doctest has to say."""
    namespace: dict[str, Any] = {"__name__": f"page_{page.stem.replace('-', '_')}"}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    for block in blocks(page):
        if ">>> " not in block.text:
            exec(compile("\n" * block.above + block.text, str(page), "exec", dont_inherit=True), namespace)
            continue
        test = doctest.DocTestParser().get_doctest(block.text, {}, str(page), str(page), block.above)
        test.globs = namespace
        runner.run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    return namespace


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Ops that a page defines are removed after it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("page", pages([page for page in PAGES if any(blocks(page))]))
def test_the_examples_of_a_page_give_what_it_says(page: Path) -> None:
    run(page)


@pytest.mark.parametrize("where", FEWEST_EXAMPLES)
def test_the_examples_are_found(where: str) -> None:
    assert sum(len(examples(page)) for page in PAGES if name_of(page).startswith(where)) >= FEWEST_EXAMPLES[where]


# ---- the ops that CONTRIBUTING.md adds obey the laws of all ops -------------------------------------------------------------------------

LAWS = (test_registry, test_types, test_element, test_derivatives, test_batch, test_staging)


def laws_of(parameters: set[str]) -> list[Callable[..., None]]:
    """The conformance tests with just these parameters."""
    found = [law for module in LAWS for name, law in vars(module).items() if name.startswith("test_")]
    return [law for law in found if set(inspect.signature(law).parameters) == parameters]


def obeys(law: Callable[..., None], **arguments: Any) -> None:
    try:
        law(**arguments)
    except pytest.skip.Exception:
        return


@pytest.mark.usefixtures("own_registry")
def test_the_ops_of_the_contributors_guide_obey_the_laws_of_every_op() -> None:
    namespace = run(ROOT / "CONTRIBUTING.md")
    added = [x for x in namespace.values() if isinstance(x, type) and issubclass(x, Op) and x.__module__ == namespace["__name__"]]
    assert [cls.name for cls in added] == ["log_cosh", "skew"]
    for cls in added:
        for law in laws_of({"cls"}):
            obeys(law, cls=cls)
        cases = conformance_cases.examples(cls)
        cases += conformance_cases.in_dtypes(cases, [np.dtype(np.complex128)])
        for case in cases:
            for law in laws_of({"case"}):
                obeys(law, case=case)
            for members in case.op.linear_sets(len(case.operands)):
                chosen = [k for k in case.floats if members >> k & 1]
                obeys(test_derivatives.test_transpose_is_the_adjoint_in_every_declared_operand_set, case=case, chosen=chosen)
    assert len(laws_of({"case"})) >= 12
    assert len(laws_of({"cls"})) >= 6


# ---- quotations and links ----------------------------------------------------------------------------------------------------------------

QUOTATION = re.compile(r"^```\{literalinclude\} (\S+)\n((?::.*\n)*)", flags=re.MULTILINE)


@pytest.mark.parametrize("page", pages([page for page in CHAPTERS if QUOTATION.search(page.read_text())]))
def test_what_a_page_quotes_exists(page: Path) -> None:
    for path, options in QUOTATION.findall(page.read_text()):
        source = (page.parent / path).read_text()
        tree: ast.AST = ast.parse(source)
        wanted = re.search(r"^:pyobject: (\S+)$", options, flags=re.MULTILINE)
        if not wanted:
            marks = re.findall(r'^:(?:start|end)-at: "(.*)"$', options, flags=re.MULTILINE)
            assert len(marks) == 2, f"{path} is quoted whole"
            assert all(mark in source for mark in marks), marks
            continue
        for part in wanted[1].split("."):
            named = [x for x in getattr(tree, "body", []) if getattr(x, "name", None) == part]
            assert named, f"{path} has no {wanted[1]}"
            tree = named[0]


def test_the_architecture_names_every_file_of_the_native_engine_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    engine = text[text.index("### Files at the top") : text.index("## Explanations")]
    named = {name for row in engine.splitlines() if row.startswith("|") for name in re.findall(r"`[\w/]*?(\w+\.py)`", row)}
    files = {path.name for path in (ROOT / "src" / "cotan" / "engines" / "native").rglob("*.py")} - {"__init__.py"}
    assert named == files


@pytest.mark.parametrize("page", pages([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]))
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


# ---- lists -------------------------------------------------------------------------------------------------------------------------------


def subclasses(cls: type) -> Iterator[type]:
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_every_error_has_its_section() -> None:
    """... at the anchor to which its message links."""
    errors = [cls for cls in subclasses(cotan.errors.CotanError) if cls.__module__.startswith("cotan.")]
    assert {cls.__name__ for cls in errors} >= set(cotan.errors.__all__) - {"CotanError"}
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "errors.md").read_text(), flags=re.MULTILINE)
    assert sorted(sections) == sorted(cls.__name__.lower() for cls in errors)


@pytest.mark.parametrize("module", [cotan, cotan.extend, cotan.testing, cotan.tree, cotan.errors], ids=lambda module: module.__name__)
def test_every_public_name_is_on_the_page_of_the_interface(module: Any) -> None:
    """The tables of cotan.numpy, cotan.lax and cotan.special are made from ``__all__`` when the pages are built."""
    text = (ROOT / "docs" / "api.md").read_text()
    missing = [name for name in module.__all__ if not re.search(rf"(?<![\w.]){re.escape(module.__name__)}\.{name}\b", text)]
    assert not missing

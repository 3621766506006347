"""A public module lists its public names and no others, and every name is there."""

from __future__ import annotations

import rlcompleter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cotan

PAGES = Path(__file__).resolve().parents[2] / "docs"


def public_modules(module: ModuleType) -> Iterator[ModuleType]:
    """The module, and the public modules below it."""
    yield module
    for name in module.__all__:
        if isinstance(below := getattr(module, name), ModuleType):
            yield from public_modules(below)


def plain(names: list[str]) -> set[str]:
    return {name for name in names if not (name.startswith("__") and name.endswith("__"))}


MODULES = list(public_modules(cotan))


def test_the_public_modules_are_those_of_the_documentation() -> None:
    names = (
        "debug", "errors", "extend", "lax", "lax.linalg", "numpy", "numpy.linalg", "scipy", "scipy.linalg", "special", "testing", "tree",
    )  # fmt: skip
    named = {f"cotan.{name}" for name in names}
    assert {module.__name__ for module in MODULES} == named | {"cotan"}
    pages = (PAGES / "api.md").read_text() + (PAGES / "names.md").read_text()
    assert [name for name in named if name not in pages] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_dir_of_a_public_module_is_its_public_names(module: ModuleType) -> None:
    assert plain(dir(module)) == plain(module.__all__)
    assert [name for name in plain(dir(module)) if name.startswith("_")] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_an_attribute(module: ModuleType) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_public_name_is_completed(module: ModuleType) -> None:
    completions = rlcompleter.Completer({"cotan": cotan}).attr_matches(f"{module.__name__}.")
    assert {text.rstrip("(.)").rpartition(".")[2] for text in completions} == plain(module.__all__)

"""What every test shares: how much hypothesis tries, and which marked tests run.

- `--all` runs the tests marked `exhaustive`, all parameters of those marked `sampled`, and hypothesis's larger profile. Without it,
  hypothesis draws the same examples every time, so that a run in CI can be repeated exactly.
- `--peers` runs the tests marked `peers`, which compare with JAX, autograd or PyTorch. The first two must then be installed: where one is
  missing, its tests fail, so that a run that was meant to compare cannot pass without comparing. PyTorch is not to be had everywhere
  (see `dev.py`), so a test that needs it says `pytest.importorskip("torch")`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from cotan.engines.native.options import codegen_options

# The workers share the machine, and generated programs of any size are slow on occasion: no time limits per example.
settings.register_profile("ci", max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cotan")
    group.addoption("--all", action="store_true", help="run the exhaustive tests too, with hypothesis's larger profile")
    group.addoption("--peers", action="store_true", help="run the tests against JAX, autograd and PyTorch too")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("all" if config.getoption("--all") else "ci")
    if config.getoption("--peers"):
        # Before anything imports JAX: the comparison is in double precision, on the processor, compiled quickly.
        os.environ["JAX_ENABLE_X64"] = "1"
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {marker for marker, option in (("exhaustive", "--all"), ("peers", "--peers")) if not config.getoption(option)}
    everything = config.getoption("--all")
    kept = [
        item for item in items
        if not any(item.get_closest_marker(marker) for marker in left_out) and (everything or is_in_sample(item))
    ]  # fmt: skip
    if len(kept) < len(items):
        chosen = set(kept)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = kept


def is_in_sample(node: pytest.Item) -> bool:
    """Whether a test runs without --all, if its parameters are ``sampled``: by its name, so always the same ones."""
    sampled = node.get_closest_marker("sampled")
    return sampled is None or crc32(node.nodeid.encode()) // 4 % sampled.args[0] == 0


def pytest_collection_finish() -> None:
    """The collector looks at objects of tests no more: there are millions, and they stay."""
    gc.collect()
    gc.freeze()


def is_optimized(node: pytest.Item) -> bool:
    """Whether LLVM optimizes all code of a test: of the engine, a marked one, or one in four of the others, always the same."""
    name = node.nodeid
    return name.startswith("tests/engines/") or node.get_closest_marker("optimized") is not None or crc32(name.encode()) % 4 == 0


@pytest.fixture(autouse=True)
def short_calls_run_quick_code(request: pytest.FixtureRequest) -> Generator[None]:
    """Outside of tests/engines most tests let LLVM optimize nothing that runs for a moment only, as `cache.tiers` does for long programs.

    LLVM then takes a third of the time. With --all all code is optimized.
    """
    if request.config.getoption("--all") or is_optimized(request.node):
        yield
        return
    with codegen_options(quick_lines=0):
        yield


@pytest.fixture(autouse=True)
def patched_code_recalls_no_text(request: pytest.FixtureRequest) -> None:
    """Cached IR of Programs is keyed by the files of cotan. A test that replaces parts of cotan in memory neither finds nor stores any."""
    if "monkeypatch" in request.fixturenames:
        patch = request.getfixturevalue("monkeypatch")
        patch.setattr("cotan.engines.native.pipeline.key_of", lambda program, donated, options: None)

"""Which tests a plain run leaves out or runs on quick code, and that these are always the same."""

from __future__ import annotations

import pytest

from cotan.engines.native.options import CodegenOptions, current_options


@pytest.mark.parametrize("k", range(12))
def test_of_others_always_the_same_are_optimized(k: int, request: pytest.FixtureRequest) -> None:
    optimized = request.config.getoption("--all") or k in (2, 6)
    assert current_options().quick_lines == (CodegenOptions().quick_lines if optimized else 0)


@pytest.mark.optimized
@pytest.mark.parametrize("k", range(12))
def test_a_marked_test_is_optimized(k: int) -> None:
    assert current_options() == CodegenOptions()

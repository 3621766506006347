"""Which tests a plain run leaves out or runs on quick code, and that these are always the same."""

from __future__ import annotations

import pytest

from cotan.engines.native.options import CodegenOptions, current_options

from ..conftest import is_optimized


def test_all_tests_of_the_engine_and_a_fixed_quarter_of_the_others_run_optimized_code() -> None:
    assert is_optimized("tests/engines/test_native.py::test_rows[softmax]")
    chosen = [k for k in range(1000) if is_optimized(f"tests/api/test_jit.py::test_it[{k}]")]
    assert 200 < len(chosen) < 300
    assert chosen[:5] == [1, 5, 9, 11, 15]


@pytest.mark.parametrize("k", range(12))
def test_a_test_compiles_as_chosen(k: int, request: pytest.FixtureRequest) -> None:
    optimized = request.config.getoption("--all") or is_optimized(request.node.nodeid)
    assert current_options().quick_lines == (CodegenOptions().quick_lines if optimized else 0)

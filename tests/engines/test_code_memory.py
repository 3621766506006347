"""Code in memory: it goes with the last function that has it."""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.templates import templates

COUNT = 40


def mappings():
    return len(Path("/proc/self/maps").read_text().splitlines())


def compiled_functions():
    """Each with a text of its own."""
    x = np.arange(3.0)
    for k in range(1, COUNT):
        f = cotan.jit(lambda x, k=k: sum(cnp.sin(x) * x[j % 3] for j in range(k)) + x[0])
        np.testing.assert_allclose(f(x), sum(np.sin(x) * x[j % 3] for j in range(k)))
        yield f


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the mappings of memory are read from /proc")
def test_code_of_functions_that_nobody_has_is_given_back():
    templates.families.clear()
    gc.collect()
    before = mappings()
    kept = list(compiled_functions())
    assert mappings() > before + COUNT // 2
    templates.families.clear()
    gc.collect()
    assert mappings() > before + COUNT // 2  # the functions have it still
    np.testing.assert_allclose(kept[0](np.ones(3)), np.sin(1.0) + 1.0)
    del kept
    gc.collect()
    assert mappings() < before + COUNT // 4

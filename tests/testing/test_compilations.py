"""assert_compiles counts the stagings of jitted functions, and says what varied."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.testing import assert_compiles


def test_it_counts_each_new_signature_once():
    f = cotan.jit(lambda x: cnp.sum(cnp.sin(x)))
    with assert_compiles(2):
        for n in (3, 4, 3, 4, 3):
            f(np.ones(n))
    with assert_compiles(0):
        f(np.ones(4))
    gradient = cotan.jit(cotan.grad(f))
    with assert_compiles(1):
        gradient(np.ones(3))
        gradient(np.ones(3))


def test_the_error_names_the_function_and_the_argument_that_varies():
    f = cotan.jit(lambda x, scale: x * scale)
    f(np.ones(3), 2.0)
    new = r"2 compilations, not 0(.|\n)*args\[0\] is f64\[4\], where f64\[3\] was known(.|\n)*f64\[5\]"
    with pytest.raises(AssertionError, match=new), assert_compiles(0):
        cotan.tree.map(lambda x: f(x, 2.0), [np.ones(4), np.ones(5)])
    with pytest.raises(AssertionError, match="0 compilations, not 1"), assert_compiles(1):
        f(np.ones(3), 2.0)


def test_an_error_in_the_block_passes():
    f = cotan.jit(lambda x: x * 2.0)
    with pytest.raises(ZeroDivisionError), assert_compiles(0):
        f(1 / 0)
    with assert_compiles(1):  # the observer is gone
        f(np.ones(2))

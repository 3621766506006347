"""Code in memory: it goes with the last function that has it."""

import gc

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan.engines.native.machine import Linked
from cotan.engines.native.templates import templates

COUNT = 20


def forget():
    """What is kept for texts that are the same or alike."""
    templates.families.clear()
    templates.outlines.clear()


def codes():
    """How many modules there are that may go."""
    gc.collect()
    return sum(type(x) is Linked for x in gc.get_objects())


def test_code_of_functions_that_nobody_has_is_given_back():
    def function(k):
        f = cotan.jit(lambda x: sum(cnp.sin(x) * x[j % 3] for j in range(k)) + x[0])
        np.testing.assert_allclose(f(x), sum(np.sin(x) * x[j % 3] for j in range(k)) + x[0])
        return f

    x = np.arange(3.0)
    function(COUNT)  # brings what all calls share
    forget()
    before = codes()
    kept = [function(k) for k in range(1, COUNT)]
    assert codes() >= before + COUNT // 2
    forget()
    assert codes() >= before + COUNT // 2  # the functions have it still
    np.testing.assert_allclose(kept[0](np.ones(3)), np.sin(1.0) + 1.0)
    kept.clear()
    assert codes() <= before

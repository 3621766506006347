"""Random programs give equal bits with all their arguments donated."""

import numpy as np
import pytest

import cotan
from cotan.core import tree
from cotan.engines.native.options import codegen_options
from cotan.errors import CotanError

from .fuzz import made

EACH, MANY = 8, 100


def with_sums(f, seed):
    """A random program that has results of the types of its arguments, too, before or after the others."""

    def g(*xs):
        outs = tree.leaves(f(*xs))
        more = []
        for x in xs:
            partner = [y for y in (*xs, *outs) if y is not x and y.shape == x.shape and y.dtype == x.dtype]
            more.append(x if x.dtype.kind not in "fc" else x * 0.5 + (partner[0] if partner else 1))
        return [*outs, *more] if seed % 3 else [*more[::-1], *outs]

    return g


def written_over(seed):
    """How many arguments of the program of a seed hold results; None if it fails."""
    f, inputs = made(seed)
    g = with_sums(f, seed)
    given, protected = ([np.array(x) for x in inputs] for _ in range(2))
    for x in protected:
        x.flags.writeable = False
    donating = cotan.jit(g, donate_argnums=tuple(range(len(inputs))))
    try:
        expected = cotan.jit(g)(*inputs)
        found, fresh = donating(*given), donating(*protected)
    except (CotanError, np.linalg.LinAlgError):
        return None
    for x, y, z in zip(found, expected, fresh, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(z, y)
    for x, before in zip(protected, inputs, strict=True):
        np.testing.assert_array_equal(x, before)
    return sum(np.shares_memory(y, x) for y in found for x in given if x.size)


def check(first, count):
    with codegen_options(small_array=1):  # the arrays of random programs are small
        counts = [written_over(seed) for seed in range(first, first + count)]
    assert sum(k is not None for k in counts) > count // 2
    assert sum(bool(k) for k in counts) > count // 4


@pytest.mark.parametrize("block", range(4))
@pytest.mark.filterwarnings("ignore")
def test_random_programs_give_the_same_bits_with_donated_arguments(block):
    check(block * EACH, EACH)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(8))
@pytest.mark.filterwarnings("ignore")
def test_many_random_programs_give_the_same_bits_with_donated_arguments(block):
    check(20_000 + block * MANY, MANY)

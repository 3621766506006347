"""Random programs give equal results on both engines; `python -m tests.engines.fuzz` runs any number of them."""

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.ops.contraction import DotGeneral
from cotan.ops.families import Scale
from cotan.ops.ordering import Maximum
from cotan.ops.reduction import ReduceProd

from .fuzz import outcome
from .open_ways import product_of_parts, products_added_up, with_open_signs
from .rounding import noisy

EACH, MANY = 8, 200
OPEN = {
    "the sign of a nan": (10035560, 10045339, 10054423, 60002804, 70009192),
    "the sign of a zero of a derivative": (10064325, 70015624),
    "infinite parts of complex numbers in a product of matrices": (70023358,),
    "nan times zero in BLAS": (40001141,),
    "where a product underflows": (10012272,),
}
"""Seeds of programs whose results depend on open choices, on a processor with AVX-512."""


def check(first, count):
    results = {seed: outcome(seed) for seed in range(first, first + count)}
    assert not {seed: found.note for seed, found in results.items() if found.verdict == "different"}
    assert sum(found.verdict == "same" for found in results.values()) > count // 2


@pytest.mark.parametrize("block", range(12))
@pytest.mark.filterwarnings("ignore")
def test_random_programs_run_the_same_on_both_engines(block):
    check(block * EACH, EACH)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(12))
@pytest.mark.filterwarnings("ignore")
def test_many_random_programs_run_the_same_on_both_engines(block):
    check(10_000 + block * MANY, MANY)


# ---- what is left open ---------------------------------------------------------------------------------------------------------
@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [seed for seeds in OPEN.values() for seed in seeds])
@pytest.mark.filterwarnings("ignore")
def test_a_program_that_shows_what_is_open_is_no_difference(seed):
    assert outcome(seed).verdict != "different"


def test_other_ways_give_the_same_where_nothing_is_open():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 4))
    assert np.allclose(product_of_parts(ReduceProd((0, 1)), x, rng), np.prod(x, (0, 1)), rtol=1e-13)
    for op, operands in [*DotGeneral.examples(), (DotGeneral(((2, 0), (0, 1))), (x, rng.normal(size=(4, 3)) + 1j))]:
        y = op.impl(*operands)
        assert np.shape(products_added_up(op, *operands)) == np.shape(y)
        assert np.allclose(products_added_up(op, *operands), y, rtol=1e-13)


def test_signs_are_open_of_nan_and_of_certain_zeros_and_nothing_else():
    rng = np.random.default_rng(0)
    x = np.repeat([np.nan, -0.0, 0.0, 1.5, -np.inf, -2.0], 20)

    def signs(op, y, *operands):
        found = [with_open_signs(op, y, operands, rng) for _ in range(40)]
        assert all(np.array_equal(y, z, equal_nan=True) and z.shape == y.shape and z.dtype == y.dtype for z in found)
        negative = np.signbit([np.stack([z.real, z.imag]) for z in found])
        return negative.any(0) & ~negative.all(0)

    nan, zero = np.isnan(x), x == 0
    assert np.array_equal(signs(Maximum(), x, x, x)[0], nan | zero)
    assert np.array_equal(signs(Scale(), x, x, x)[0], nan | zero)
    assert np.array_equal(signs(Maximum(), abs(x), abs(x), abs(x))[0], nan)
    assert np.array_equal(signs(cnp_op(cnp.sin), x, x)[0], nan)
    z = np.stack([x, x[::-1]], axis=-1).view(complex)[:, 0]
    assert np.array_equal(signs(cnp_op(cnp.sin), z, z), [np.isnan(z.real), np.isnan(z.imag)])


@pytest.mark.filterwarnings("ignore")
def test_open_zeros_have_one_sign_in_some_runs():
    """The reciprocals of the zeros of a derivative add up to infinity if they have one sign, and to nan if not."""
    reciprocals = lambda x: cnp.sum(1.0 / cotan.grad(lambda x: cnp.sum(x * 0.0))(x))  # noqa: E731
    found = set()
    for seed in range(6):
        with noisy(seed, 0.0):
            found.add(str(float(cotan.jit(reciprocals, engine="numpy")(np.arange(1.0, 40.0)))))
    assert found == {"inf", "-inf", "nan"}


def cnp_op(f):
    """The op that a function of one number is."""
    return cotan.stage(f)(1.0).equations[0].op


@pytest.mark.filterwarnings("ignore")
def test_noise_leaves_exact_results_alone():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=9), [0.0, np.inf]])

    def exact(x):
        return -x[::-1], cnp.maximum(x, 1.0), cnp.floor(x), cnp.sort(x), cnp.signbit(x), cnp.sum(cnp.floor(x[:-1]))

    expected = exact(x)
    for seed in range(3):
        with noisy(seed, True):
            found = cotan.jit(exact, engine="numpy")(x)
        assert all(np.asarray(y).tobytes() == np.asarray(z).tobytes() for y, z in zip(expected, found, strict=True))

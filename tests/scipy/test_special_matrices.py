"""Special matrices of ``cotan.scipy.linalg``: the values are SciPy's, eager, traced, compiled and batched; the derivatives agree with
differences.
"""

import numpy as np
import pytest
import scipy.linalg as theirs

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as ours
from cotan.errors import ArgumentError, ShapeError, TracerConversionError
from cotan.testing import check_grads

RNG = np.random.default_rng(1)
ROW, COLUMN = RNG.normal(size=4), RNG.normal(size=5)
WAVE, STACK = COLUMN + 1j * RNG.normal(size=5), RNG.normal(size=(2, 3, 5))
A, B = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))
INTEGERS, NONE, ONE = np.arange(1, 5), np.zeros(0), np.array([2.5])
CASES = {
    "toeplitz": [(COLUMN,), (COLUMN, ROW), (WAVE,), (WAVE, ROW), (STACK,), (STACK, ROW), (INTEGERS,), (INTEGERS, ROW), (ONE,), (ONE, ROW)],
    "circulant": [(COLUMN,), (WAVE,), (STACK,), (INTEGERS,), (ONE,), (NONE,)],
    "hankel": [(COLUMN,), (COLUMN, ROW), (WAVE, ROW), (INTEGERS,), (ONE, ROW)],
    "block_diag": [(A, B), (A, ROW, B), (np.zeros((0, 2)), A), (STACK, WAVE), (INTEGERS, A)],
    "khatri_rao": [(A, B), (A + 1j, B), (STACK, np.ones((4, 5))), (A, np.zeros((0, 3)))],
    "leslie": [(COLUMN, ROW), (WAVE, ROW), (COLUMN[:2], ROW[:1])],
    "companion": [(COLUMN,), (COLUMN[:2],), (COLUMN[:3],), (WAVE,), (STACK,), (INTEGERS,)],
    "fiedler_companion": [*[(COLUMN[:n],) for n in range(1, 6)], (np.arange(2.0, 9.0),), (WAVE,), (STACK,), (NONE,)],
    "fiedler": [(COLUMN,), (WAVE,), (STACK,), (INTEGERS,), (ONE,), (NONE,)],
}
OF_SIZES = {
    "dft": (5,),
    "hadamard": (4,),
    "helmert": (5,),
    "hilbert": (4,),
    "invhilbert": (4,),
    "invpascal": (4,),
    "pascal": (4,),
}
MODES = [(mode, n) for mode in ("full", "same", "valid") for n in (1, 2, 4, 5, 7)]
NAMES = {*CASES, *OF_SIZES, "convolution_matrix"}
PLAIN = [pytest.param(getattr(ours, name), args, name, id=f"{name}-{k}") for name, cases in CASES.items() for k, args in enumerate(cases)]
PLAIN += [
    pytest.param(
        lambda a, mode=mode, n=n: ours.convolution_matrix(a, n, mode),
        (x,),
        lambda a, mode=mode, n=n: theirs.convolution_matrix(a, n, mode),
        id=f"convolution_matrix-{mode}-{n}-{x.dtype}",
    )
    for mode, n in MODES
    for x in (COLUMN, WAVE)
]


def same(found, wanted):
    assert (np.shape(found), np.asarray(found).dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def wanted_of(name, args):
    return (getattr(theirs, name) if isinstance(name, str) else name)(*args)


def in_floats(f, args):
    """The function of the arguments that have tangents, and these."""
    places = [k for k, x in enumerate(args) if x.dtype.kind in "fc" and x.size]

    def call(*xs):
        every = list(args)
        for k, x in zip(places, xs, strict=True):
            every[k] = x
        return f(*every)

    return call, [args[k] for k in places]


@pytest.mark.parametrize(("f", "args", "name"), PLAIN)
def test_values_are_scipys(f, args, name):
    wanted = wanted_of(name, args)
    same(f(*args), wanted)
    same(cotan.jit(f)(*args), wanted)
    assert not cotan.compile_report(f)(*args).outside
    g, point = in_floats(f, args)
    if point:
        same(cotan.jvp(g, tuple(point), tuple(map(np.zeros_like, point)))[0], wanted)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("f", "args", "name"), PLAIN)
def test_derivatives_agree_with_differences_to_second_order(f, args, name):
    g, point = in_floats(f, args)
    if not point or not wanted_of(name, args).size:
        pytest.skip("nothing to differentiate")
    if name == "fiedler":  # has kinks: the derivative of the diagonal is zero by the convention for the absolute value
        g = lambda a: f(a)[..., *np.triu_indices(a.shape[-1], 1)]  # noqa: E731
    check_grads(cotan.jit(g), point, 2)
    size = lambda *xs: cnp.sum(cnp.abs(g(*xs)) ** 2)  # noqa: E731
    assert not cotan.compile_report(cotan.grad(size))(*point).outside


@pytest.mark.parametrize(("f", "args", "name"), PLAIN)
def test_stacks_and_batches_are_loops(f, args, name):
    stacked = [np.stack([x, 2 * x]) for x in args]
    rows = np.stack([cotan.jit(f)(*[x[k] for x in stacked]) for k in range(2)])
    for g in (cotan.vmap(f), cotan.jit(cotan.vmap(f))):
        same(g(*stacked), rows)
    of_blocks = name in ("block_diag", "khatri_rao")
    if all(x.size and x.ndim == (2 if of_blocks else 1) for x in args) and name != "fiedler_companion":
        same(cotan.jit(f)(*stacked), rows)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_stays_single(name):
    args = [np.asarray(x, np.float32) for x in CASES[name][0]]
    same(cotan.jit(getattr(ours, name))(*args), getattr(theirs, name)(*args))


@pytest.mark.parametrize("name", OF_SIZES)
def test_matrices_of_a_size_are_scipys(name):
    f, args = getattr(ours, name), OF_SIZES[name]
    same(f(*args), getattr(theirs, name)(*args))
    assert isinstance(f(*args), cotan.Array)
    with pytest.raises(TracerConversionError, match="What to do"):
        cotan.jit(f)(*args)


def test_stacks_of_hankel_matrices_are_the_same_eager_and_traced():
    """SciPy makes one vector of several, and announces that it will not."""
    rows = np.stack([theirs.hankel(x, ROW) for x in STACK[0]])
    for f in (ours.hankel, cotan.jit(ours.hankel)):
        same(f(STACK[0], ROW), rows)


def test_the_eigenvalues_of_a_companion_matrix_are_the_roots():
    roots = np.array([1.0, 2.0, 4.0])
    for f in (ours.companion, ours.fiedler_companion):
        found = cotan.jit(lambda a, f=f: cnp.linalg.eigvals(f(a)))(np.poly(roots))
        np.testing.assert_allclose(np.sort(found.real), roots, rtol=1e-10)


def test_bad_arguments_are_refused():
    for call, error in (
        (lambda x: ours.leslie(x, x), ShapeError),
        (lambda x: ours.leslie(x[:1], x[:0]), ShapeError),
        (lambda x: ours.companion(x[:1]), ShapeError),
        (lambda x: ours.khatri_rao(x, x), ShapeError),
        (lambda x: ours.khatri_rao(x[:, None], A), ShapeError),
        (lambda x: ours.convolution_matrix(x, 0), ArgumentError),
        (lambda x: ours.convolution_matrix(x, 3, "most"), ArgumentError),
        (lambda x: ours.convolution_matrix(x[:0], 3), ShapeError),
    ):
        with pytest.raises(error, match="What to do"):
            cotan.jit(call)(COLUMN)

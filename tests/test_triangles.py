"""Functions that read one triangle of a symmetric or Hermitian matrix have their gradient in that triangle; of the Hermitian part of a
matrix they have a Hermitian one.
"""

import numpy as np
import pytest

import cotan
import cotan.lax.linalg as lax
import cotan.numpy as cnp
import cotan.scipy.linalg as ours

N = 4
RNG = np.random.default_rng(0)
PART = RNG.normal(size=(N, N))
SIDES = RNG.normal(size=(N, 2))
POSITIVE = PART @ PART.T + np.diag([3.0, 6.0, 9.0, 12.0])
INDEFINITE = PART + PART.T + np.diag([-8.0, -3.0, 3.0, 8.0])
TURN = 1j * (RNG.normal(size=(N, N)))
BOTH = ("lower", "upper")


def letter(triangle):
    return triangle[0].upper()


def projectors(w, v):
    """What does not depend on the phases of vectors."""
    return w, cnp.abs(v) ** 2


CASES = {
    "numpy cholesky": (lambda a, t: np.linalg.cholesky(a, upper=t == "upper"), BOTH, POSITIVE),
    "numpy eigh": (lambda a, t: projectors(*np.linalg.eigh(a, letter(t))), BOTH, INDEFINITE),
    "numpy eigvalsh": (lambda a, t: np.linalg.eigvalsh(a, letter(t)), BOTH, INDEFINITE),
    "numpy svd": (
        lambda a, t: (lambda u, s, vh: (s, (u * cnp.exp(-s)[None]) @ vh))(*np.linalg.svd(a, hermitian=True)),
        ("lower",),
        INDEFINITE,
    ),
    "numpy singular values": (lambda a, t: np.linalg.svd(a, compute_uv=False, hermitian=True), ("lower",), INDEFINITE),
    "numpy pinv": (lambda a, t: np.linalg.pinv(a, hermitian=True), ("lower",), INDEFINITE),
    "cholesky": (lambda a, t: ours.cholesky(a, lower=t == "lower"), BOTH, POSITIVE),
    "cho_factor": (
        lambda a, t: getattr(cnp, "tril" if t == "lower" else "triu")(ours.cho_factor(a, lower=t == "lower")[0]),
        BOTH,
        POSITIVE,
    ),
    "cho_solve": (lambda a, t: ours.cho_solve(ours.cho_factor(a, lower=t == "lower"), SIDES), BOTH, POSITIVE),
    "ldl": (lambda a, t: ours.ldl(a, lower=t == "lower")[:2], BOTH, INDEFINITE),
    "ldl, symmetric": (lambda a, t: ours.ldl(a, lower=t == "lower", hermitian=False)[:2], BOTH, INDEFINITE),
    "solve, sym": (lambda a, t: ours.solve(a, SIDES, t == "lower", assume_a="sym"), BOTH, INDEFINITE),
    "solve, her": (lambda a, t: ours.solve(a, SIDES, t == "lower", assume_a="her"), BOTH, INDEFINITE),
    "solve, pos": (lambda a, t: ours.solve(a, SIDES, t == "lower", assume_a="pos"), BOTH, POSITIVE),
    "inv, sym": (lambda a, t: ours.inv(a, assume_a="sym", lower=t == "lower"), BOTH, INDEFINITE),
    "inv, her": (lambda a, t: ours.inv(a, assume_a="her", lower=t == "lower"), BOTH, INDEFINITE),
    "inv, pos": (lambda a, t: ours.inv(a, assume_a="pos", lower=t == "lower"), BOTH, POSITIVE),
    "eigh": (lambda a, t: projectors(*ours.eigh(a, lower=t == "lower")), BOTH, INDEFINITE),
    "eigvalsh": (lambda a, t: ours.eigvalsh(a, lower=t == "lower"), BOTH, INDEFINITE),
    "eigh, generalized": (lambda a, t: projectors(*ours.eigh(a, POSITIVE, lower=t == "lower")), BOTH, INDEFINITE),
    "eigh, the other matrix": (lambda a, t: projectors(*ours.eigh(INDEFINITE, a, lower=t == "lower")), BOTH, POSITIVE),
    "eigvalsh, product": (lambda a, t: ours.eigvalsh(INDEFINITE, a, lower=t == "lower", type=2), BOTH, POSITIVE),
    "pinvh": (lambda a, t: ours.pinvh(a, lower=t == "lower"), BOTH, INDEFINITE),
    "lax cholesky": (lambda a, t: lax.cholesky(a, symmetrize_input=False), ("lower",), POSITIVE),
    "lax eigh": (lambda a, t: projectors(*lax.eigh(a, lower=t == "lower", symmetrize_input=False)[::-1]), BOTH, INDEFINITE),
}
"""Functions of a matrix and a triangle, the triangles that they can read, and a matrix."""
CALLS = [(name, triangle, turn) for name, (_, triangles, _) in CASES.items() for triangle in triangles for turn in (0, TURN)]


def given(name, turn):
    """The matrix of a case, which is Hermitian, or complex symmetric if the function reads it as such."""
    a = CASES[name][2]
    if not np.any(turn):
        return a
    return a + (turn + turn.T if name.endswith(("sym", "symmetric")) else turn + turn.conj().T)


def loss_of(f, triangle):
    """A sum of the results of f with weights."""

    def loss(a):
        found = f(a, triangle)
        total = 0.0
        for k, y in enumerate(found if isinstance(found, tuple | list) else [found]):
            shape = cnp.shape(y)
            weights = np.cos(1.0 + k + np.arange(np.prod(shape, dtype=int))).reshape(shape)
            total = total + cnp.sum(weights * y.real + (weights[::-1] * y.imag if np.iscomplexobj(y) else 0))
        return total

    return loss


def by_differences(f, a, h=1e-5):
    """The gradient of f, df/dx - i df/dy, by central differences of fourth order in each element."""
    g = np.zeros_like(a)
    for turn in (1, 1j) if np.iscomplexobj(a) else (1,):
        for at in np.ndindex(a.shape):
            e = np.zeros_like(a)
            e[at] = turn * h
            slope = (8 * (f(a + e) - f(a - e)) - (f(a + 2 * e) - f(a - 2 * e))) / (12 * h)
            g[at] += np.conj(turn) * slope
    return g


def unread(triangle, shape):
    """Which elements are in the other triangle."""
    i, j = np.indices(shape)
    return i < j if triangle == "lower" else i > j


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "triangle", "turn"), CALLS, ids=[f"{n}-{t}-{'complex' if np.any(z) else 'real'}" for n, t, z in CALLS])
def test_the_gradient_is_in_the_triangle_that_is_read(name, triangle, turn):
    """... what is in the other one has no effect, and the gradient zero; of a Hermitian matrix, so has the imaginary diagonal."""
    loss, a = loss_of(CASES[name][0], triangle), given(name, turn)
    other = unread(triangle, a.shape)
    gradient = cotan.jit(cotan.grad(loss))
    wanted = by_differences(cotan.jit(loss), a)
    assert not wanted[other].any()
    for g in (gradient, cotan.grad(loss)):
        found = np.asarray(g(a))
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())
        assert not found[other].any()
        if np.any(turn) and "sym" not in name:
            assert not np.diagonal(found).imag.any()
        nonsense = np.where(other, np.cos(np.arange(a.size).reshape(a.shape)), a)
        np.testing.assert_allclose(g(nonsense), found, rtol=1e-12, atol=1e-12 * np.abs(found).max())
    if not np.any(turn):  # the function of arrays, by NumPy and SciPy, depends on the same elements
        np.testing.assert_allclose(by_differences(loss, a), wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize(("name", "triangle", "turn"), CALLS, ids=[f"{n}-{t}-{'complex' if np.any(z) else 'real'}" for n, t, z in CALLS])
def test_the_gradient_in_the_symmetric_part_is_symmetric(name, triangle, turn):
    """It is the mean of the gradient in a triangle and its reflection, for which each element off the diagonal counts twice."""
    symmetric = "sym" in name
    turned = (lambda a: a.T) if symmetric else (lambda a: cnp.conj(a).T)
    loss, a = loss_of(CASES[name][0], triangle), given(name, turn)
    g = cotan.jit(cotan.grad(loss))(a)
    found = cotan.jit(cotan.grad(lambda a: loss((a + turned(a)) / 2)))(a)
    reflected = g.T if symmetric else g.conj().T
    np.testing.assert_allclose(found, (g + reflected) / 2, rtol=1e-10, atol=1e-10 * np.abs(g).max())


@pytest.mark.parametrize("turn", [0, TURN], ids=["real", "complex"])
def test_symmetrize_input_is_the_symmetric_part(turn):
    """It is the default in ``lax.linalg``, as in JAX."""
    for name, f in (("lax cholesky", lambda a, t: lax.cholesky(a)), ("lax eigh", lambda a, t: projectors(*lax.eigh(a)[::-1]))):
        a = given(name, turn)
        part = loss_of(CASES[name][0], "lower")
        found = cotan.grad(loss_of(f, "lower"))(a)
        np.testing.assert_allclose(found, cotan.grad(lambda a, part=part: part((a + cnp.conj(a).T) / 2))(a), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found, found.conj().T, rtol=1e-12, atol=1e-13)


# ---- stored as bands: an element off the diagonal stands for two, and none is unread but in the corners ------------------------------
BANDS = np.concatenate([RNG.normal(size=(2, N)), [[9.0, 12.0, 15.0, 18.0]]])
OF_BANDS = {
    "solveh_banded": lambda ab, t: ours.solveh_banded(ab, SIDES, lower=t == "lower"),
    "cholesky_banded": lambda ab, t: ours.cholesky_banded(ab, lower=t == "lower"),
    "eigvals_banded": lambda ab, t: ours.eigvals_banded(ab, lower=t == "lower"),
    "eig_banded": lambda ab, t: projectors(*ours.eig_banded(ab, lower=t == "lower")),
}
CASES |= {name: (f, BOTH, BANDS) for name, f in OF_BANDS.items()}


def full(ab, triangle):
    """The triangle of a matrix that bands store."""
    a = np.zeros((N, N), ab.dtype)
    for k, j in np.ndindex(ab.shape):
        i = j + k if triangle == "lower" else j + k - len(ab) + 1
        if 0 <= i < N:
            a[i, j] = ab[k, j]
    return a


@pytest.mark.parametrize("turn", [0, 1j], ids=["real", "complex"])
@pytest.mark.parametrize("triangle", BOTH)
@pytest.mark.parametrize("name", OF_BANDS)
def test_the_gradient_of_bands_is_that_of_the_triangle(name, triangle, turn):
    ab = BANDS + turn * np.concatenate([RNG.normal(size=(2, N)), np.zeros((1, N))])
    ab = ab[::-1].copy() if triangle == "lower" else ab
    loss = loss_of(CASES[name][0], triangle)
    wanted = by_differences(cotan.jit(loss), ab)
    for g in (cotan.grad(loss), cotan.jit(cotan.grad(loss))):
        found = np.asarray(g(ab))
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())
        corners = full(np.ones(ab.shape), triangle) == 0
        assert not full(found, triangle)[corners].any()
    if name == "eigvals_banded":
        whole = cotan.grad(lambda a: loss_of(CASES["eigvalsh"][0], triangle)(a))(full(ab, triangle))
        np.testing.assert_allclose(full(found, triangle)[~corners], whole[~corners], rtol=1e-9, atol=1e-10)


def test_the_gradient_of_a_tridiagonal_matrix_is_that_of_both_its_elements():
    d, e = np.array([1.0, 4.0, -2.0, 3.0]), np.array([0.5, -0.7, 1.1])
    loss = lambda d, e: cnp.sum(np.cos(np.arange(16.0)).reshape(4, 4) * ours.eigh_tridiagonal(d, e)[1] ** 2)  # noqa: E731
    found = cotan.grad(loss, (0, 1))(d, e)
    for k, x in enumerate((d, e)):
        f = lambda y, k=k: cotan.jit(loss)(*(y if j == k else z for j, z in enumerate((d, e))))  # noqa: E731
        np.testing.assert_allclose(found[k], by_differences(f, x), rtol=1e-7, atol=1e-9)

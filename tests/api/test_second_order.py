"""Second-order tools against dense Hessians, and batches in pieces against whole batches."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.api import chunks
from cotan.errors import ArgumentError, ArgumentTypeError

A = np.random.default_rng(0).normal(size=(5, 5))
X = np.array([0.7, -1.2, 0.4, 1.5, -0.3])
V = np.array([1.0, -2.0, 0.5, 0.0, 3.0])


def rosen(x):
    return cnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def tanh_form(x):
    return cnp.sum(cnp.tanh(A @ x) ** 2) * cnp.exp(x[0])


def log_sum_exp(x):
    return cnp.log(cnp.sum(cnp.exp(A @ x)))


def linear(x):
    return cnp.sum(3.0 * x)


def loop(x):
    return cnp.sum(cotan.lax.fori_loop(0, 3, lambda _, y: cnp.sin(y) * x, x))


SCALARS = [rosen, tanh_form, log_sum_exp, linear, loop]
CHUNKS = [None, 1, 2, 5, 9, np.int64(3), "auto"]
scalars = pytest.mark.parametrize("f", SCALARS, ids=lambda f: f.__name__)
chunked = pytest.mark.parametrize("chunk", CHUNKS, ids=str)

PARAMS = {"w": np.arange(6.0).reshape(2, 3) / 3, "b": [np.array([0.3, -0.2]), 1.5], "none": None}


def tree_loss(p, x):
    return cnp.sum(cnp.tanh(p["w"] @ x + p["b"][0]) ** 2) * p["b"][1] ** 3


def counting(f):
    calls = []

    def g(*args):
        calls.append(1)
        return f(*args)

    return g, calls


def peak_of(work):
    work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def flat_hessian(f, tree):
    """The dense Hessian over the leaves of a tree, by the Hessian of one vector."""
    leaves, spec = cotan.tree.flatten(tree)
    shapes = [np.shape(x) for x in leaves]
    ends = np.cumsum([np.size(x) for x in leaves])

    def of_vector(v):
        parts = [v[e - int(np.prod(s)) : e].reshape(s) for e, s in zip(ends, shapes, strict=True)]
        return f(cotan.tree.unflatten(spec, parts))

    return cotan.hessian(of_vector)(np.concatenate([np.ravel(x) for x in leaves]))


def ravel(tree):
    return np.concatenate([np.ravel(x) for x in cotan.tree.leaves(tree)])


# ---- against dense Hessians ------------------------------------------------------------------------------------------------
@scalars
@chunked
def test_the_diagonal_and_the_trace_are_those_of_the_dense_hessian(f, chunk):
    dense = cotan.jacrev(cotan.jacrev(f))(X)
    np.testing.assert_allclose(cotan.hessian_diag(f, chunk=chunk)(X), np.diag(dense), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cotan.laplacian(f, chunk=chunk)(X), np.trace(dense), rtol=1e-12, atol=1e-12)


@scalars
def test_a_linearized_product_is_that_of_the_dense_hessian_every_time(f):
    product, dense = cotan.make_hvp(f, X), cotan.hessian(f)(X)
    for v in (V, X, np.zeros(5)):
        np.testing.assert_allclose(product(v), dense @ v, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(product(v), cotan.hvp(f, X, v), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cotan.vmap(product)(np.eye(5)), dense, rtol=1e-12, atol=1e-12)


@chunked
def test_trees(chunk):
    x = np.array([0.2, -0.5, 0.9])
    dense = flat_hessian(lambda p: tree_loss(p, x), PARAMS)
    diagonal = cotan.hessian_diag(tree_loss, chunk=chunk)(PARAMS, x)
    assert cotan.tree.structure(diagonal) == cotan.tree.structure(PARAMS)
    assert [np.shape(y) for y in cotan.tree.leaves(diagonal)] == [np.shape(y) for y in cotan.tree.leaves(PARAMS)]
    np.testing.assert_allclose(ravel(diagonal), np.diag(dense), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(cotan.laplacian(tree_loss, chunk=chunk)(PARAMS, x), np.trace(dense), rtol=1e-12)
    tangents = cotan.tree.map(np.ones_like, PARAMS)
    found = cotan.make_hvp(lambda p: tree_loss(p, x), PARAMS)(tangents)
    np.testing.assert_allclose(ravel(found), dense @ np.ones(len(dense)), rtol=1e-12, atol=1e-14)


@chunked
def test_several_arguments(chunk):
    def f(x, y):
        return cnp.sum(x**2 * y) + cnp.sum(y**4)

    x, y = np.arange(1.0, 4.0), np.arange(3.0)
    dx, dy = cotan.hessian_diag(f, argnums=(0, 1), chunk=chunk)(x, y)
    np.testing.assert_allclose(dx, 2 * y)
    np.testing.assert_allclose(dy, 12 * y**2)
    np.testing.assert_allclose(cotan.hessian_diag(f, argnums=1, chunk=chunk)(x, y), 12 * y**2)
    np.testing.assert_allclose(cotan.laplacian(f, argnums=(0, 1), chunk=chunk)(x, y), 2 * y.sum() + 12 * (y**2).sum())
    with pytest.raises(ArgumentError):
        cotan.hessian_diag(f, argnums=2)(x, y)


@chunked
def test_float32_stays_float32(chunk):
    x = X.astype(np.float32)
    diagonal, trace = cotan.hessian_diag(rosen, chunk=chunk)(x), cotan.laplacian(rosen, chunk=chunk)(x)
    assert diagonal.dtype == trace.dtype == np.float32
    np.testing.assert_allclose(diagonal, cotan.hessian_diag(rosen)(X), rtol=1e-5)
    assert cotan.make_hvp(rosen, x)(x).dtype == np.float32
    assert cotan.gauss_newton_vp(cnp.sin, None, x, x).dtype == np.float32
    mixed = cotan.hessian_diag(lambda p: cnp.sum(p[0] ** 3) + cnp.sum(p[1] ** 3), chunk=chunk)((x, X))
    assert [y.dtype for y in mixed] == [np.float32, np.float64]
    assert cotan.laplacian(lambda p: cnp.sum(p[0] ** 3) + cnp.sum(p[1] ** 3), chunk=chunk)((x, X)).dtype == np.float64


def test_scalars_and_python_numbers():
    for x in (2.0, 2, np.float64(2), np.array(2.0)):
        assert cotan.hessian_diag(lambda x: x**3)(x) == 12.0
        assert cotan.laplacian(lambda x: x**3)(x) == 12.0
        assert cotan.make_hvp(lambda x: x**3, x)(0.5) == 6.0
        assert cotan.gauss_newton_vp(lambda x: x**3, None, x, 1.0) == 144.0


@chunked
def test_empty_inputs(chunk):
    empty = np.zeros((0, 3))
    assert cotan.hessian_diag(lambda x: cnp.sum(x**3), chunk=chunk)(empty).shape == (0, 3)
    assert cotan.laplacian(lambda x: cnp.sum(x**3), chunk=chunk)(empty) == 0.0
    assert cotan.hessian_diag(lambda p: p["a"] ** 3 + cnp.sum(p["e"]), chunk=chunk)({"a": 1.0, "e": empty})["a"] == 6.0
    assert cotan.laplacian(lambda _: 1.0, chunk=chunk)(()) == 0.0
    assert cotan.hessian_diag(lambda _: 1.0, chunk=chunk)(()) == ()
    assert cotan.make_hvp(lambda x: cnp.sum(x**3), empty)(empty).shape == (0, 3)
    assert cotan.jacfwd(cnp.sin, chunk=chunk)(empty).shape == (0, 3, 0, 3)
    assert cotan.jacrev(cnp.sin, chunk=chunk)(empty).shape == (0, 3, 0, 3)
    assert cotan.hessian(lambda x: cnp.sum(x**3), chunk=chunk)(empty).shape == (0, 3, 0, 3)
    assert cotan.vmap(cnp.sin, chunk=chunk)(empty).shape == (0, 3)
    assert cotan.vmap(cnp.sum, in_axes=1, chunk=chunk)(empty).shape == (3,)


@chunked
def test_what_is_not_finite_beside_the_diagonal_stays_there(chunk):
    # f = x^2 + sqrt(y) x at y = 0: d2f/dx2 = 2 although d2f/dxdy is infinite
    diagonal = cotan.hessian_diag(lambda p: p[0] ** 2 + cnp.sqrt(p[1]) * p[0], chunk=chunk)(np.array([1.0, 0.0]))
    assert diagonal[0] == 2.0


# ---- Gauss-Newton ------------------------------------------------------------------------------------------------------------
def residual(x):
    return {"a": cnp.tanh(A @ x), "b": x[0] * x[1]}


def logistic_loss(r):
    return cnp.sum(cnp.log1p(cnp.exp(r["a"]))) + r["b"] ** 4 * cnp.sum(r["a"])


def test_the_gauss_newton_product_is_that_of_the_dense_matrices():
    def vector(x):
        r = residual(x)
        return cnp.concatenate([r["a"], r["b"][None]])

    jac = cotan.jacobian(vector)(X)
    dense = cotan.hessian(lambda r: logistic_loss({"a": r[:5], "b": r[5]}))(vector(X))
    np.testing.assert_allclose(cotan.gauss_newton_vp(residual, logistic_loss, X, V), jac.T @ (dense @ (jac @ V)), rtol=1e-11)
    np.testing.assert_allclose(cotan.gauss_newton_vp(residual, None, X, V), jac.T @ (jac @ V), rtol=1e-12)
    half = cotan.gauss_newton_vp(vector, lambda r: 0.5 * cnp.sum(r**2), X, V)
    np.testing.assert_allclose(half, cotan.gauss_newton_vp(vector, None, X, V), rtol=1e-12)


def test_the_gauss_newton_matrix_of_a_linear_residual_is_the_hessian():
    def f(x):
        return cnp.log(cnp.sum(cnp.exp(A @ x)))

    found = cotan.gauss_newton_vp(lambda x: A @ x, lambda r: cnp.log(cnp.sum(cnp.exp(r))), X, V)
    np.testing.assert_allclose(found, cotan.hvp(f, X, V), rtol=1e-11, atol=1e-13)


def test_gauss_newton_with_trees_and_constants():
    x = np.array([0.2, -0.5, 0.9])
    tangents = cotan.tree.map(np.ones_like, PARAMS)
    found = cotan.gauss_newton_vp(lambda p: (cnp.tanh(p["w"] @ x + p["b"][0]), 1.0), None, PARAMS, tangents)
    assert cotan.tree.structure(found) == cotan.tree.structure(PARAMS)
    assert found["b"][1] == 0.0
    assert cotan.gauss_newton_vp(lambda x: x, lambda r: cnp.sum(r), X, V).tolist() == [0.0] * 5
    assert cotan.gauss_newton_vp(lambda x: 2.0, None, X, V).tolist() == [0.0] * 5


# ---- composition -------------------------------------------------------------------------------------------------------------
@chunked
def test_under_jit_vmap_and_grad(chunk):
    xs = np.stack([X, V, X - V])
    diagonal, trace = cotan.hessian_diag(tanh_form, chunk=chunk), cotan.laplacian(tanh_form, chunk=chunk)
    dense = cotan.hessian(tanh_form)
    np.testing.assert_allclose(cotan.jit(diagonal)(X), np.diag(dense(X)), rtol=1e-11)
    np.testing.assert_allclose(cotan.vmap(diagonal)(xs), [np.diag(dense(x)) for x in xs], rtol=1e-11)
    np.testing.assert_allclose(cotan.jit(cotan.vmap(trace))(xs), [np.trace(dense(x)) for x in xs], rtol=1e-11)
    wanted = cotan.jacfwd(lambda x: cnp.sum(cnp.diagonal(dense(x))))(X)
    np.testing.assert_allclose(cotan.grad(trace)(X), wanted, rtol=1e-10)
    np.testing.assert_allclose(cotan.jit(cotan.grad(lambda x: cnp.sum(diagonal(x))))(X), wanted, rtol=1e-10)
    np.testing.assert_allclose(cotan.jvp(trace, (X,), (V,))[1], wanted @ V, rtol=1e-10)


def test_products_under_jit_vmap_and_grad():
    dense = cotan.hessian(tanh_form)
    np.testing.assert_allclose(cotan.jit(cotan.make_hvp(tanh_form, X))(V), dense(X) @ V, rtol=1e-11)
    np.testing.assert_allclose(cotan.jit(lambda x, v: cotan.make_hvp(tanh_form, x)(v))(X, V), dense(X) @ V, rtol=1e-11)
    third = cotan.grad(lambda x: cotan.make_hvp(tanh_form, x)(V) @ V)(X)
    np.testing.assert_allclose(third, cotan.grad(lambda x: V @ dense(x) @ V)(X), rtol=1e-10)
    product = cotan.jit(cotan.vmap(lambda v: cotan.gauss_newton_vp(residual, logistic_loss, X, v)))
    matrix = product(np.eye(5))
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-10, atol=1e-12)
    assert cotan.grad(lambda x: V @ cotan.gauss_newton_vp(residual, logistic_loss, x, V))(X).shape == (5,)


# ---- how often the function runs ----------------------------------------------------------------------------------------------
@chunked
def test_the_function_runs_once(chunk):
    for transform in (cotan.hessian_diag, cotan.laplacian, cotan.hessian, cotan.jacfwd, cotan.jacrev, cotan.jacobian):
        f, calls = counting(rosen)
        transform(f, chunk=chunk)(X)
        assert len(calls) == 1, transform


def test_the_function_of_a_linearized_product_runs_once():
    f, calls = counting(rosen)
    product = cotan.make_hvp(f, X)
    for _ in range(5):
        product(V)
    assert len(calls) == 1
    r, residual_calls = counting(residual)
    loss, loss_calls = counting(logistic_loss)
    cotan.gauss_newton_vp(r, loss, X, V)
    assert (len(residual_calls), len(loss_calls)) == (1, 1)


@pytest.mark.parametrize(("chunk", "count"), [(None, 1), (1, 7), (2, 4), (7, 1), (100, 1), ("auto", 2)])
def test_vmap_runs_the_function_once_for_each_piece(chunk, count):
    f, calls = counting(cnp.sin)
    cotan.vmap(f, chunk=chunk)(np.ones(7))
    assert len(calls) == count


# ---- in pieces as at once -----------------------------------------------------------------------------------------------------
def outputs(x):
    return {"a": cnp.tanh(A[:, :3] @ x["u"]) * x["s"], "b": x["s"] ** 2, "c": np.ones(2)}


@chunked
@pytest.mark.parametrize("transform", [cotan.jacfwd, cotan.jacrev, cotan.jacobian, cotan.value_and_jacobian, cotan.hessian])
def test_jacobians_in_pieces_are_those_at_once(transform, chunk):
    x = {"u": np.array([0.1, 0.2, -0.4]), "s": 1.5}
    once, found = transform(outputs)(x), transform(outputs, chunk=chunk)(x)
    assert cotan.tree.structure(once) == cotan.tree.structure(found)
    for a, b in zip(cotan.tree.leaves(once), cotan.tree.leaves(found), strict=True):
        assert (a.shape, a.dtype, type(b)) == (b.shape, b.dtype, cotan.Array)
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    in_jit = cotan.jit(transform(outputs, chunk=chunk))(x)
    for a, b in zip(cotan.tree.leaves(once), cotan.tree.leaves(in_jit), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@chunked
def test_complex_jacobians_in_pieces(chunk):
    z = np.array([1.0 + 2j, 0.5j, -1.0])
    for transform in (cotan.jacfwd, cotan.jacrev):
        found = transform(lambda z: z**2 * z[0], holomorphic=True, chunk=chunk)(z)
        np.testing.assert_allclose(found, transform(lambda z: z**2 * z[0], holomorphic=True)(z), rtol=1e-13)


@chunked
def test_a_batch_in_pieces_is_the_batch_at_once(chunk):
    def f(x, y, *, k):
        return {"z": cnp.sin(x) @ y * k, "shared": y * 2, "x": x}

    xs, y, ks = np.arange(14.0).reshape(2, 7), np.array([0.5, -1.0]), np.arange(7.0)
    once = cotan.vmap(f, in_axes=(1, None))(xs, y, k=ks)
    found = cotan.vmap(f, in_axes=(1, None), out_axes={"z": 0, "shared": None, "x": 1}, chunk=chunk)(xs, y, k=ks)
    np.testing.assert_allclose(found["z"], once["z"], rtol=1e-14)
    np.testing.assert_array_equal(found["shared"], y * 2)
    np.testing.assert_array_equal(found["x"], xs)
    assert all(type(y) is cotan.Array for y in found.values())
    np.testing.assert_array_equal(cotan.vmap(lambda: 2.0, axis_size=3, chunk=chunk)(), [2.0] * 3)


@chunked
def test_a_batch_in_pieces_composes(chunk):
    xs = np.arange(10.0).reshape(5, 2) / 5
    batched = cotan.vmap(lambda x: cnp.sum(cnp.sin(x) ** 2), chunk=chunk)
    np.testing.assert_allclose(cotan.grad(lambda x: cnp.sum(batched(x)))(xs), np.sin(2 * xs), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(cotan.jit(batched)(xs), batched(xs), rtol=1e-14)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(lambda x: cnp.sum(cnp.sin(x) ** 2)), chunk=chunk)(xs), np.sin(2 * xs), atol=1e-15)
    nested = cotan.vmap(cotan.vmap(cnp.sin, chunk=chunk), in_axes=1, out_axes=1, chunk=chunk)(xs)
    np.testing.assert_allclose(nested, np.sin(xs))
    np.testing.assert_allclose(cotan.jvp(batched, (xs,), (xs,))[1], (np.sin(2 * xs) * xs).sum(1), rtol=1e-12, atol=1e-15)


def test_rows_that_a_later_piece_makes_different_are_kept_apart():
    rows = chunks.Rows(5)
    rows.append(np.array(1.0), 2, False)
    rows.append(np.array([2.0]), 1)
    rows.append(np.array(3.0), 2, False)
    y, batched = rows.result()
    assert batched
    np.testing.assert_array_equal(y, [1.0, 1.0, 2.0, 3.0, 3.0])


# ---- memory --------------------------------------------------------------------------------------------------------------------
N = 250


def deep(x):
    y = x
    for _ in range(12):
        y = cnp.sin(y) * x + y
    return cnp.sum(y[1:] * y[:-1])


def wide(x):
    y = cnp.broadcast_to(x, (64, N))
    for _ in range(6):
        y = cnp.sin(y) * y
    return cnp.sum(y)


@pytest.mark.parametrize("transform", [cotan.hessian_diag, cotan.laplacian, cotan.hessian])
def test_pieces_take_less_memory(transform):
    x = np.linspace(0.1, 1.0, N)
    at_once = peak_of(lambda: transform(deep)(x))
    in_pieces = peak_of(lambda: transform(deep, chunk=8)(x))
    assert in_pieces < at_once / 4


@pytest.mark.parametrize("transform", [cotan.jacfwd, cotan.jacrev])
def test_jacobians_in_pieces_take_less_memory(transform):
    def f(x):
        y = x
        for _ in range(24):
            y = cnp.sin(y) * x + y
        return y

    x = np.linspace(0.1, 1.0, N)
    at_once = peak_of(lambda: transform(f)(x))
    in_pieces = peak_of(lambda: transform(f, chunk=8)(x))
    assert in_pieces < (at_once / 4 if transform is cotan.jacfwd else at_once)


def test_a_batch_in_pieces_takes_less_memory():
    xs = np.ones((64, N))
    assert peak_of(lambda: cotan.vmap(wide, chunk=4)(xs)) < peak_of(lambda: cotan.vmap(wide)(xs)) / 4


@pytest.mark.parametrize("budget", [1 << 23, 1 << 24])
def test_auto_keeps_within_the_budget(monkeypatch, budget):
    monkeypatch.setattr(chunks, "CHUNK_BUDGET", budget)
    x = np.linspace(0.1, 1.0, N)
    residuals = peak_of(lambda: cotan.make_hvp(deep, x))
    assert peak_of(lambda: cotan.laplacian(deep, chunk="auto")(x)) < residuals + 1.5 * budget
    f, calls = counting(wide)
    assert peak_of(lambda: cotan.vmap(f, chunk="auto")(np.ones((64, N)))) < 1.5 * budget
    assert len(calls) > 4  # in each of two runs the first example, and more than one piece


@pytest.mark.parametrize(("chunk", "total", "each", "size"), [
    (None, 7, 10, 7), (None, 0, 10, 1), (3, 7, 10, 3), (9, 7, 10, 7), ("auto", 7, 1, 7), ("auto", 7, chunks.CHUNK_BUDGET // 3, 3),
    ("auto", 7, 10 * chunks.CHUNK_BUDGET, 1), ("auto", 7, 0, 7),
])  # fmt: skip
def test_the_size_of_a_piece(chunk, total, each, size):
    assert chunks.chunk_size(chunk, total, each) == size


# ---- what is refused -------------------------------------------------------------------------------------------------------------
TAKE_CHUNK = [
    cotan.jacfwd, cotan.jacrev, cotan.jacobian, cotan.value_and_jacobian, cotan.hessian, cotan.hessian_diag, cotan.laplacian, cotan.vmap,
]  # fmt: skip


@pytest.mark.parametrize("transform", TAKE_CHUNK, ids=lambda t: t.__name__)
def test_bad_chunks_are_refused_by_the_name_of_the_transformation(transform):
    for chunk in (0, -1, "all"):
        with pytest.raises(ArgumentError, match=rf"^{transform.__name__}: chunk="):
            transform(rosen, chunk=chunk)
    for chunk in (2.0, True, (1,), np.ones(2)):
        with pytest.raises(ArgumentTypeError, match=rf"^{transform.__name__}: chunk must be an int"):
            transform(rosen, chunk=chunk)


@pytest.mark.parametrize("z", [np.ones(2, complex), 1j])
def test_complex_numbers_are_refused(z):
    def f(z):
        return cnp.sum(cnp.real(z) ** 2)

    for name, run in {
        "hessian_diag": lambda: cotan.hessian_diag(f)(z),
        "laplacian": lambda: cotan.laplacian(f)(z),
        "make_hvp": lambda: cotan.make_hvp(f, z),
        "gauss_newton_vp": lambda: cotan.gauss_newton_vp(cnp.real, None, z, z),
    }.items():
        with pytest.raises(ArgumentTypeError, match=rf"^{name} needs real floating-point inputs; args\[0\] has dtype complex128"):
            run()


def test_outputs_that_are_not_real_scalars_are_refused():
    def complex_sum(x):
        return cnp.sum(x * 1j)

    for run in (lambda f: cotan.hessian_diag(f)(X), lambda f: cotan.laplacian(f)(X), lambda f: cotan.make_hvp(f, X)):
        with pytest.raises(ArgumentTypeError, match="needs real floating-point outputs; complex_sum"):
            run(complex_sum)
        with pytest.raises(ArgumentTypeError, match=r"returned float64\[5\]"):
            run(cnp.sin)
        with pytest.raises(ArgumentTypeError, match="returned a tree"):
            run(lambda x: (x[0], x[1]))
    with pytest.raises(ArgumentTypeError, match="needs real floating-point outputs"):
        cotan.gauss_newton_vp(lambda x: x * 1j, None, X, V)
    with pytest.raises(ArgumentTypeError, match="needs real floating-point outputs"):
        cotan.gauss_newton_vp(lambda x: (x, 3), None, X, V)
    with pytest.raises(ArgumentTypeError, match=r"returned float64\[5\]"):
        cotan.gauss_newton_vp(cnp.sin, cnp.sin, X, V)


def test_truth_values_and_vectors_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"args\[0\] has dtype bool"):
        cotan.hessian_diag(rosen)(np.arange(3) > 1)
    product = cotan.make_hvp(rosen, X)
    with pytest.raises(ArgumentError, match="shape"):
        product(np.ones(4))
    with pytest.raises(ArgumentError, match="different trees"):
        product((X,))
    with pytest.raises(ArgumentError, match="shape"):
        cotan.gauss_newton_vp(cnp.sin, None, X, np.ones(4))
    with pytest.raises(ArgumentTypeError, match="takes a function"):
        cotan.gauss_newton_vp(cnp.sin, 3.0, X, V)
    with pytest.raises(ArgumentTypeError, match="takes a function"):
        cotan.hessian_diag(3.0)


def test_later_changes_of_the_argument_do_not_reach_a_linearized_product():
    x = X.copy()
    product = cotan.make_hvp(rosen, x)
    before = product(V)
    x[:] = 0.0
    np.testing.assert_array_equal(product(V), before)


@pytest.mark.parametrize("call", [cotan.hvp, lambda f, x, v: cotan.make_hvp(f, x), lambda f, x, v: cotan.gauss_newton_vp(f, None, x, v)])
def test_a_tuple_of_arguments_is_explained(call):
    for f, x in ((lambda x: x**3, (1.0,)), (lambda x, y: x * y, (1.0, 2.0))):
        with pytest.raises(ArgumentTypeError, match=rf"with one argument, and got a tuple of {len(x)} as that: TypeError: .*") as error:
            call(f, x, x)
        assert isinstance(error.value.__cause__, TypeError)
    assert cotan.hvp(lambda p: p[0] ** 3, (1.0,), (1.0,)) == (6.0,)

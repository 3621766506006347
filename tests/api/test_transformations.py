"""The transformations as users call them: arguments, trees, nesting, and classic pitfalls."""

from __future__ import annotations

import copy
import functools
import traceback

import numpy as np
import pytest
import scipy.special

import cotan
import cotan.numpy as cnp
from cotan import Array
from cotan.core.origin import PACKAGE
from cotan.errors import (
    ArgumentError,
    ArgumentTypeError,
    BorrowedArrayError,
    EscapedTracerError,
    TracerConversionError,
    UnsupportedFunctionError,
)


def rosen(x):
    return cnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


X = np.array([-1.2, 1.0, 0.7, 1.3, 0.9])


def test_grad_of_rosenbrock_equals_scipys():
    from scipy.optimize import rosen_der, rosen_hess

    np.testing.assert_allclose(cotan.grad(rosen)(X), rosen_der(X), rtol=1e-13)
    np.testing.assert_allclose(cotan.hessian(rosen)(X), rosen_hess(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cotan.jacrev(cotan.jacrev(rosen))(X), rosen_hess(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cotan.jacfwd(cotan.jacfwd(rosen))(X), rosen_hess(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(cotan.hvp(rosen, X, X), rosen_hess(X) @ X, rtol=1e-12)


def test_third_derivative():
    third = cotan.grad(cotan.grad(cotan.grad(lambda x: cnp.sin(x) * x**2)))
    assert third(0.7) == pytest.approx(6 * np.cos(0.7) - 6 * 0.7 * np.sin(0.7) - 0.49 * np.cos(0.7))


@pytest.mark.parametrize("inner", [cotan.grad, lambda f: lambda y: cotan.jvp(f, (y,), (1.0,))[1]])
@pytest.mark.parametrize("outer", [cotan.grad, lambda f: lambda y: cotan.jvp(f, (y,), (1.0,))[1]])
def test_perturbations_are_not_confused(inner, outer):
    # d/dx [x * d/dy (x + y)] = 1 (Siskind & Pearlmutter 2005)
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(3.0) == 1.0
    # d/dx [x * d/dy (x * y^2) at y = 2] = d/dx 4 x^2 = 8 x
    assert outer(lambda x: x * inner(lambda y: x * y * y)(2.0))(3.0) == 24.0


def test_a_transformation_inside_vmap_closes_over_the_outer_example():
    xs = np.arange(1.0, 4.0)
    found = cotan.vmap(lambda x: cotan.grad(lambda y: y**3 * x)(x))(xs)
    np.testing.assert_allclose(found, 3 * xs**3)
    np.testing.assert_allclose(cotan.vmap(lambda x: cotan.vmap(lambda y: x * y)(xs))(xs), np.outer(xs, xs))
    np.testing.assert_allclose(cotan.jit(cotan.vmap(lambda x: cotan.jvp(lambda y: y**2 * x, (x,), (1.0,))[1]))(xs), 2 * xs**2)


def test_vmap_of_vmap_with_different_axes():
    x = np.arange(24.0).reshape(2, 3, 4)
    f = cotan.vmap(cotan.vmap(lambda v: v.sum(), in_axes=1), in_axes=2)
    np.testing.assert_allclose(f(np.moveaxis(x, 2, 2)), x.transpose(2, 1, 0).sum(-1).transpose(0, 1))
    out = cotan.vmap(lambda a, b: a + b, in_axes=(1, None), out_axes=1)(x, np.ones((2, 4)))
    np.testing.assert_allclose(out, x + 1)
    shared = cotan.vmap(lambda d: d["a"] * d["b"], in_axes=({"a": 0, "b": None},))
    np.testing.assert_allclose(shared({"a": np.arange(3.0), "b": 2.0}), 2 * np.arange(3.0))
    np.testing.assert_allclose(cotan.vmap(lambda: 2.0, axis_size=3)(), [2.0, 2.0, 2.0])
    np.testing.assert_allclose(cotan.vmap(lambda x, *, k: x * k)(np.ones(3), k=np.arange(3.0)), np.arange(3.0))
    with pytest.raises(ArgumentError):
        cotan.vmap(lambda: 2.0)()


def test_gradients_have_the_tree_of_the_argument():
    params = {"w": np.ones((2, 3)), "b": [np.zeros(2), 1.5], "none": None}

    def loss(p, x):
        return cnp.sum(cnp.tanh(p["w"] @ x + p["b"][0])) * p["b"][1]

    x = np.arange(3.0)
    g = cotan.grad(loss)(params, x)
    assert set(g) == {"w", "b", "none"}
    assert g["none"] is None
    assert g["w"].shape == (2, 3)
    assert isinstance(g["b"], list)
    assert g["b"][1] == pytest.approx(2 * np.tanh(3.0))
    both = cotan.grad(loss, argnums=(0, 1))(params, x)
    assert isinstance(both, tuple)
    assert both[1].shape == (3,)
    assert cotan.grad(loss, argnums=-1)(params, x).shape == (3,)
    jac = cotan.jacrev(lambda p: {"y": p["w"] @ x})({"w": np.ones((2, 3))})
    assert jac["y"]["w"].shape == (2, 2, 3)


def test_has_aux_and_value_and_grad():
    (value, aux), g = cotan.value_and_grad(lambda x: (x**2, {"twice": 2 * x}), has_aux=True)(3.0)
    assert (value, g, aux["twice"]) == (9.0, 6.0, 6.0)
    g, aux = cotan.grad(lambda x: (x**2, x), has_aux=True)(3.0)
    assert (g, aux) == (6.0, 3.0)
    y, dy, aux = cotan.jvp(lambda x: (x**2, x), (3.0,), (1.0,), has_aux=True)
    assert (y, dy, aux) == (9.0, 6.0, 3.0)
    y, pull, aux = cotan.vjp(lambda x: (x**2, "note"), 3.0, has_aux=True)
    assert (y, pull(1.0), aux) == (9.0, (6.0,), "note")
    value, jac = cotan.value_and_jacobian(lambda x: x**2)(np.arange(3.0))
    np.testing.assert_array_equal(value, [0, 1, 4])
    np.testing.assert_array_equal(jac, np.diag([0.0, 2.0, 4.0]))
    for mode in ("auto", "fwd", "rev"):
        np.testing.assert_array_equal(cotan.jacobian(lambda x: x**2, mode=mode)(np.arange(3.0)), np.diag([0.0, 2.0, 4.0]))


def test_results_are_arrays_that_own_their_memory():
    g = cotan.grad(lambda x: x.sum())(np.ones(3))
    assert isinstance(g, Array)
    assert isinstance(g, np.ndarray)
    g[0] = 5.0
    np.testing.assert_array_equal(g, [5.0, 1.0, 1.0])
    assert g.at[1].set(7.0)[1] == 7.0


def test_results_share_no_memory_with_arguments():
    x, t = np.ones(3), np.full(3, 2.0)
    same = lambda v: v  # noqa: E731
    results = [
        cotan.jit(same)(x),
        *cotan.jvp(same, (x,), (t,)),
        cotan.vmap(same)(x),
        cotan.vjp(same, x)[0],
        cotan.vjp(same, x)[1](t)[0],
        cotan.linearize(same, x)[1](t),
        *cotan.jit(lambda v: (v, v[::-1]))(x),
    ]
    for y in results:
        y[:] = 7.0
    np.testing.assert_array_equal(x, np.ones(3))
    np.testing.assert_array_equal(t, np.full(3, 2.0))


def test_a_pullback_does_not_change_when_its_arguments_do():
    x = np.array([1.0, 2.0, 3.0])
    y, pull = cotan.vjp(lambda x: cnp.exp(x) * x, x)
    expected = pull(np.ones(3))[0].copy()
    _, push = cotan.linearize(lambda x: cnp.exp(x) * x, x)
    x[:] = 0.0
    y[:] = 0.0
    np.testing.assert_array_equal(pull(np.ones(3))[0], expected)
    np.testing.assert_array_equal(push(np.ones(3)), expected)


def test_python_control_flow_works_on_concrete_values():
    def f(x):
        y = x
        while y < 10:
            y = y * x
        return y if x > 1.5 else -y

    assert cotan.grad(f)(2.0) == 4 * 2.0**3
    assert cotan.jvp(f, (2.0,), (1.0,))[1] == 32.0
    assert cotan.grad(cotan.grad(f))(2.0) == 12 * 4.0


def test_integer_inputs():
    f = lambda x, n: cnp.sum(x * n)  # noqa: E731
    np.testing.assert_array_equal(cotan.grad(f)(np.ones(3), np.arange(3)), np.arange(3.0))
    assert cotan.grad(f, argnums=(0, 1), allow_int=True)(np.ones(3), np.arange(3))[1] is None
    assert cotan.grad(lambda x: x**2)(3) == 6.0  # a Python int is a number like any other
    y, dy = cotan.jvp(f, (np.ones(3), np.arange(3)), (np.ones(3), np.zeros(3, int)))
    assert (y, dy) == (3.0, 3.0)
    _, dy = cotan.jvp(f, (np.ones(3), np.arange(3)), (np.ones(3), None))
    assert dy == 3.0
    assert cotan.vjp(f, np.ones(3), np.arange(3))[1](1.0)[1] is None


def test_dtypes_are_kept():
    x32 = np.ones(3, np.float32)
    assert cotan.grad(lambda x: (x * 2.0).sum())(x32).dtype == np.float32
    assert cotan.jit(lambda x: x * 2.0)(x32).dtype == np.float32
    assert cotan.jit(lambda x, s: x * s)(x32, 2.0).dtype == np.float32
    assert cotan.grad(lambda s: (x32 * (s * 2.0)).sum())(3.0).dtype == np.float64
    assert cotan.jvp(lambda s: x32 * (s * 2.0), (3.0,), (1.0,))[0].dtype == np.float32


def test_complex_derivatives_follow_jax():
    z = 1.0 + 2.0j
    # f: C -> R, |z|^2: df/dx - i df/dy = 2 x - 2 i y
    g = cotan.vjp(lambda z: cnp.real(z * cnp.conj(z)), z)[1](1.0)[0]
    assert g == pytest.approx(2 * np.conj(z))
    assert cotan.grad(lambda z: z**3, holomorphic=True)(z) == pytest.approx(3 * z**2)
    assert cotan.jacfwd(lambda z: z**3, holomorphic=True)(z) == pytest.approx(3 * z**2)
    np.testing.assert_allclose(cotan.jvp(cnp.exp, (z,), (1j,))[1], 1j * np.exp(z))


def test_stop_gradient():
    assert cotan.grad(lambda x: x * cotan.stop_gradient(x))(3.0) == 3.0
    assert cotan.grad(lambda x: x * float(cotan.stop_gradient(x)))(3.0) == 3.0
    assert cotan.jvp(lambda p: cotan.stop_gradient({"a": p})["a"], (3.0,), (1.0,))[1] == 0.0


def test_linear_transpose():
    a = np.arange(6.0).reshape(2, 3)
    (x_bar,) = cotan.linear_transpose(lambda x: a @ x, np.zeros(3))(np.ones(2))
    np.testing.assert_array_equal(x_bar, a.sum(0))
    shape = cotan.ShapeDtypeStruct((3,), np.float64)
    np.testing.assert_array_equal(cotan.linear_transpose(lambda x: 2 * x[1:], shape)(np.ones(2))[0], [0, 2, 2])


def test_eval_shape_computes_nothing():
    called = cotan.eval_shape(lambda x: {"y": x @ x.T, "n": cnp.zeros((10**6, 10**6))}, cotan.ShapeDtypeStruct((3, 2), np.float32))
    assert called["y"] == cotan.ShapeDtypeStruct((3, 3), np.float32)
    assert called["n"].shape == (10**6, 10**6)


def test_checkpoint_changes_no_value():
    f = lambda x: cnp.sin(cnp.exp(x) * x).sum()  # noqa: E731
    c = cotan.checkpoint(f)
    np.testing.assert_allclose(c(X), f(X))
    np.testing.assert_allclose(cotan.grad(c)(X), cotan.grad(f)(X))
    np.testing.assert_allclose(cotan.hessian(c)(X), cotan.hessian(f)(X))
    np.testing.assert_allclose(cotan.jvp(c, (X,), (X,))[1], cotan.jvp(f, (X,), (X,))[1])
    np.testing.assert_allclose(cotan.vmap(cotan.grad(c))(np.stack([X, 2 * X])), cotan.vmap(cotan.grad(f))(np.stack([X, 2 * X])))
    np.testing.assert_allclose(cotan.grad(lambda x: cotan.vmap(c)(x).sum())(np.stack([X, X])), np.stack([cotan.grad(f)(X)] * 2))
    np.testing.assert_allclose(cotan.jit(cotan.grad(c))(X), cotan.grad(f)(X))


def test_closure_convert_hoists_what_is_traced():
    def outer(c):
        converted, values = cotan.closure_convert(lambda x: c * cnp.sin(x), 1.0)
        assert len(values) == 1
        return converted(2.0, *values)

    assert cotan.grad(outer)(3.0) == pytest.approx(np.sin(2.0))


def test_an_escaped_tracer_is_refused_and_named():
    kept = []

    def leaky(x):
        kept.append(x)
        return x * 1.0

    for transformed in (cotan.grad(leaky), cotan.jit(leaky)):
        kept.clear()
        transformed(2.0)
        with pytest.raises(EscapedTracerError, match=r"leaky \(test_transformations.py"):
            kept[0] * 2.0
    with pytest.raises(EscapedTracerError):
        cotan.jit(lambda y: y + kept[0])(1.0)


def test_functools_partial_and_callable_objects_are_functions():
    class Model:
        def __call__(self, x):
            return x**2

    assert cotan.grad(functools.partial(lambda a, x: a * x**2, 3.0))(2.0) == 12.0
    assert cotan.grad(Model())(2.0) == 4.0
    assert cotan.jit(Model())(2.0) == 4.0
    assert cotan.vmap(functools.partial(cnp.multiply, 2.0))(np.ones(2)).tolist() == [2.0, 2.0]


def test_tracer_says_what_it_is():
    seen = []

    def f(x):
        seen.append(repr(x))
        return (x * 1.0).sum()

    cotan.grad(f)(np.ones(3))
    cotan.jit(f)(np.ones(3))
    cotan.vmap(f)(np.ones((2, 3)))
    assert seen[0].startswith("float64[3], traced by grad in f (test_transformations.py:")
    assert seen[1].startswith("float64[3], traced by jit in f")
    assert seen[2].startswith("float64[3], traced by vmap in f")


def test_sizes_zero_and_one():
    empty = np.zeros(0)
    assert cotan.grad(lambda x: x.sum())(empty).shape == (0,)
    assert cotan.jacfwd(lambda x: x * 2)(empty).shape == (0, 0)
    assert cotan.jacrev(lambda x: x * 2)(empty).shape == (0, 0)
    assert cotan.vmap(lambda x: x * 2)(np.zeros((0, 3))).shape == (0, 3)
    assert cotan.jacrev(lambda x: x * 2)(np.ones(1)).shape == (1, 1)
    assert cotan.hessian(lambda x: (x**2).sum())(np.ones(1)).tolist() == [[2.0]]


def test_many_operations_hit_no_recursion_limit():
    def chain(x):
        for _ in range(20_000):
            x = x * 1.0001
        return x

    assert cotan.grad(chain)(1.0) == pytest.approx(1.0001**20_000)
    program = cotan.stage(cotan.grad(chain))(1.0)
    assert program(1.0)[0] == pytest.approx(1.0001**20_000)


def test_tangents_must_match():
    with pytest.raises(ArgumentError):
        cotan.jvp(cnp.sin, (1.0,), (1.0, 2.0))
    with pytest.raises(ArgumentTypeError):
        cotan.jvp(cnp.sin, (np.ones(2),), (np.ones(2, complex),))
    with pytest.raises(ArgumentTypeError):
        cotan.grad(lambda x: x)("text")


def test_a_python_int_counts_as_a_float_where_its_tangent_is_given():
    def cube(x):
        return x**3

    assert cotan.jvp(cube, (2,), (1.0,)) == (8.0, 12.0)
    assert cotan.jvp(cube, (2,), (1,)) == (8.0, 12.0)
    assert cotan.linearize(cube, 2)[1](1.0) == 12.0
    assert cotan.hvp(cube, 2, 1) == 12.0
    for zero in (None, 0, 0.0):  # and stays an int, fit for an index, where it does not vary
        assert cotan.jvp(lambda x, n: x[n] ** 2, (np.array([1.0, 3.0]), 1), (np.ones(2), zero)) == (9.0, 6.0)


def test_a_complex_tangent_of_a_real_number_is_refused():
    with pytest.raises(ArgumentTypeError, match="complex128, not float64"):
        cotan.jvp(lambda x: x**2, (2.0,), (1j,))
    with pytest.raises(ArgumentTypeError, match="complex128, not float64"):
        cotan.vjp(lambda x: x**2, 2.0)[1](1j)


def test_auxiliary_results_are_arrays_of_their_own_memory():
    def f(x):
        y = cnp.exp(x)
        return y.sum(), {"y": y, "name": "exp", "none": None}

    x = np.array([0.0, 1.0])
    _, pull, aux = cotan.vjp(f, x, has_aux=True)
    _, push, more = cotan.linearize(f, x, has_aux=True)
    assert isinstance(aux["y"], Array)
    assert (aux["name"], aux["none"]) == ("exp", None)
    aux["y"][:] = more["y"][:] = 0.0
    np.testing.assert_allclose(pull(1.0)[0], np.exp(x))
    np.testing.assert_allclose(push(np.ones(2)), np.exp(x).sum())


def test_jacfwd_takes_complex_outputs_of_real_inputs():
    x = np.array([0.5, 1.0])
    np.testing.assert_allclose(cotan.jacfwd(lambda x: cnp.exp(1j * x))(x), np.diag(1j * np.exp(1j * x)))
    with pytest.raises(ArgumentTypeError, match="jacrev needs real"):
        cotan.jacrev(lambda x: cnp.exp(1j * x))(x)


def test_positions_and_axes_may_be_numpy_integers():
    assert cotan.grad(lambda x, y: x * y**2, argnums=np.int64(1))(2.0, 3.0) == 12.0
    assert cotan.grad(lambda x, y: x * y**2, argnums=np.array([1, 0]))(2.0, 3.0) == (12.0, 9.0)
    np.testing.assert_array_equal(cotan.vmap(lambda x: x.sum(), in_axes=np.int64(1))(np.ones((2, 3))), [2.0, 2.0, 2.0])


def test_masked_arrays_are_refused_where_their_mask_would_be_lost():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    with pytest.raises(ArgumentTypeError, match=r"args\[0\] is a masked array"):
        cotan.grad(lambda x: (x**2).sum())(masked)
    with pytest.raises(ArgumentTypeError, match="masked array"):
        cotan.grad(lambda x: (x * masked).sum())(np.ones(3))


def test_a_traced_value_put_into_a_numpy_array_is_refused_with_the_remedy():
    def fill(x):
        a = np.zeros(3)
        a[0] = x
        return a.sum()

    for transformed in (cotan.grad(fill), cotan.jit(fill), lambda x: cotan.jit(cotan.grad(fill))(x)):
        with pytest.raises(TracerConversionError, match=r"(?s)put into a NumPy array.*a\[0\] = x.*\.at\[i\]\.set"):
            transformed(1.0)


def test_a_traced_value_is_its_own_copy():
    def f(x):
        return copy.deepcopy({"x": x})["x"] @ copy.copy(x)

    np.testing.assert_array_equal(cotan.grad(f)(np.array([1.0, 2.0])), [2.0, 4.0])
    assert cotan.jit(f)(np.array([1.0, 2.0])) == 5.0


def test_checkpoint_takes_static_arguments():
    def power(x, n, y=1.0):
        return x**n * y if n > 1 else x

    f = cotan.checkpoint(power, static_argnums=1)
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(cotan.grad(lambda x: f(x, 3).sum())(x), 3 * x**2)
    np.testing.assert_allclose(cotan.grad(lambda x: f(x, 3, y=x).sum())(x), 4 * x**3)
    np.testing.assert_allclose(cotan.jit(cotan.grad(lambda x: cotan.checkpoint(power, static_argnums=(-1,))(x, 1).sum()))(x), 1.0)


# ---- what is computed twice ----------------------------------------------------------------------------------------------------------
def test_cotangents_of_what_is_computed_twice_meet_before_they_are_pulled_back():
    def minor(m, row, columns):
        if row == len(m) - 1:
            return m[row, columns[0]]
        terms = [m[row, c] * minor(m, row + 1, columns[:k] + columns[k + 1 :]) for k, c in enumerate(columns)]
        return sum(terms[::2]) - sum(terms[1::2])

    m = np.random.default_rng(3).normal(size=(5, 5))
    gradient = cotan.grad(lambda m: minor(m, 0, tuple(range(5))))
    np.testing.assert_allclose(gradient(m), np.linalg.det(m) * np.linalg.inv(m).T, rtol=1e-10)
    np.testing.assert_allclose(cotan.jit(gradient)(m), gradient(m), rtol=1e-12)
    names = [e.op.name for e in cotan.stage(gradient)(m).equations]
    assert len(names) < 500
    assert names.count("mul") <= 75, "a product for each set of two to five columns and each column in it"
    np.testing.assert_allclose(cotan.jit(cotan.hessian(lambda m: minor(m, 0, tuple(range(5)))))(m), cotan.jacrev(gradient)(m), rtol=1e-9)


def test_what_differs_in_a_number_alone_is_not_the_same():
    def f(x):
        zero, minus = cnp.arctan2(x * 0.0, -1.0), cnp.arctan2(x * -0.0, -1.0)
        return cnp.sum(zero * x + minus * x * x + cnp.power(x, 2) + cnp.power(x, 2.0) + (x * True) + (x * 1) + (x * 1.0))

    x = np.array([0.5, 2.0])
    np.testing.assert_allclose(cotan.jit(cotan.grad(f))(x), cotan.grad(f)(x), rtol=1e-13)
    np.testing.assert_allclose(cotan.grad(f)(x), np.pi - 2 * np.pi * x + 4 * x + 3, rtol=1e-13)


def test_an_array_that_changes_in_between_is_two_arrays():
    def f(x):
        shift = np.array([2.0])
        first = x + shift
        shift[0] = 3.0
        return cnp.sum(first * (x + shift))

    x = np.array([1.0])
    slope, curvature = cotan.jvp(cotan.grad(f), (x,), (np.ones(1),))  # a sum keeps nothing, so the array may be changed
    assert (slope, curvature) == (7.0, 2.0)


# ---- pieces that are traced are the steps of a loop ------------------------------------------------------------------
def tree_function(x):
    return {"a": cnp.sin(x["u"]) * x["v"], "b": cnp.sum(x["u"] ** 2) * x["v"]}


def scalar_function(x):
    return cnp.sum(cnp.sin(x["u"]) ** 2) * x["v"] + x["v"] ** 3


POINT = {"u": np.arange(1.0, 6.0), "v": np.float32(0.5)}
CHUNKED = {
    "jacfwd": lambda chunk: cotan.jacfwd(tree_function, chunk=chunk),
    "jacrev": lambda chunk: cotan.jacrev(tree_function, chunk=chunk),
    "jacobian": lambda chunk: cotan.jacobian(tree_function, chunk=chunk),
    "hessian": lambda chunk: cotan.hessian(scalar_function, chunk=chunk),
    "hessian_diag": lambda chunk: cotan.hessian_diag(scalar_function, chunk=chunk),
    "laplacian": lambda chunk: cotan.laplacian(scalar_function, chunk=chunk),
    "vmap": lambda chunk: lambda x: cotan.vmap(lambda u: {"b": u * x["v"], "s": x["v"] * 2}, chunk=chunk)(x["u"]),
    "vmap, out_axes": lambda chunk: lambda x: cotan.vmap(lambda u: (u * x["v"], 3.0), out_axes=(0, None), chunk=chunk)(x["u"]),
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 6, "auto"])
@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_change_no_result_where_they_are_traced(name, chunk):
    wanted, whole = CHUNKED[name](None)(POINT), CHUNKED[name](chunk)
    for run in (whole, cotan.jit(whole), cotan.jit(cotan.jit(whole), engine="numpy")):
        found = run(POINT)
        for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(wanted), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6 if a.dtype == np.float32 else 1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["jacfwd", "jacrev", "vmap"])
def test_a_program_of_many_pieces_is_as_long_as_one_of_few(name):
    def equations(n):
        make = {
            "jacfwd": lambda f: cotan.jacfwd(f, chunk=1),
            "jacrev": lambda f: cotan.jacrev(f, chunk=1),
            "vmap": lambda f: cotan.vmap(f, chunk=1),
        }[name]
        return len(cotan.stage(make(lambda x: cnp.cumsum(cnp.sin(x)) if x.ndim else cnp.sin(x)))(np.ones(n)).equations)

    assert equations(50) == equations(5)


def test_a_jacobian_of_a_thousand_rows_is_compiled():
    f = cotan.jit(cotan.jacrev(lambda x: cnp.cumsum(x) ** 2, chunk=1))
    np.testing.assert_allclose(f(np.ones(1000))[-1], np.full(1000, 2000.0))


def test_an_array_of_many_pieces_is_compiled():
    f = cotan.jit(lambda x: cnp.stack([x * k for k in range(1500)]))
    np.testing.assert_array_equal(f(2.0), 2.0 * np.arange(1500))


# ---- errors of the user's own ----------------------------------------------------------------------------------------
def fails(x):
    raise ValueError("of the user")


@pytest.mark.parametrize(
    "call",
    [
        lambda: cotan.grad(fails)(1.0),
        lambda: cotan.jit(cotan.vmap(cotan.hessian(fails)))(np.ones(3)),
        lambda: cotan.jit(lambda x: cotan.lax.scan(lambda c, _: (fails(c), None), x, None, 3))(1.0),
        lambda: cotan.jit(lambda x: cotan.lax.cond(x > 0, fails, fails, x))(1.0),
        lambda: cotan.linearize(fails, 1.0),
        lambda: cotan.jit(lambda x: cotan.pure_callback(fails, cotan.ShapeDtypeStruct((), float), x))(1.0),
        lambda: cotan.grad(cotan.checkpoint(fails))(1.0),
    ],
)
def test_a_users_own_error_shows_the_users_frames(call):
    with pytest.raises(ValueError, match="of the user") as caught:
        call()
    package = cotan.core.origin.PACKAGE
    hidden = [f.name for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(package)]
    assert len(hidden) <= 2, hidden
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fails"


@pytest.mark.parametrize("transform", [cotan.jit, cotan.grad, cotan.jacfwd, lambda f: lambda x: cotan.vmap(f)(np.ones(2) * x)])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: {1.0: x * 2.0}[x],
        lambda x: x * 3.0 if x in {1.0, 2.0} else x,
        functools.cache(lambda x: x * x),  # two values that are equal may have different derivatives
    ],
)
def test_a_traced_value_has_no_hash(f, transform):
    with pytest.raises(cotan.errors.TracerConversionError, match=r"looked up in a dict|looked for with `in`"):
        transform(f)(1.0)


FAILING = {
    "grad": cotan.grad,
    "jit": cotan.jit,
    "jit on the NumPy engine": functools.partial(cotan.jit, engine="numpy"),
    "jit of grad": lambda f: cotan.jit(cotan.grad(f)),
    "in a loop": lambda f: cotan.jit(lambda a: cotan.lax.fori_loop(0, 2, lambda i, c: c + f(a * c), 0.0)),
    "in a batch": lambda f: lambda a: cotan.jit(cotan.vmap(f))(np.stack([a, a])),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_error_of_an_op_names_the_users_line(name):
    def f(a):
        return cnp.sum(a * cnp.power(2, a.astype(int) - 1))  # here

    for _ in range(2):  # the second time from what is known of the first
        with pytest.raises(ValueError, match="negative integer powers") as caught:
            FAILING[name](f)(np.zeros((2, 2)))
        frames = [f"{x.filename}: {x.line}" for x in traceback.extract_tb(caught.value.__traceback__)]
        shown = "\n".join([*frames, *getattr(caught.value, "__notes__", ())])
        assert "cnp.power(2, a.astype(int) - 1)" in shown
        assert sum(frame.startswith(cotan.core.origin.PACKAGE) for frame in frames) <= 1


def two(x, y):
    return x + y


@pytest.mark.parametrize(
    "call",
    [lambda: cotan.jit(two)(1.0), lambda: cotan.grad(two)(1.0), lambda: cotan.vmap(two)(X), lambda: cotan.jit(lambda x: len(x))(1.0)],
)
def test_a_wrong_call_shows_the_users_frames_alone(call):
    with pytest.raises(TypeError) as caught:
        call()
    assert not [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename.startswith(PACKAGE)]


def test_what_scipy_wraps_is_refused_by_its_public_name():
    with pytest.raises(UnsupportedFunctionError, match=r"scipy\.special\.lambertw cannot be traced"):
        cotan.jit(scipy.special.lambertw)(1.0)


# ---- arguments that a transformation does not trace ----------------------------------------------------------------------
LINE = np.array([3.0, 5.0, 7.0])
TABLE = np.arange(6.0).reshape(2, 3)
PLACES = np.array([0, 2])


@cotan.custom_jvp
def element(x, i):
    return x[i]


@element.defjvp
def element_jvp(primals, tangents):
    x, i = primals
    return element(x, i), tangents[0][i]


@cotan.custom_vjp
def scaled_element(p, x, i):
    return p * x[i]


scaled_element.defvjp(lambda p, x, i: (p * x[i], (x, i)), lambda kept, y_bar: (kept[0][kept[1]] * y_bar, None, None))


@functools.partial(cotan.custom_vjp, nondiff_argnums=(1,))
def scaled_element_of(p, x, i):
    return p * x[i]


scaled_element_of.defvjp(lambda p, x, i: (p * x[i], i), lambda x, i, y_bar: (x[i] * y_bar, None))

INDEXED_BY_A_TRACED_VALUE = {
    "vmap": lambda i: cotan.vmap(lambda x, i: x[i], (None, 0))(LINE, i),
    "vmap of a tree": lambda i: cotan.vmap(lambda d, i: d["x"][i], (None, 0))({"x": LINE}, i),
    "vmap of vmap": lambda i: cotan.vmap(cotan.vmap(lambda x, i: x[i], (None, 0)), (0, None))(np.stack([LINE, LINE]), i)[1],
    "vmap in pieces": lambda i: cotan.vmap(lambda x, i: x[i], (None, 0), chunk=1)(LINE, i),
    "vmap, a list": lambda i: cotan.vmap(lambda x, i: x[[0, i]][1], (None, 0))(LINE, i),
    "vmap, an update": lambda i: cotan.vmap(lambda x, i: x - x.at[i].set(0.0), (None, 0))(LINE, i).sum(1),
    "grad": lambda i: cotan.vmap(lambda i: cotan.grad(lambda p, x: p * x[i])(1.0, LINE))(i),
    "grad, a keyword": lambda i: cotan.vmap(lambda i: cotan.grad(lambda p, x: p * x[i])(1.0, x=LINE))(i),
    "jvp": lambda i: cotan.vmap(lambda i: cotan.jvp(lambda p, x: p * x[i], (1.0, LINE), (1.0, None))[1])(i),
    "vjp of integers": lambda i: cotan.vmap(lambda i: cotan.vjp(lambda p, n: p * n[i], 1.0, LINE.astype(int))[0])(i),
    "jacrev": lambda i: cotan.vmap(lambda i: cotan.jacrev(lambda p, x: p * x[i])(1.0, LINE))(i),
    "jacfwd": lambda i: cotan.vmap(lambda i: cotan.jacfwd(lambda p, x: p * x[i])(1.0, LINE))(i),
    "hessian": lambda i: cotan.vmap(lambda i: cotan.hessian(lambda p, x: p * p * x[i])(1.0, LINE))(i) / 2,
    "a loop within grad": lambda i: cotan.grad(lambda p, x: cotan.lax.scan(lambda c, j: (c, p[0] * x[j]), 0.0, i)[1] @ p[1])(
        (1.0, 0.0 * i), LINE
    )[1],
    "jit within grad": lambda i: cotan.grad(lambda p, x: cotan.jit(lambda j: x[j])(i) @ p)(0.0 * i, LINE),
    "custom_jvp": lambda i: cotan.vmap(element, (None, 0))(LINE, i),
    "the rule of custom_jvp": lambda i: cotan.vmap(lambda i: cotan.jvp(lambda x: element(x, i), (LINE,), (LINE,))[1])(i),
    "custom_vjp": lambda i: cotan.vmap(scaled_element, (None, None, 0))(1.0, LINE, i),
    "the rule of custom_vjp": lambda i: cotan.vmap(lambda i: cotan.grad(scaled_element)(1.0, LINE, i))(i),
    "nondiff_argnums": lambda i: cotan.vmap(lambda i: cotan.grad(scaled_element_of)(1.0, LINE, i))(i),
}


@pytest.mark.parametrize("way", INDEXED_BY_A_TRACED_VALUE)
def test_what_is_not_traced_may_be_indexed_by_what_is(way):
    run = INDEXED_BY_A_TRACED_VALUE[way]
    np.testing.assert_array_equal(run(PLACES), LINE[PLACES])
    np.testing.assert_array_equal(cotan.jit(run)(PLACES), LINE[PLACES])


def test_two_axes_of_what_is_not_traced_are_indexed():
    for index in (lambda x, i: x[:, i], lambda x, i: x[..., i], lambda x, i: x[1, i], lambda x, i: x[([1, 0], [i, i])]):
        got = cotan.vmap(index, (None, 0))(TABLE, PLACES)
        np.testing.assert_array_equal(got, [index(TABLE, int(i)) for i in PLACES])


def test_what_is_not_traced_is_neither_copied_nor_made_writable():
    given, seen = LINE.copy(), []
    fixed = LINE.copy()
    fixed.flags.writeable = False

    def look(p, x, y, z):
        seen[:] = [x, y, z]
        return p * cnp.sum(x) * cnp.sum(y)

    cotan.grad(look)(1.0, given, fixed, np.array(2.0))
    x, y, z = seen
    assert type(given) is np.ndarray
    assert type(x) is type(y) is Array
    assert type(z) is np.ndarray  # 0-d: a number has no index
    assert np.shares_memory(x, given)
    assert np.shares_memory(y, fixed)
    assert given.flags.writeable
    assert x.flags.writeable
    assert not y.flags.writeable


@pytest.mark.parametrize(
    "change",
    [
        lambda x, part: x.__setitem__(0, 5.0), lambda x, part: x.__iadd__(5.0), lambda x, part: np.add(x, 1.0, out=x),
        lambda x, part: part.__setitem__(0, 5.0), lambda x, part: np.copyto(x, 5.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", [lambda x: x, lambda x: x[1:], lambda x: x.reshape(3, 1), lambda x: x[::-1]])
@pytest.mark.parametrize("made", [np.copy, cnp.copy])
def test_what_a_recording_holds_of_other_arguments_is_not_changed(made, part, change):
    x = made(LINE)

    def f(p, x):
        y = part(x)
        s = cnp.sum(p * y)
        change(x, y)
        return s

    for call in (lambda: cotan.grad(f)(2.0, x), lambda: cotan.grad(lambda p: f(p, x))(2.0)):
        with pytest.raises(BorrowedArrayError):
            call()
        np.testing.assert_array_equal(x, LINE)
        assert x.flags.writeable

"""The dtype checks of every transformation: dtypes that cotan lacks, integers that count as floats, tangents that would be lost."""

import re

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentTypeError, DtypeError, RuleError

FOREIGN = {
    "long double": np.ones(3, np.longdouble),
    "complex long double": np.ones(3, np.clongdouble),
    "times": np.zeros(3, "datetime64[s]"),
    "differences of times": np.zeros(3, "timedelta64[D]"),
    "strings": np.array(["a", "b", "c"]),
    "bytes": np.array([b"a", b"b", b"c"]),
    "objects": np.array([1, 2, 3], object),
    "structures": np.zeros(3, [("x", float)]),
    "raw": np.zeros(3, "V8"),
}
WAYS = {
    "jit": lambda x: cotan.jit(cnp.sum)(x),
    "jit, a scalar": lambda x: cotan.jit(cnp.sum)(x.ravel()[:1][0] if x.dtype.kind != "O" else x),
    "jit, in a tree": lambda x: cotan.jit(lambda t: t["a"])({"a": x}),
    "jit, closed over": lambda x: cotan.jit(lambda y: y * x)(1.0),
    "jit, returned": lambda x: cotan.jit(lambda y: (y, x))(1.0),
    "lower": lambda x: cotan.jit(cnp.sum).lower(x),
    "stage": lambda x: cotan.stage(cnp.sum)(x),
    "eval_shape": lambda x: cotan.eval_shape(cnp.sum, cotan.ShapeDtypeStruct(x.shape, x.dtype)),
    "grad": lambda x: cotan.grad(cnp.sum)(x),
    "jvp": lambda x: cotan.jvp(cnp.sum, (x,), (x,)),
    "a tangent": lambda x: cotan.jvp(cnp.sum, (np.ones(3),), (x,)),
    "vjp": lambda x: cotan.vjp(cnp.sum, x),
    "linearize": lambda x: cotan.linearize(cnp.sum, x),
    "vmap": lambda x: cotan.vmap(lambda y: y)(x),
    "jacfwd": lambda x: cotan.jacfwd(lambda y: y)(x),
    "hessian": lambda x: cotan.hessian(cnp.sum)(x),
    "astype": lambda x: cotan.jit(lambda y: y.astype(x.dtype))(1.0),
    "eager, an array": lambda x: cnp.asarray(x),
    "eager, zeros": lambda x: cnp.zeros(3, x.dtype),
    "eager, joined": lambda x: cnp.concatenate([x, x]),
    "eager, reshaped": lambda x: cnp.reshape(x, (3, 1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_dtype_is_refused_by_its_name(kind, way):
    x = FOREIGN[kind]
    with pytest.raises(DtypeError, match="dtype") as caught:
        WAYS[way](x)
    assert str(x.dtype) in str(caught.value).replace("<U0", str(x.dtype)).replace("|S0", str(x.dtype))
    assert "What to do" in str(caught.value)


@pytest.mark.parametrize("kind", ["long double", "complex long double", "differences of times", "objects"])
def test_an_eager_function_of_a_foreign_dtype_is_refused(kind):
    x = FOREIGN[kind]
    for call in (lambda: cnp.add(x, x), lambda: cnp.negative(x), lambda: cnp.cumsum(x), lambda: cnp.multiply(x, 2)):
        with pytest.raises(DtypeError, match=re.escape(str(x.dtype))):
            call()


def test_every_dtype_that_there_is_passes_the_gate():
    for dtype in sorted(cotan.core.types.DTYPES, key=str):
        x = np.ones(3, dtype)
        assert cotan.jit(lambda y: y)(x).dtype == cotan.vmap(lambda y: y)(x).dtype == dtype
        assert cotan.jit(lambda y: y)(x.astype(dtype.newbyteorder())).dtype == dtype


# ---- integers count as floats ---------------------------------------------------------------------------------------
DERIVATIVES = {
    "grad": cotan.grad,
    "value_and_grad": lambda f: lambda x: cotan.value_and_grad(f)(x)[1],
    "jacfwd": cotan.jacfwd,
    "jacrev": cotan.jacrev,
    "jacobian": cotan.jacobian,
    "value_and_jacobian": lambda f: lambda x: cotan.value_and_jacobian(f)(x)[1],
    "hessian": cotan.hessian,
    "hessian_diag": cotan.hessian_diag,
    "laplacian": cotan.laplacian,
    "grad of grad": lambda f: cotan.grad(cotan.grad(f)),
    "grad of jit": lambda f: cotan.grad(cotan.jit(f)),
    "hvp": lambda f: lambda x: cotan.hvp(f, x, 1.0),
    "make_hvp": lambda f: lambda x: cotan.make_hvp(f, x)(1.0),
    "jvp": lambda f: lambda x: cotan.jvp(f, (x,), (1.0,))[1],
    "checkpoint": lambda f: cotan.grad(cotan.checkpoint(f)),
}
FUNCTIONS = {"sin": np.sin, "square": lambda x: x**2, "quotient": lambda x: 1 / x, "integer power": lambda x: x**3 * 2}
INTEGERS = {
    "Python int": lambda g: g(3),
    "Python int, jit": lambda g: cotan.jit(g)(3),
    "Python int, jit of jit": lambda g: cotan.jit(cotan.jit(g))(3),
    "int64": lambda g: g(np.int64(3)),
    "int32, jit": lambda g: cotan.jit(g)(np.int32(3)),
    "uint8 array": lambda g: g(np.array(3, np.uint8)),
    "array, vmap": lambda g: cotan.vmap(g)(np.array([1, 2, 3]))[2],
    "array, jit of vmap": lambda g: cotan.jit(cotan.vmap(g))(np.array([1, 2, 3]))[2],
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_an_integer_counts_as_a_float_wherever_a_derivative_is_asked_for(derivative, function):
    g = DERIVATIVES[derivative](FUNCTIONS[function])
    wanted = np.asarray(g(3.0))
    for name, call in INTEGERS.items():
        found = np.asarray(call(g))
        assert found.dtype == np.float64, name
        np.testing.assert_allclose(found, wanted, rtol=1e-15, err_msg=name)


def test_integer_arrays_are_taken_as_optimizers_hand_them_over():
    model = lambda p: p[0] * np.exp(-p[1] * np.arange(3.0))  # noqa: E731
    start = np.array([315, 1])
    np.testing.assert_allclose(cotan.jit(cotan.jacfwd(model))(start), cotan.jacrev(model)(start.astype(float)))
    assert cotan.grad(lambda d: d["a"] * d["b"])({"a": 2, "b": np.int16(3)}) == {"a": 3.0, "b": 2.0}


def test_integers_stay_integers_where_all_arguments_are_taken():
    _, pull = cotan.vjp(lambda x, i: x[i], np.arange(3.0), np.array(1))
    assert pull(1.0)[1] is None
    assert cotan.linearize(lambda x, i: x[i], np.arange(3.0), np.array(1))[1](np.ones(3), None) == 1.0
    assert cotan.jvp(lambda x, i: x[i], (np.arange(3.0), np.array(1)), (np.ones(3), np.array(0)))[1] == 1.0


def test_a_truth_value_has_no_derivative():
    for derivative in ("grad", "jacfwd", "jacrev", "hessian"):
        with pytest.raises(ArgumentTypeError, match="bool"):
            DERIVATIVES[derivative](lambda x: x * 1.0)(True)


# ---- nothing is lost -----------------------------------------------------------------------------------------------
def both(x):
    return np.sum(x), np.argmax(x)


@pytest.mark.parametrize("run", [lambda f, c: f(c), lambda f, c: cotan.jit(f)(c), lambda f, c: cotan.vmap(f)(np.array([c, c]))])
def test_a_cotangent_of_an_integer_output_is_refused(run):
    pull = lambda c: cotan.vjp(both, np.arange(3.0))[1]((1.0, c))  # noqa: E731
    with pytest.raises(ArgumentTypeError, match=r"output\[1\] has dtype int64"):
        run(pull, 1.0)
    for placeholder in (None, 0, 0.0, np.zeros((), [("float0", "V")])):
        np.testing.assert_array_equal(pull(placeholder)[0], np.ones(3))


def test_a_tangent_of_a_truth_value_is_refused_traced_too():
    f = lambda x, flag: cnp.where(flag, x, 0.0)  # noqa: E731
    for call in (lambda t: cotan.jvp(f, (1.0, True), (1.0, t)), cotan.jit(lambda t: cotan.jvp(f, (1.0, True), (1.0, t)))):
        with pytest.raises(ArgumentTypeError, match="bool"):
            call(0.5)


def test_none_is_zero_anywhere_in_a_cotangent():
    _, pull = cotan.vjp(lambda x: {"a": (x, 2 * x), "b": x**2}, 3.0)
    assert pull({"a": None, "b": 1.0})[0] == 6.0
    assert pull({"a": (None, 1.0), "b": None})[0] == 2.0
    assert pull(None)[0] == 0.0
    assert cotan.jvp(lambda x, y: x * y, (2.0, 3.0), (None, 1.0))[1] == 2.0


def test_what_a_rule_gives_for_an_integer_is_refused_unless_it_is_zero():
    @cotan.custom_vjp
    def f(x, n):
        return x * n

    for given, right in ((None, True), (np.zeros(()), True), (1.0, False)):
        f.defvjp(lambda x, n: (x * n, n), lambda n, y_bar, given=given: (y_bar * n, given))
        run = lambda: cotan.grad(f)(2.0, np.array(3))  # noqa: E731
        if right:
            assert run() == 3.0
        else:
            with pytest.raises(RuleError, match="cotangent of n"):
                run()

    @cotan.custom_jvp
    def g(x):
        return x, np.argmax(x)

    for given, right in ((None, True), (np.zeros(()), True), (0.5, False)):
        g.defjvp(lambda p, t, given=given: (g(*p), (t[0], given)))
        if right:
            np.testing.assert_array_equal(cotan.jvp(g, (np.ones(2),), (np.ones(2),))[1][0], np.ones(2))
        else:
            with pytest.raises(RuleError, match=r"tangent_out\[1\]"):
                cotan.jvp(g, (np.ones(2),), (np.ones(2),))


# ---- complex numbers ------------------------------------------------------------------------------------------------
def test_the_gradient_of_a_real_function_of_complex_numbers_is_that_of_the_convention():
    z = np.array([1.0 + 2.0j, -3.0 + 0.5j])
    f = lambda z: np.sum(np.abs(z) ** 2 * np.cos(z.real))  # noqa: E731
    h = 1e-6
    wanted = [(f(z + h * e) - f(z - h * e)) / (2 * h) - 1j * (f(z + 1j * h * e) - f(z - 1j * h * e)) / (2 * h) for e in np.eye(2)]
    for found in (
        cotan.grad(f)(z),
        cotan.jit(cotan.grad(f))(z),
        cotan.value_and_grad(f)(z)[1],
        cotan.jacrev(f)(z),
        cotan.jacobian(f)(z),
        cotan.vjp(f, z)[1](1.0)[0],
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-8)
    cotan.testing.check_grads(f, (z,), order=2)
    for refused in (cotan.jacfwd, cotan.hessian):
        with pytest.raises(ArgumentTypeError, match="holomorphic"):
            refused(f)(z)


@pytest.mark.parametrize("mode", ["auto", "fwd", "rev"])
def test_wirtinger_derivatives_predict_the_change(mode):
    z = np.array([1.0 + 2.0j, -3.0 + 0.5j])
    f = lambda z: {"square": z * np.conj(z) ** 2 + np.sin(z), "real": np.sum(np.abs(z))}  # noqa: E731
    for derivative in (cotan.wirtinger(f, mode=mode), cotan.jit(cotan.wirtinger(f, mode=mode))):
        by_z, by_conjugate = derivative(z)
        h = 1e-5 * np.array([1.0 - 0.5j, 0.3 + 2.0j])
        for key in by_z:
            change = (f(z + h)[key] - f(z - h)[key]) / 2
            np.testing.assert_allclose(by_z[key] @ h + by_conjugate[key] @ np.conj(h), change, rtol=1e-7)


def test_wirtinger_derivatives_of_holomorphic_and_real_functions():
    by_z, by_conjugate = cotan.wirtinger(np.exp)(1.0 + 1.0j)
    np.testing.assert_allclose(by_z, np.exp(1.0 + 1.0j), rtol=1e-15)
    assert by_conjugate == 0
    f = lambda z: np.abs(z) ** 2  # noqa: E731
    by_z, by_conjugate = cotan.wirtinger(f)(1.0 + 2.0j)
    assert by_conjugate == np.conj(by_z)
    assert cotan.grad(f)(1.0 + 2.0j) == 2 * by_z
    pair, aux = cotan.wirtinger(lambda z, w: (z * w, "aux"), argnums=(0, 1), has_aux=True)(1.0j, 2.0 + 0j)
    assert (pair, aux) == (((2.0, 1.0j), (0.0, 0.0)), "aux")
    with pytest.raises(ArgumentTypeError, match="complex"):
        cotan.wirtinger(f)(1.0)

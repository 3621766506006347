"""Other packages on traced values: an unsupported call is refused, with the user's line and an alternative; operators work."""

import statistics
import sys

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.special
import scipy.stats

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentTypeError, TracerConversionError, UnsupportedFunctionError

EYE = np.eye(3)
CALLS = {
    "scipy.linalg.cholesky": (lambda a: np.sum(scipy.linalg.cholesky(a)), EYE, "use cotan.scipy.linalg.cholesky"),
    "scipy.linalg.det": (lambda a: scipy.linalg.det(a), EYE, "use cotan.scipy.linalg.det"),
    "scipy.linalg.expm": (lambda a: np.sum(scipy.linalg.expm(a)), EYE, "use cotan.scipy.linalg.expm"),
    "scipy.linalg.schur": (lambda a: np.sum(scipy.linalg.schur(a)[0]), EYE, "use cotan.scipy.linalg.schur"),
    "scipy.linalg.qz": (lambda a: np.sum(scipy.linalg.qz(a, a)[0]), EYE, "cotan.external"),
    "scipy.special.jv": (lambda x: scipy.special.jv(1, x), 1.0, "cotan.external"),
    "scipy.stats": (lambda m: scipy.stats.norm.logpdf(0.3, m), 0.1, "cotan.external"),
    "scipy.optimize.brentq": (lambda a: scipy.optimize.brentq(lambda x: x - a, 0, 3), 1.0, "cotan.implicit"),
    "scipy.optimize": (lambda a: scipy.optimize.minimize(lambda x: (x[0] - a) ** 2, [0.0]).x[0], 1.0, "cotan.implicit"),
    "scipy.integrate.solve_ivp": (lambda a: scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), [a]).y[0, -1], 1.0, "cotan.lax.scan"),
    "scipy.interpolate.CubicSpline": (lambda a: scipy.interpolate.CubicSpline([0, 1, 2.0], [0, a, 2.0])(0.5), 1.0, "cotan.external"),
    "scipy.fft.fft": (lambda x: np.sum(np.abs(scipy.fft.fft(x))), np.ones(3), "cotan.external"),
    "scipy.sparse": (lambda x: np.sum(scipy.sparse.eye(3) @ x), np.ones(3), "cotan.external"),
    "np.polyfit": (lambda y: np.polyfit(np.arange(3.0), y, 1)[0], np.ones(3), "cotan.external"),
    "statistics.fmean": (lambda x: statistics.fmean([x, 2 * x]), 1.0, "cotan.numpy"),
}
DERIVATIVES = {"grad": cotan.grad, "jit": cotan.jit, "jacfwd": cotan.jacfwd, "jit of grad": lambda f: cotan.jit(cotan.grad(f))}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("name", CALLS)
def test_a_function_of_another_package_is_refused_at_the_users_line(name, derivative):
    function, x, instead = CALLS[name]
    with pytest.raises(UnsupportedFunctionError) as caught:
        DERIVATIVES[derivative](function)(x)
    text = str(caught.value)
    assert text.startswith(name)
    assert "cannot be traced" in text
    assert "test_other_packages.py" in text.split("What to do")[0].split("\n\n")[1]
    assert instead in text.split("What to do")[1]
    assert not any(wrong in text for wrong in ("polyint", "cotan.numpy.exp", "math's"))


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_a_refusal_in_c_code_that_goes_on_is_the_error_whatever_the_caches_of_the_interpreter_hold(derivative):
    clear = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache

    def residual(a):
        def f(x):
            y = x - a
            clear()  # brentq calls f again with the refusal of float(y) set: a look-up of a method that is not in the cache clears it
            return y

        return f

    with pytest.raises(UnsupportedFunctionError, match=r"scipy.optimize.brentq cannot be traced") as caught:
        DERIVATIVES[derivative](lambda a: scipy.optimize.brentq(residual(a), 0, 3))(1.0)
    assert "brentq(residual(a), 0, 3)" in str(caught.value)


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_an_error_that_the_user_raises_after_catching_a_refusal_is_not_replaced(derivative):
    def f(a):
        try:
            return scipy.optimize.brentq(lambda x: x - a, 0, 3)
        except Exception:
            raise ValueError("no root") from None

    with pytest.raises(ValueError, match=r"^no root$"):
        DERIVATIVES[derivative](f)(1.0)


@pytest.mark.parametrize("name", ["gammaln", "erf", "expit", "ndtr", "xlogy"])
def test_functions_of_scipy_special_are_traced(name):
    function = getattr(scipy.special, name)
    operands = (0.7,) if name != "xlogy" else (0.7, 1.3)
    cotan.testing.check_grads(lambda *x: function(*x), operands, order=2)
    np.testing.assert_allclose(cotan.jit(lambda *x: function(*x))(*operands), function(*operands), rtol=1e-14)


PLAIN = {
    "np.array": (lambda a: np.array([a, 2 * a]).sum(), "cotan.numpy.array([a, b])", lambda a: cnp.array([a, 2 * a]).sum()),
    "np.asarray": (lambda a: np.asarray([a, 1.0]).sum(), "cotan.numpy.asarray([a, b])", lambda a: cnp.asarray([a, 1.0]).sum()),
    "np.full": (lambda a: np.full(3, a).sum(), "cotan.numpy.full(...)", lambda a: cnp.full(3, a).sum()),
    "np.array of one": (lambda a: np.array(a), "leave out np.array(), or write cotan.numpy.asarray(x)", lambda a: cnp.asarray(a)),
}
EVERY = {**DERIVATIVES, "vmap": lambda f: lambda x: cotan.vmap(f)(np.array([x, x])), "linearize": lambda f: lambda x: cotan.linearize(f, x)}


@pytest.mark.parametrize("derivative", EVERY)
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_array_of_traced_values_is_refused_with_what_to_write(name, derivative):
    function, instead, traced = PLAIN[name]
    with pytest.raises(TracerConversionError) as caught:
        EVERY[derivative](function)(1.5)
    text = str(caught.value)
    assert f"{name.partition(' ')[0]}() would make a plain array of it" in text
    assert "test_other_packages.py" in text
    assert instead in text
    EVERY[derivative](traced)(1.5)


def test_a_list_is_named_as_the_tree_that_it_is():
    for function in (lambda p: np.sum(p**2), lambda p: np.sum(np.sin(p)), lambda p: p.sum()):
        for run in (cotan.grad, cotan.jit, cotan.hessian, lambda f: lambda x: cotan.jvp(f, (x,), (x,))):
            with pytest.raises((TypeError, AttributeError)) as caught:
                run(function)([1.0, 2.0])
            assert "args[0] is a list: a list is a tree" in caught.value.__notes__[0]
    with pytest.raises(TypeError) as caught:
        cotan.grad(lambda p: np.sum(p + "a"))(1.0)
    assert not hasattr(caught.value, "__notes__")


SIZES = {
    "slice": (lambda x, i: x[i : i + 2], "dynamic_slice"),
    "slice to change": (lambda x, i: x.at[:i].set(0.0), "dynamic_update_slice"),
    "arange": (lambda x, i: cnp.arange(i), "static_argnames='i'"),
    "zeros": (lambda x, i: cnp.zeros(i), "static_argnames='i'"),
    "linspace": (lambda x, i: cnp.linspace(0.0, 1.0, i), "static_argnames='i'"),
    "reshape": (lambda x, i: x.reshape(i, -1), "static_argnames='i'"),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_traced_size_is_refused_with_what_to_write(name):
    function, instead = SIZES[name]
    with pytest.raises(TracerConversionError, match=instead):
        cotan.jit(function)(np.arange(4.0), 2)


def test_swapped_cotangents_say_so():
    with pytest.raises(cotan.errors.ArgumentError, match="in the order"):
        cotan.vjp(lambda x: (x, np.sum(x)), np.ones(3))[1]((1.0, np.ones(3)))
    with pytest.raises(cotan.errors.ArgumentError, match="in the order"):
        cotan.jvp(lambda x, y: x * y, (np.ones(3), 1.0), (1.0, np.ones(3)))


# ---- tables -----------------------------------------------------------------------------------------------------------
@pytest.mark.peers
def test_pandas_leaves_the_operators_to_traced_values():
    pandas = pytest.importorskip("pandas")
    series, frame = pandas.Series([1.0, 2.0]), pandas.DataFrame([[1.0, 2.0], [3.0, 4.0]])
    ones = np.ones(2)
    losses = [
        (lambda p: np.sum((series - p * ones) ** 2), lambda p: np.sum((series.to_numpy() - p * ones) ** 2)),
        (lambda p: np.sum((p * ones - series) ** 2), lambda p: np.sum((p * ones - series.to_numpy()) ** 2)),
        (lambda p: np.sum(series * p), lambda p: np.sum(series.to_numpy() * p)),
        (lambda p: np.sum((p * ones) @ frame), lambda p: np.sum((p * ones) @ frame.to_numpy())),
        (lambda p: np.sum(frame * p), lambda p: np.sum(frame.to_numpy() * p)),
        (lambda p: np.sum(np.where(series > p, series, p)), lambda p: np.sum(np.where(series.to_numpy() > p, series.to_numpy(), p))),
    ]
    for mine, wanted in losses:
        for run in (cotan.grad, cotan.jacfwd, lambda f: cotan.jit(cotan.grad(f))):
            np.testing.assert_allclose(run(mine)(1.5), cotan.grad(wanted)(1.5))


@pytest.mark.peers
def test_a_product_of_a_pandas_table_says_what_to_write():
    """pandas gives `@` no way to leave its turn: it makes an array of what stands on the right."""
    pandas = pytest.importorskip("pandas")
    for table in (pandas.DataFrame(np.eye(2)), pandas.Series([1.0, 2.0])):
        with pytest.raises(UnsupportedFunctionError, match=r"table\.to_numpy\(\) @ x"):
            cotan.grad(lambda p, t=table: np.sum(t @ (p * np.ones(2))))(1.0)
        assert cotan.grad(lambda p, t=table: np.sum(t.to_numpy() @ (p * np.ones(2))))(1.0) in (2.0, 3.0)


@pytest.mark.peers
@pytest.mark.parametrize("package", ["pandas", "polars", "xarray"])
def test_tables_are_refused_as_arguments_with_what_to_pass(package):
    module = pytest.importorskip(package)
    table = (module.DataArray if package == "xarray" else module.Series)([1.0, 2.0])
    for run in (cotan.grad(np.sum), cotan.jit(np.sum), cotan.vmap(np.sin), lambda x: cotan.jvp(np.sum, (x,), (x,)), cotan.hessian(np.sum)):
        with pytest.raises(ArgumentTypeError, match=r"to_numpy\(\)"):
            run(table)


@pytest.mark.peers
def test_xarray_works_on_either_side():
    xarray = pytest.importorskip("xarray")
    data = xarray.DataArray([1.0, 2.0])
    for loss in (lambda p: np.sum((data - p) ** 2), lambda p: np.sum((p - data) ** 2), lambda p: np.sum(p * np.ones(2) * data)):
        np.testing.assert_allclose(cotan.grad(loss)(1.5), cotan.grad(lambda p, f=loss: f(p))(1.5))
        cotan.testing.check_grads(lambda p, f=loss: f(p), (1.5,), order=1)

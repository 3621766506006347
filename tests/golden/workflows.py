"""What newcomers write in the five commonest workflows, what cotan's message must say of it, and the code that it advises.

``@says(...)`` registers a mistake and the parts of its text; ``@instead(mistake)`` registers what the text says to write, which must run.
"""

# The names and the layout of these functions are part of what is tested: errors quote the line.

import functools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

import cotan
import cotan.numpy as cnp
from cotan import lax

TIMES = np.linspace(0.0, 1.0, 20)
DATA = 2.0 * np.exp(-3.0 * TIMES)
RNG = np.random.default_rng(0)
SAYINGS = {}
REMEDIES = {}


def says(*parts, never=()):
    """The text of this mistake has these parts, and none of ``never``."""

    def register(f):
        SAYINGS[f] = parts, (never,) if isinstance(never, str) else never
        return f

    return register


def instead(mistake):
    """This is what the text of ``mistake`` says to write."""

    def register(f):
        REMEDIES[mistake] = f
        return f

    return register


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


# ---- a fit with SciPy -----------------------------------------------------------------------------------------------------------
def loss(p, y):
    return cnp.sum((p[0] * cnp.exp(-p[1] * TIMES) - y) ** 2)


def fitted(y):
    return scipy.optimize.minimize(lambda p: loss(p, y), np.ones(2), jac=cotan.grad(lambda p: loss(p, y)), tol=1e-10).x


@says("scipy.optimize.minimize cannot be traced", "cotan.implicit(cotan.grad(loss))(solver)", never="static")
def gradient_of_a_fit():
    cotan.grad(lambda y: fitted(y)[0])(DATA)


@instead(gradient_of_a_fit)
def gradient_of_an_implicit_fit():
    slope = cotan.grad(lambda s: cotan.implicit(cotan.grad(loss))(fitted)(s * DATA)[0])(1.0)
    close(slope, 2.0)


@says("scipy.optimize.curve_fit cannot be traced", "cotan.implicit(cotan.grad(loss))(solver)")
def gradient_of_curve_fit():
    cotan.grad(lambda y: scipy.optimize.curve_fit(lambda t, a, b: a * np.exp(-b * t), TIMES, y)[0][0])(DATA)


@says(
    "math.exp() needs it as a plain number",
    "the derivative would silently be lost",
    "cotan.numpy.exp(...) for math.exp(...)",
    never="static",
)
def residuals_by_math():
    residuals = lambda p: [p[0] * math.exp(-p[1] * t) - y for t, y in zip(TIMES, DATA, strict=True)]  # noqa: E731
    scipy.optimize.least_squares(residuals, np.ones(2), jac=cotan.jacobian(residuals))


@instead(residuals_by_math)
def residuals_by_arrays():
    residuals = lambda p: p[0] * cnp.exp(-p[1] * TIMES) - DATA  # noqa: E731
    close(scipy.optimize.least_squares(residuals, np.ones(2), jac=cotan.jacobian(residuals)).x, [2.0, 3.0])


@says("np.linspace() needs it as a Python integer", "make n static: jit(model, static_argnames='n')")
def grid_of_a_jitted_size():
    @cotan.jit
    def model(p, n):
        return np.sum(p * np.linspace(0, 1, n))

    model(1.0, 20)


@instead(grid_of_a_jitted_size)
def grid_of_a_static_size():
    def model(p, n):
        return np.sum(p * np.linspace(0, 1, n))

    close(cotan.jit(model, static_argnames="n")(1.0, 20), 10.0)


@says(
    "np.arange() needs its value", "make n static: jit(model, static_argnames='n')", "cotan.numpy.where(cotan.numpy.arange(size) < n, a, 0)"
)
def numbers_of_a_jitted_size():
    @cotan.jit
    def model(p, n):
        return np.sum(p * np.arange(n))

    model(1.0, 20)


@instead(numbers_of_a_jitted_size)
def numbers_with_a_mask():
    model = cotan.jit(lambda p, n: cnp.sum(cnp.where(cnp.arange(30) < n, p * cnp.arange(30), 0)))
    close(model(1.0, 20), 190.0)


@says("np.arange() needs its value", "cotan.stop_gradient(x) in place of x", never="static")
def numbers_up_to_a_parameter():
    cotan.grad(lambda b: np.sum(b * np.arange(0.0, b, 0.5)))(1.0)


@instead(numbers_up_to_a_parameter)
def numbers_up_to_a_constant():
    close(cotan.grad(lambda b: np.sum(b * np.arange(0.0, cotan.stop_gradient(b), 0.5)))(1.0), 0.5)


@says("np.linspace() needs it as a Python integer", "but it is a float", "argnums", "int(n)", never="static")
def grid_of_a_size_under_grad():
    cotan.grad(lambda n: np.sum(n * np.linspace(0, 1, n)))(5)


@instead(grid_of_a_size_under_grad)
def grid_of_an_integer_under_grad():
    close(cotan.grad(lambda n: np.sum(n * np.linspace(0, 1, int(n))))(5), 2.5)


@says("(f'{x:.2f}')", "cotan.debug.print('{x:.3f}', x=x)", never="static")
def loss_that_prints():
    @cotan.jit
    def printing(p):
        print(f"loss at {p[0]:.3f}")  # noqa: T201
        return np.sum(p**2)

    scipy.optimize.minimize(cotan.value_and_grad(printing), np.ones(2), jac=True)


@instead(loss_that_prints)
def loss_that_prints_when_it_runs():
    @cotan.jit
    def printing(p):
        cotan.debug.print("{x:.3f}", x=p[0])
        return np.sum(p**2)

    close(scipy.optimize.minimize(cotan.value_and_grad(printing), np.ones(2), jac=True).x, 0.0)


@says("('%.2f' % x)", "cotan.debug.print")
def percent_under_jit():
    cotan.jit(lambda x: "%.3f" % x)(1.0)  # noqa: UP031


@says("np.array() would make a plain array of it", "cotan.numpy.array([a, b])", never="static")
def array_of_parameters():
    cotan.grad(lambda p: np.sum(np.array([p[0], p[1]]) ** 2))(np.ones(2))


@instead(array_of_parameters)
def traced_array_of_parameters():
    close(cotan.grad(lambda p: np.sum(cnp.array([p[0], p[1]]) ** 2))(np.ones(2)), 2.0)


@says("(a[i] = v)", "a.at[i].set(v)", "cotan.numpy.stack(values)", never="static")
def model_that_fills_an_array():
    def model(p):
        out = np.zeros(3)
        for k in range(3):
            out[k] = p[0] * k
        return np.sum(out)

    cotan.grad(model)(np.ones(2))


@instead(model_that_fills_an_array)
def model_that_makes_arrays():
    def model(p):
        out = cnp.asarray(np.zeros(3))
        for k in range(3):
            out = out.at[k].set(p[0] * k)
        return cnp.sum(out) + cnp.sum(cnp.stack([p[1] * k for k in range(3)]))

    close(cotan.grad(model)(np.ones(2)), 3.0)


@says("its truth is asked for", "cotan.numpy.where(condition, a, b)", "& | ~ for `and`", never="static")
def bounds_by_if():
    @cotan.jit
    def bounded(p):
        if p[0] < 0 or p[1] < 0:
            return np.inf
        return np.sum(p**2)

    scipy.optimize.minimize(cotan.value_and_grad(bounded), np.ones(2), jac=True)


@instead(bounds_by_if)
def bounds_by_where():
    bounded = cotan.jit(lambda p: cnp.where((p[0] < 0) | (p[1] < 0), np.inf, cnp.sum(p**2)))
    close(bounded(np.array([1.0, 2.0])), 5.0)


@says("np.random.normal() needs it as a plain number", "loc + scale * noise", never="static")
def random_numbers_of_a_traced_scale():
    cotan.jit(lambda w: np.random.normal(0.0, w))(1.0)  # noqa: NPY002


@says("rng.normal() needs it as a plain number", "loc + scale * noise", never="static")
def generator_of_a_traced_scale():
    rng = np.random.default_rng(0)
    cotan.grad(lambda w: np.sum(rng.normal(0.0, w, size=3)))(1.0)


@instead(generator_of_a_traced_scale)
def noise_as_an_argument():
    noise, order = RNG.normal(size=3), RNG.permutation(3)
    close(cotan.jit(cotan.grad(lambda w, noise, order: cnp.sum((w * noise)[order])))(1.0, noise, order), noise.sum())


@says("rng.normal() needs it as a Python integer, for a size", "make n static: jit(f, static_argnames='n')")
def random_numbers_of_a_traced_size():
    rng = np.random.default_rng(0)
    cotan.jit(lambda n: np.sum(rng.normal(size=n)))(3)


@says("scipy.stats.rv_continuous.logpdf cannot be traced", "cotan.numpy")
def likelihood_by_scipy_stats():
    cotan.grad(lambda p: -np.sum(scipy.stats.norm.logpdf(DATA, p[0], p[1])))(np.ones(2))


@says("args[1] is a DataFrame", "x.to_numpy()")
def table_as_an_argument():
    table = pytest.importorskip("pandas").DataFrame({"t": TIMES})
    cotan.jit(lambda p, table: np.sum(p * table["t"]))(1.0, table)


# ---- a hand-written ODE ---------------------------------------------------------------------------------------------------------
@says("scipy.integrate.solve_ivp cannot be traced", "cotan.lax.scan(step, y0, times)", never="implicit")
def gradient_of_solve_ivp():
    cotan.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: -k * y, (0, 1), np.ones(1)).y[0, -1])(2.0)


@instead(gradient_of_solve_ivp)
def gradient_of_steps():
    def last(k):
        return lax.scan(lambda y, t: (y - 1e-3 * k * y, None), 1.0, np.linspace(0, 1, 1000))[0]

    np.testing.assert_allclose(cotan.grad(last)(2.0), -np.exp(-2.0), rtol=1e-2)


@says("scipy.integrate.quad cannot be traced", "leggauss(n)", never="implicit")
def gradient_of_quad():
    cotan.grad(lambda a: scipy.integrate.quad(lambda x: np.exp(-a * x), 0, 1)[0])(1.0)


@instead(gradient_of_quad)
def gradient_of_a_quadrature():
    x, w = np.polynomial.legendre.leggauss(20)
    close(cotan.grad(lambda a: cnp.sum(w * cnp.exp(-a * x)))(0.0), 0.0)


def decay(k, n):
    y = 1.0
    for _ in range(n):
        y = y - 0.1 * k * y
    return y


@says(
    "range() needs it as a Python integer",
    "cotan.lax.fori_loop(0, n, lambda i, y: ..., y)",
    "make n static: jit(decay, static_argnames='n')",
)
def steps_of_a_jitted_number():
    cotan.jit(decay)(1.0, 10)


@instead(steps_of_a_jitted_number)
def steps_of_a_loop():
    loop = cotan.jit(lambda k, n: lax.fori_loop(0, n, lambda i, y: y - 0.1 * k * y, 1.0))
    close(loop(1.0, 10), 0.9**10)
    close(cotan.jit(decay, static_argnames="n")(1.0, 10), 0.9**10)


@says("range() needs it as a Python integer", "under vmap it stands for 3 values at once", "in_axes=None", never="static")
def steps_of_a_batched_number():
    cotan.vmap(decay)(np.ones(3), np.arange(3))


@instead(steps_of_a_batched_number)
def steps_of_a_batched_loop():
    loop = lambda k, n: lax.fori_loop(0, n, lambda i, y: y - 0.1 * k * y, 1.0)  # noqa: E731
    close(cotan.vmap(loop)(np.ones(3), np.arange(3)), 0.9 ** np.arange(3.0))
    close(cotan.vmap(decay, in_axes=(0, None))(np.ones(3), 2), 0.81)


@says("range() needs it as a Python integer", "but it is a float", "argnums", never="static")
def steps_of_a_differentiated_number():
    cotan.grad(decay, argnums=1)(1.0, 3)


@says("int() of it is asked for", "make T static: jit(solve, static_argnames='T')")
def steps_from_a_jitted_time():
    def solve(k, T):
        return decay(k, int(T / 0.1))

    cotan.jit(solve)(1.0, 1.0)


@instead(steps_from_a_jitted_time)
def steps_from_a_static_time():
    close(cotan.jit(lambda k, T: decay(k, int(T / 0.1)), static_argnames="T")(1.0, 0.5), 0.9**5)


@says("int() of it is asked for", "x.astype(int)", "in_axes=None", never="static")
def steps_from_a_batched_time():
    cotan.vmap(lambda T: decay(1.0, int(T / 0.1)))(np.ones(3))


@says("np.zeros() needs it as a Python integer", "make n static: jit(f, static_argnames='n')")
def array_of_a_jitted_size():
    cotan.jit(lambda k, n: np.sum(np.zeros(n)) * k)(1.0, 3)


@says("np.zeros() needs it as a Python integer", "in_axes=None", "cotan.numpy.where(cotan.numpy.arange(size) < n, a, 0)", never="static")
def array_of_a_batched_size():
    cotan.vmap(lambda n: np.zeros(n).sum())(np.arange(3))


@instead(array_of_a_batched_size)
def masked_array():
    close(cotan.vmap(lambda n: cnp.sum(cnp.where(cnp.arange(5) < n, 1.0, 0)))(np.arange(3)), [0, 1, 2])


@says("cnp.zeros() needs it as a Python integer", "make n static: jit(f, static_argnames='n')")
def array_of_cotan_of_a_jitted_size():
    cotan.jit(lambda n: cnp.zeros((n, 2)).sum())(3)


@says("x.reshape() needs it as a Python integer", "make n static: jit(f, static_argnames='n')")
def reshaped_to_a_jitted_size():
    cotan.jit(lambda x, n: x.reshape(n, 2).sum())(np.ones(6), 3)


@says("it is a bound of a slice", "cotan.numpy.where(cotan.numpy.arange(len(x)) < n, x, 0)", "make n static")
def slice_of_a_jitted_size():
    cotan.jit(lambda x, n: x[:n].sum())(np.ones(5), 3)


@instead(slice_of_a_jitted_size)
def masked_slice():
    close(cotan.jit(lambda x, n: cnp.where(cnp.arange(len(x)) < n, x, 0).sum())(np.ones(5), 3), 3.0)
    close(cotan.jit(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2))(np.arange(5.0), 3), [3.0, 4.0])
    close(cotan.jit(lambda x, n: x[:n].sum(), static_argnames="n")(np.ones(5), 3), 3.0)


@says("it is a bound of a slice", "under vmap", "in_axes=None", never="static")
def slice_of_a_plain_array_of_a_batched_size():
    cotan.vmap(lambda n: np.ones(5)[:n].sum())(np.arange(3))


@says("it is a bound of a slice", "but it is a float", never="static")
def slice_of_a_differentiated_size():
    cotan.grad(lambda n: np.sum(cnp.ones(5)[:n]) * n)(3.0)


@says("make a and b static: jit(f, static_argnames=('a', 'b'))")
def array_of_a_product_of_arguments():
    cotan.jit(lambda a, b: np.zeros(b * a).sum())(2, 3)


@says("make what it depends on an argument of its own, and static: jit(f, static_argnames=...)")
def array_of_a_size_in_a_dict():
    cotan.jit(lambda options: np.zeros(options["n"]).sum())({"n": 3})


@says("np.zeros() needs it as a Python integer", "arange(size) < n", never="static")
def array_of_a_count():
    cotan.jit(lambda x: np.zeros(cnp.sum(x > 0)).sum())(np.ones(4))


@says("np.zeros() needs it as a Python integer", "bind n before: functools.partial(f, n=...)")
def array_of_a_staged_size():
    cotan.stage(lambda n: np.zeros(n))(3)


@instead(array_of_a_staged_size)
def array_of_a_bound_size():
    close(cotan.stage(functools.partial(lambda x, n: x * np.ones(n), n=3))(2.0)(2.0)[0], 2.0)


@says("range() needs it as a Python integer", "bind n before: functools.partial(f, n=...)", never="static")
def steps_of_a_checkpoint():
    cotan.grad(lambda x: cotan.checkpoint(lambda x, n: sum(x * k for k in range(n)))(x, 3))(1.0)


@instead(steps_of_a_checkpoint)
def bound_steps_of_a_checkpoint():
    f = functools.partial(lambda x, n: sum(x * k for k in range(n)), n=3)
    close(cotan.grad(lambda x: cotan.checkpoint(f)(x))(1.0), 3.0)


@says("np.repeat() needs it as a Python integer", "make n static: jit(f, static_argnames='n')")
def repeated_by_a_jitted_number():
    cotan.jit(lambda x, n: np.repeat(x, n))(np.ones(3), 2)


@says("np.sum() needs it as a Python integer, for a size, an axis", "make k static: jit(f, static_argnames='k')")
def sum_along_a_jitted_axis():
    cotan.jit(lambda x, k: np.sum(x, axis=k))(np.ones((3, 2)), 1)


@says("np.float64() would make a plain number of it", "write x.astype(np.float64)", never="static")
def scalar_of_numpy():
    cotan.grad(lambda x: np.float64(x) * 2)(1.0)


@instead(scalar_of_numpy)
def scalar_by_astype():
    close(cotan.grad(lambda x: x.astype(np.float64) * 2)(1.0), 2.0)


@says("len() of unsized object", "under vmap the function gets one example")
def length_of_an_example():
    cotan.vmap(lambda x: len(x))(np.ones(3))


@says("xs[0] is a scalar", "cotan.numpy.array(xs)")
def scan_over_a_list_of_numbers():
    lax.scan(lambda c, x: (c + x, c), 0.0, [1.0, 2.0])


@instead(scan_over_a_list_of_numbers)
def scan_over_an_array():
    close(lax.scan(lambda c, x: (c + x, c), 0.0, cnp.array([1.0, 2.0]))[0], 3.0)


@says("(a[i] = v)", "a.at[i].set(v)")
def right_hand_side_that_fills_an_array():
    def rhs(t, y):
        dy = np.empty_like(y)
        dy[0], dy[1] = y[1], -y[0]
        return dy

    cotan.grad(lambda y: np.sum(rhs(0.0, y)))(np.ones(2))


# ---- a neural network -----------------------------------------------------------------------------------------------------------
@says("make training static: jit(forward, static_argnames='training')")
def flag_under_jit():
    @cotan.jit
    def forward(p, training):
        if training:
            p = p * 0.5
        return np.sum(p)

    forward(np.ones(3), True)


@instead(flag_under_jit)
def static_flag():
    forward = cotan.jit(lambda p, training: np.sum(p * 0.5 if training else p), static_argnames="training")
    close(forward(np.ones(3), True), 1.5)


@says("float() of it is asked for", "leave out float()", never="static")
def loss_as_a_float():
    cotan.value_and_grad(lambda p: float(np.sum(p**2)))(np.ones(3))


@says("its .item() is asked for", "leave out .item()", never="static")
def loss_as_an_item():
    cotan.value_and_grad(lambda p: np.sum(p**2).item())(np.ones(3))


@says("max() asks for its truth", "cotan.numpy.maximum(a, b)", never="static")
def rectifier_by_max():
    cotan.jit(lambda x: max(x, 0.0))(1.0)


@instead(rectifier_by_max)
def rectifier_by_maximum():
    close(cotan.jit(lambda x: cnp.maximum(x, 0.0))(-1.0), 0.0)


@says("sorted() asks for its truth", "cotan.numpy.sort(x)")
def sorted_under_jit():
    cotan.jit(lambda x: sorted(x)[1])(np.ones(3))


@says("it is looked for with `in`", "cotan.numpy.any(x == cotan.numpy.asarray(values))")
def membership_under_jit():
    cotan.jit(lambda x: 1.0 if x in (1.0, 2.0) else 0.0)(1.0)


@instead(membership_under_jit)
def membership_by_any():
    assert cotan.jit(lambda x: cnp.any(x == cnp.asarray((1.0, 2.0))))(2.0)


@says("math.isnan() needs it as a plain number", "cotan.numpy.isnan(...)")
def isnan_under_vmap():
    cotan.vmap(lambda x: math.isnan(x))(np.ones(3))


@says("math.lgamma() needs it as a plain number", "cotan.special.gammaln(...)")
def lgamma_under_grad():
    cotan.grad(lambda x: math.lgamma(x))(3.0)


@instead(lgamma_under_grad)
def gammaln_under_grad():
    close(cotan.grad(cotan.special.gammaln)(1.0), -np.euler_gamma)


@says("looked up in a dict", "cotan.numpy.asarray(values)[i]", "make i static: jit(f, static_argnames='i')")
def key_under_jit():
    cotan.jit(lambda i: {0: 1.0, 1: 2.0}[i])(1)


@says("index of a list or a tuple", "cotan.numpy.stack(values)[i]", "in_axes=None", never="static")
def layer_of_a_batched_number():
    layers = [np.ones(3), 2 * np.ones(3)]
    cotan.vmap(lambda i: layers[i].sum())(np.arange(2))


@instead(layer_of_a_batched_number)
def layer_of_a_stack():
    layers = [np.ones(3), 2 * np.ones(3)]
    close(cotan.vmap(lambda i: cnp.stack(layers)[i].sum())(np.arange(2)), [3.0, 6.0])
    close(cotan.jit(lambda i: lax.switch(i, [lambda: 1.0, lambda: 2.0]))(1), 2.0)


@says("cannot be changed in place", "x.at[i].set(v)")
def weights_in_place():
    def update(p):
        p["w"][0] = 0.0
        return p

    cotan.jit(update)({"w": np.ones(3)})


@says("cannot be deleted in place", "x = x[1:]")
def element_deleted():
    def f(x):
        del x[0]
        return x.sum()

    cotan.jit(f)(np.ones(3))


@says("np.random.permutation() needs it as a plain number", "x[order] with order = rng.permutation(n)")
def shuffle_under_jit():
    cotan.jit(lambda x: np.random.permutation(x).sum())(np.ones(3))  # noqa: NPY002


# ---- custom rules ---------------------------------------------------------------------------------------------------------------
def square_with(rule):
    f = cotan.custom_jvp(lambda x: x**2)
    f.defjvp(rule)
    return f


@says("it must return a pair (primal_out, tangent_out)", "return primal_out, tangent_out")
def rule_that_returns_a_tangent():
    cotan.grad(square_with(lambda primals, tangents: 2 * primals[0] * tangents[0]))(1.0)


@says("the derivative of", "d out[0] / d in[0] is 3, finite differences give 2", "work out the entry that is named")
def rule_of_a_wrong_factor():
    cotan.testing.check_rule(square_with(lambda primals, tangents: (primals[0] ** 2, 3 * primals[0] * tangents[0])), (1.0,))


@says("forward derivative of order 1", "finite differences give", "work out the entry that is named")
def rule_of_a_wrong_factor_for_check_grads():
    cotan.testing.check_grads(square_with(lambda primals, tangents: (primals[0] ** 2, 3 * primals[0] * tangents[0])), (1.0,), 1)


@says("the rule gives another value", "return the value of the function itself")
def rule_of_a_wrong_value():
    cotan.testing.check_rule(square_with(lambda primals, tangents: (primals[0] ** 3, 2 * primals[0] * tangents[0])), (2.0,))


@says("second order", "so that it can be differentiated itself")
def rule_without_second_derivative():
    slope = lambda p, t: (p[0] ** 2, 2 * cotan.stop_gradient(p[0]) * t[0])  # noqa: E731
    cotan.testing.check_rule(square_with(slope), (2.0,))


@says("args is a float, not a tuple", "check_rule(f, (x,))")
def check_at_a_number():
    cotan.testing.check_rule(np.sin, 1.0)


@instead(check_at_a_number)
def check_at_a_tuple():
    assert cotan.testing.check_rule(np.sin, (1.0,)).ok


@says("args[0] is a str", "close over it: check_rule(lambda x: f(x, 'sum'), (x,))")
def check_of_a_text():
    cotan.testing.check_rule(np.sin, ("sum",))


@says("check_rule takes a function", "check_rule(f, (x,))")
def check_of_a_value():
    cotan.testing.check_rule(np.sin(1.0), (1.0,))


# ---- jit with loops -------------------------------------------------------------------------------------------------------------
@says("must return a pair (carry, y), a tuple, not a float", "`return carry, y`")
def body_of_one_result():
    lax.scan(lambda y, t: y - 0.1 * y, 1.0, TIMES)


@says("not None (it has no `return`, perhaps)", "`return carry, None`")
def body_without_return():
    def step(y, t):
        y - 0.1 * y

    cotan.jit(lambda y: lax.scan(step, y, TIMES))(1.0)


@says("not a tuple of length 3", "`return (a, b), y`")
def body_of_three_results():
    cotan.jit(lambda y: lax.scan(lambda y, t: (y, y, t), y, TIMES))(1.0)


@instead(body_of_three_results)
def body_of_two_results():
    close(cotan.jit(lambda y: lax.scan(lambda c, t: ((c[0], c[1] + t), t), (y, 0.0), TIMES)[0][1])(1.0), TIMES.sum())


@says("scan: f, <lambda>", "is called with 2 arguments, but takes y", "def f(carry, x): ...; return carry, y")
def body_of_one_argument():
    lax.scan(lambda y: (y - 0.1 * y, y), 1.0, TIMES)


@says("fori_loop: body_fun, <lambda>", "is called with 2 arguments, but takes y", "def body(i, carry): ...; return carry")
def fori_body_of_one_argument():
    cotan.jit(lambda y: lax.fori_loop(0, 3, lambda y: y + 0.1, y))(1.0)


@says("is called with 1 argument, but takes i, y", "def body(carry): a, b = carry")
def while_body_of_two_arguments():
    cotan.jit(lambda y: lax.while_loop(lambda s: s[0] < 3, lambda i, y: (i + 1, y * 0.5), (0, y)))(1.0)


@says("is called with 1 argument, but takes i, y", "def condition(carry): a, b = carry")
def while_condition_of_two_arguments():
    lax.while_loop(lambda i, y: i < 3, lambda s: s, (0, 1.0))


@says("map: f, <lambda>", "is called with 1 argument, but takes a, b", "a, b = x")
def map_of_two_arguments():
    lax.map(lambda a, b: a * b, (TIMES, DATA))


@says("fori_loop: carry changes its type from int64[] to float64[] in halve (workflows.py", ".astype('int64')", never="scan")
def fori_carry_changes_dtype():
    def halve(i, y):
        return y * 0.5

    cotan.jit(lambda y: lax.fori_loop(0, 3, halve, y))(np.int64(1))


@says("fori_loop: carry changes its type from int64[] to float64[]", never="carry[1]")
def fori_carry_changes_dtype_for_a_traced_bound():
    cotan.jit(lambda y, n: lax.fori_loop(0, n, lambda i, y: y * 0.5, y))(np.int64(1), 3)


@says("carry changes its type from float64[1] to float64[2]", "collected as the y of scan")
def carry_that_grows():
    cotan.jit(lambda y: lax.while_loop(lambda s: cnp.sum(s) < 3, lambda s: cnp.concatenate([s, s]), y))(np.ones(1))


@says("then:  None (it has no `return`, perhaps)", "return a carry like the first, float64[]")
def fori_body_without_return():
    def body(i, y):
        y = y * 0.5

    lax.fori_loop(0, 3, body, 1.0)


@says("first: (float64[], {'a': float64[2]})", "then:  float64[]")
def carry_of_another_structure():
    cotan.jit(lambda y: lax.scan(lambda c, t: (t, None), (y, {"a": np.ones(2)}), TIMES))(1.0)


@says("true_fun", "returns (float64[], float64[])", "return the same tuples, lists, dicts and None in each branch")
def branches_of_different_numbers_of_results():
    cotan.jit(lambda x: lax.cond(x > 0, lambda x: (x, x), lambda x: x, x))(1.0)


@says("returns None (it has no `return`, perhaps)")
def branch_without_return():
    cotan.jit(lambda x: lax.cond(x > 0, lambda x: x, lambda x: None, x))(1.0)


@says("returns int64[]", ".astype('float64')", "0.0")
def branches_of_different_dtypes():
    cotan.jit(lambda x: lax.cond(x > 0, lambda x: x, lambda x: 0, x))(1.0)


@says("returns float64[2]", "cotan.numpy.full_like(y, value)")
def branches_of_different_shapes():
    cotan.jit(lambda x: lax.cond(x[0] > 0, lambda x: x, lambda x: 0.0, x))(np.ones(2))


@instead(branches_of_different_shapes)
def branches_of_one_shape():
    close(cotan.jit(lambda x: lax.cond(x[0] > 0, lambda x: x, lambda x: cnp.full_like(x, 0.0), x))(-np.ones(2)), 0.0)


@says("cond: true_fun, <lambda>", "is called with 0 arguments, but takes x", "lambda x: ... for cond(pred, f, g, x)")
def branches_without_operands():
    cotan.jit(lambda x: lax.cond(x > 0, lambda x: x, lambda x: -x))(1.0)


@says("switch: branches[1], <lambda>", "is called with 1 argument, but takes no arguments")
def switch_of_different_arguments():
    cotan.jit(lambda k, x: lax.switch(k, [lambda x: x, lambda: 0.0], x))(1, 1.0)


@says("the output of a branch is a str", "return numbers and arrays")
def branches_of_texts():
    cotan.jit(lambda x: lax.cond(x > 0, lambda x: "positive", lambda x: "negative", x))(1.0)


@says("traced by scan in step", "its truth is asked for", "cotan.lax.cond", never="static")
def if_in_a_body():
    def step(y, t):
        if t > 0.5:
            y = y * 0.5
        return y, y

    cotan.jit(lambda y: lax.scan(step, y, TIMES))(1.0)


@says("return what is to be collected as y: scan stacks the ys of all steps")
def values_appended_in_a_body():
    kept = []

    def step(y, t):
        kept.append(y)
        return y * 0.5, None

    cotan.jit(lambda y: lax.scan(step, y, TIMES))(1.0)
    np.stack(kept)


@instead(values_appended_in_a_body)
def values_collected_by_a_body():
    assert cotan.jit(lambda y: lax.scan(lambda y, t: (y * 0.5, y), y, TIMES)[1])(1.0).shape == (20,)

"""The derivative checks themselves: right derivatives of random functions pass, planted errors are found, kinks are found and reported."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.testing import NotSmoothWarning, RuleCheckError, check_grads, check_rule
from cotan.testing.numeric import FlatFunction, noise_of

from .random_functions import smooth_function

SAMPLE = range(40)
ALL = range(10_000)


def wrong_input(f):
    return int(np.random.default_rng(1).integers(f.n))


def with_error(f, size):
    """The function with a rule in which the derivative in one input is wrong by this."""
    wrong = np.ones(f.n)
    wrong[wrong_input(f)] += size
    g = cotan.custom_jvp(lambda x: f(x))
    g.defjvp(lambda primals, tangents: (f(primals[0]), cotan.jvp(f, primals, (tangents[0] * wrong,))[1]))
    return g


def alarms(seeds):
    found = []
    for seed in seeds:
        f = smooth_function(seed)
        try:
            assert not check_rule(f, (f.point,)).rough
        except RuleCheckError as error:
            found.append((seed, f.text, str(error)))
    return found


def missed(seeds, size):
    found, hidden = [], 0
    for seed in seeds:
        f = smooth_function(seed)
        try:
            check_rule(with_error(f, size), (f.point,), second_order=False, batching=False)
        except RuleCheckError:
            continue
        k = wrong_input(f)
        value, error, *_ = FlatFunction(lambda x, f=f: [f(x)], [f.point]).along(np.eye(f.n)[k])
        if (error < 0.01 * size * np.abs(value)).all():  # else the function's rounding hides it: where x changes it by 1e-8 of itself
            found.append(seed)
        else:
            hidden += 1
    assert hidden <= len(seeds) / 50
    return found


def test_right_derivatives_of_random_functions_raise_no_alarm():
    assert alarms(SAMPLE) == []


@pytest.mark.exhaustive
def test_right_derivatives_of_ten_thousand_random_functions_raise_no_alarm():
    assert alarms(ALL) == []


def test_an_error_of_a_millionth_is_found():
    assert missed(SAMPLE, 1e-6) == []


@pytest.mark.exhaustive
def test_an_error_of_a_millionth_is_found_in_a_thousand_random_functions():
    assert missed(ALL[::10], 1e-6) == []


@pytest.mark.parametrize(
    "f",
    [
        lambda x: cnp.sum(cnp.tanh(x) * cnp.exp(-(x**2))),
        lambda x: cnp.sum(cnp.tanh(cnp.outer(x, x) @ x)),
        lambda x: cnp.sum(cnp.sin(40 * x)),
    ],
)
def test_smooth_functions_on_a_line_of_points_pass(f):
    x = np.linspace(-1, 1, 5)
    assert check_rule(f, (x,)).ok
    check_grads(f, (x,), order=2)


# ---- the numerical derivative -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("f", "x", "exact"),
    [
        (np.sin, 0.7, np.cos(0.7)),
        (lambda x: np.sin(1e6 * x), 7e-7, 1e6 * np.cos(0.7)),
        (np.exp, 1e-9, np.exp(1e-9)),
        (np.exp, 0.0, 1.0),
        (lambda x: np.sin(50 * x), 1.0, 50 * np.cos(50.0)),
        (lambda x: (x + 1e8) - 1e8, 1.3, 1.0),
        (np.abs, 1e-9, 1.0),
        (lambda x: np.sqrt(x), 1e-8, 5e3),
        (lambda x: 1e-9 * np.cos(x), 2.0, -1e-9 * np.sin(2.0)),
        (lambda x: 0 * x + 3, 1.0, 0.0),
    ],
)
def test_the_error_of_a_numerical_derivative_is_less_than_it_says(f, x, exact):
    value, error, _, rough = FlatFunction(lambda v: [f(v)], [np.float64(x)]).along(np.ones(1))
    assert not rough
    assert abs(value[0] - exact) <= error[0] * 2
    assert error[0] <= 1e-7 * max(abs(exact), 1e-3)


def test_noise_is_measured():
    rng = np.random.default_rng(0)
    steps = np.linspace(0, 1e-6, 7)
    values = [np.array([np.sin(1 + s), np.sin(1 + s)]) + np.array([1e-10, 0]) * rng.normal() for s in steps]
    noisy, exact = noise_of(values)
    assert 5e-12 < noisy < 5e-10
    assert exact < 1e-15


# ---- kinks ------------------------------------------------------------------------------------------------------------------------
KINKS = {
    "abs": (cnp.abs, [0.0, 1.0, -2.0]),
    "max": (cnp.max, [1.0, 1.0, 0.0]),
    "sort": (lambda x: cnp.sort(x) * np.array([1.0, 2.0, 3.0]), [1.0, 1.0, 0.0]),
    "where": (lambda x: cnp.where(x > 0, x, 0.1 * x), [0.0, 1.0]),
    "a jump of where": (lambda x: cnp.where(x > 0, x, 1 + x), [0.0, 1.0]),
    "floor": (lambda x: cnp.floor(x) * x, [1.0, 0.5]),
    "norm": (cnp.linalg.norm, [0.0, 0.0, 0.0]),
    "clip": (lambda x: cnp.clip(x, 0, 1), [0.0, 1.0, 0.5]),
    "maximum": (lambda x: cnp.maximum(x, x[::-1]), [0.5, 1.0, 0.5]),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_said_and_not_counted_as_wrong(name):
    f, x = KINKS[name]
    with pytest.warns(NotSmoothWarning, match="kink|jumps"):
        check_grads(f, (np.array(x),), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotSmoothWarning)
        check_grads(f, (np.array(x),), 2)
    report = check_rule(f, (np.array(x),))
    assert report.ok
    assert "kink" in str(report) or "jumps" in str(report)


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8])
def test_a_step_across_a_kink_nearby_is_not_counted_as_wrong(distance):
    for f, x in KINKS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotSmoothWarning)
            check_grads(f, (np.array(x) + distance * np.arange(1.0, len(x) + 1),), 2)


def test_a_derivative_beyond_both_sides_of_a_kink_is_wrong():
    f = cotan.custom_jvp(lambda x: cnp.abs(x))
    f.defjvp(lambda p, t: (cnp.abs(p[0]), 1.5 * t[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotSmoothWarning)
        with pytest.raises(RuleCheckError):
            check_grads(f, (np.array([0.0]),), 1)
        with pytest.raises(RuleCheckError):
            check_rule(f, (np.array([0.0]),))


def test_a_kink_of_the_derivative_is_said_at_second_order():
    check_grads(lambda x: cnp.maximum(x, 0) ** 2, (np.array([0.0, 1.0]),), 1)
    with pytest.warns(NotSmoothWarning, match="order 2"):
        check_grads(lambda x: cnp.maximum(x, 0) ** 2, (np.array([0.0, 1.0]),), 2)


# ---- second order ----------------------------------------------------------------------------------------------------------------
def test_the_cotangent_is_varied_at_second_order():
    """A pullback whose value is right, and whose derivative in the cotangent is 1.001 times the right one."""
    pulled = cotan.custom_jvp(lambda x, g: cnp.cos(x) * g)
    pulled.defjvp(lambda p, t: (cnp.cos(p[0]) * p[1], -cnp.sin(p[0]) * p[1] * t[0] + 1.001 * cnp.cos(p[0]) * t[1]))
    f = cotan.custom_vjp(lambda x: cnp.sin(x))
    f.defvjp(lambda x: (cnp.sin(x), x), lambda x, g: (pulled(x, g),))
    x = np.array([0.3, -1.2])
    check_grads(f, (x,), 1, modes="rev")
    with pytest.raises(RuleCheckError, match="order 2"):
        check_grads(f, (x,), 2, modes="rev")

"""check_grads and check_rule: right derivatives pass, and each common mistake is named."""

from __future__ import annotations

import io

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import NonlinearTangentError
from cotan.testing import RuleCheckError, check_grads, check_rule

RNG = np.random.default_rng(0)
SQUARE, VECTOR = RNG.normal(size=(3, 3)), RNG.normal(size=3)
COMPLEX = RNG.normal(size=2) + 1j * RNG.normal(size=2)


def with_jvp(function, rule):
    f = cotan.custom_jvp(function)
    f.defjvp(lambda primals, tangents: (function(*primals), rule(*primals, *tangents)))
    return f


def with_vjp(function, bwd):
    f = cotan.custom_vjp(function)
    f.defvjp(lambda *xs: (function(*xs), xs), lambda xs, y_bar: bwd(*xs, y_bar))
    return f


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda x: cnp.sin(x) * x, (VECTOR,)),
        (lambda a, b: cnp.tanh(a @ b), (SQUARE, VECTOR)),
        (lambda p: {"s": p["w"].sum() * p["b"], "n": p["b"] ** 2}, ({"w": SQUARE, "b": 1.5},)),
        (lambda z: z * z + cnp.conj(z), (COMPLEX,)),
        (lambda z: cnp.real(cnp.exp(z)), (COMPLEX,)),
        (lambda x: x + 1j * x**2, (VECTOR,)),
        (lambda x, n: x**2 * n, (VECTOR, np.arange(3))),
        (lambda x: cnp.linalg.solve(SQUARE + 3 * np.eye(3), x), (VECTOR,)),
        (lambda x: cnp.sum(x * 2.0), (VECTOR.astype(np.float32),)),
        (lambda x: x.sum(), (np.zeros(0),)),
        (lambda x: cnp.outer(x, x), (RNG.normal(size=30),)),
    ],
)
def test_right_derivatives_pass(f, args):
    report = check_rule(f, args)
    assert report.ok
    assert max(report.checks.values()) <= 1
    check_grads(f, args, order=2)


WRONG = [
    ("a factor: the derivative is 2 times the right one", lambda: with_jvp(cnp.sin, lambda x, t: 2 * cnp.cos(x) * t), (VECTOR,)),
    ("a factor: the derivative is 1/2 times the right one", lambda: with_jvp(cnp.sin, lambda x, t: 0.5 * cnp.cos(x) * t), (VECTOR,)),
    ("a sign", lambda: with_jvp(cnp.cos, lambda x, t: cnp.sin(x) * t), (VECTOR,)),
    ("a missing transpose", lambda: with_vjp(lambda x: SQUARE @ x, lambda x, y_bar: (SQUARE @ y_bar,)), (VECTOR,)),
    ("complex conjugate", lambda: with_jvp(lambda z: z * z, lambda z, t: cnp.conj(2 * z * t)), (COMPLEX,)),
    ("the derivative is zero", lambda: with_jvp(cnp.sin, lambda x, t: 0.0 * t), (VECTOR,)),
    ("input", lambda: with_jvp(lambda x, y: x * y, lambda x, y, t, s: y * t), (2.0, 3.0)),
    ("a division by zero", lambda: with_jvp(lambda x: x**2, lambda x, t: t / 0.0), (VECTOR,)),
]


@pytest.mark.parametrize(("cause", "make", "args"), WRONG, ids=[cause for cause, _, _ in WRONG])
def test_each_mistake_is_named(cause, make, args):
    with pytest.raises(RuleCheckError) as caught:
        check_rule(make(), args)
    assert f"likely cause: {cause}" in str(caught.value) or cause in str(caught.value).partition("likely cause: ")[2]
    assert "finite differences give" in str(caught.value)


def test_the_wrong_entry_is_named():
    weights = np.array([1.0, 1.0, 3.0])
    with pytest.raises(RuleCheckError, match=r"d out\[2\] / d in\[2\]"):
        check_rule(with_jvp(lambda x: x * 1.0, lambda x, t: weights * t), (VECTOR,))


def test_rules_that_disagree_with_each_other_are_refused():
    f = cotan.custom_rules(
        cnp.sin,
        jvp=lambda p, t: (cnp.sin(p[0]), cnp.cos(p[0]) * t[0]),
        vjp=(lambda x: (cnp.sin(x), x), lambda x, y_bar: (2 * cnp.cos(x) * y_bar,)),
    )
    with pytest.raises(RuleCheckError, match="reverse"):
        check_rule(f, (VECTOR,))


def test_a_wrong_second_derivative_is_found():
    # The value of the first derivative is right, but it is hidden from the second.
    f = with_jvp(lambda x: x**3, lambda x, t: 3 * cotan.stop_gradient(x) ** 2 * t)
    check_rule(f, (VECTOR,), second_order=False)
    with pytest.raises(RuleCheckError, match="second order"):
        check_rule(f, (VECTOR,))
    with pytest.raises(RuleCheckError, match="order 2"):
        check_grads(f, (VECTOR,), order=2)


def test_a_nonlinear_rule_is_refused_before_any_number_is_compared():
    with pytest.raises(NonlinearTangentError):
        check_rule(with_jvp(cnp.sin, lambda x, t: cnp.cos(x) * t * t), (VECTOR,))


def test_check_grads_finds_a_wrong_derivative_in_the_mode_asked_for():
    f = cotan.custom_rules(
        cnp.sin,
        jvp=lambda p, t: (cnp.sin(p[0]), cnp.cos(p[0]) * t[0]),
        vjp=(lambda x: (cnp.sin(x), x), lambda x, y_bar: (2 * cnp.cos(x) * y_bar,)),
    )
    check_grads(f, (VECTOR,), 1, modes=["fwd"])
    check_grads(f, (VECTOR,), 1, modes="fwd", eps=1e-6)
    with pytest.raises(RuleCheckError, match="reverse"):
        check_grads(f, (VECTOR,), 1, modes=["rev"])


def test_a_rule_that_gives_another_value_than_its_function_is_found():
    f = cotan.custom_jvp(lambda x: x**2)
    f.defjvp(lambda p, t: (p[0] ** 2 + 1, 2 * p[0] * t[0]))
    g = cotan.custom_vjp(lambda x: x**2)
    g.defvjp(lambda x: (x**2 + 1, x), lambda x, y_bar: (2 * x * y_bar,))
    for h in (f, g):
        with pytest.raises(RuleCheckError, match="another value than the function"):
            check_rule(h, (VECTOR,))
        with pytest.raises(RuleCheckError, match="the value by"):
            check_grads(h, (VECTOR,), order=1)


def test_a_wrong_batching_rule_is_found():
    f = cotan.custom_rules(lambda x: x * 2, jvp=lambda p, t: (p[0] * 2, t[0] * 2), vmap=lambda size, batched, x: (x * 3, True))
    check_rule(f, (VECTOR,), batching=False)
    with pytest.raises(RuleCheckError, match="batching"):
        check_rule(f, (VECTOR,))


def test_integer_outputs_have_no_derivative_to_check():
    check_rule(lambda p: {"y": p["x"] ** 2 * p["n"], "n": p["n"]}, ({"x": VECTOR, "n": np.arange(3)},))


def test_a_conjugate_is_not_taken_for_a_transpose():
    for point in (COMPLEX, COMPLEX[0]):
        f = with_jvp(cnp.exp, lambda z, t: cnp.conj(cnp.exp(z)) * t)
        with pytest.raises(RuleCheckError, match="complex conjugate"):
            check_rule(f, (point,))


def test_rounding_of_a_long_sum_is_no_mistake():
    check_rule(lambda x: cnp.sin(x) * x.sum(), (np.linspace(0, 1, 200),))


@pytest.mark.parametrize("x", [0.9999, 1 - 1e-6])
def test_a_rule_is_checked_near_the_end_of_its_domain(x):
    assert check_rule(cnp.arcsin, (np.array([x]),)).ok


class Terminal(io.StringIO):
    def isatty(self):
        return True


def slowly(x):
    return sum(cnp.sin(x * k) for k in range(20)) @ np.ones((x.shape[0], 4))


def test_a_long_check_shows_its_progress_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("cotan.testing.progress.PATIENCE", 0.0)
    monkeypatch.setattr("cotan.testing.progress.PAUSE", 0.0)
    check_rule(slowly, (VECTOR,))
    states = stream.getvalue().split("\r")
    assert all(len(state) <= 79 and "\n" not in state for state in states)
    for text in (
        "check_rule of slowly: finite differences, 2 of 3",
        "forward mode, 3 of 3",
        "reverse mode, 4 of 4",
        "second order rev-rev",
    ):
        assert any(text in state for state in states)
    assert states[-2:] == [" " * 79, ""]  # the line is cleared
    with pytest.raises(RuleCheckError):
        check_rule(with_jvp(cnp.sin, lambda x, t: t), (VECTOR,))
    assert stream.getvalue().endswith(" \r")


def test_a_short_check_and_one_without_a_terminal_show_nothing(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    check_rule(cnp.sin, (1.0,))
    assert not stream.getvalue()
    plain = io.StringIO()
    monkeypatch.setattr("sys.stderr", plain)
    monkeypatch.setattr("cotan.testing.progress.PATIENCE", 0.0)
    check_rule(slowly, (VECTOR,))
    assert not plain.getvalue()

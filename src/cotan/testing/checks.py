"""check_grads and check_rule: is this derivative right?

`check_grads` is JAX's. `check_rule` asks for nothing but the function and a point: it finds the numerical derivatives with their own error
estimates, so it knows what tolerance is fair; compares every entry of the Jacobian in both modes; checks linearity, batching and second
derivatives in all four pairs of modes; and when something is wrong it says which entry, and what mistake would make it so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api.arguments import quiet
from ..api.differentiate import jvp, vjp
from ..api.vectorize import vmap
from ..core import tree
from ..core.errors import CotanError
from .numeric import FlatFunction, Vector, complex_as_real, real_as_complex

__all__ = ["Finding", "RuleCheckError", "RuleReport", "check_grads", "check_rule"]

MODES = ("fwd", "rev")
ENTRIES = 400
"""The largest Jacobian that is compared entry by entry; larger ones along random directions."""


class RuleCheckError(AssertionError, CotanError):
    """A derivative rule is wrong; the text says where and, if it can be seen, why."""


@dataclass(frozen=True)
class Finding:
    """One failed check: which, what differs, and the likely cause."""

    check: str
    what: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.what}" + (f"\n    likely cause: {self.cause}" if self.cause else "")


@dataclass(frozen=True)
class RuleReport:
    """What `check_rule` checked, with the largest error relative to its tolerance (below 1 is a pass)."""

    checks: dict[str, float]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        rows = [
            f"  {name:<24} {'ok' if margin <= 1 else 'WRONG':<6} error / tolerance = {margin:.2g}" for name, margin in self.checks.items()
        ]
        return "\n".join([*rows, *(f"  {f}" for f in self.findings)])


# ---- check_grads ---------------------------------------------------------------------------------------------------------
def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check derivatives of ``f`` at ``args`` against finite differences, up to ``order``, as JAX's check_grads.

    Args:
        f: a function of trees of arrays. args: a tuple of arguments. order: 1 for first derivatives, 2 for second, ...
        modes: "fwd", "rev" or both. atol, rtol: tolerances; by default from the dtype. eps: the step; by default found by extrapolation.

    Raises:
        RuleCheckError: a derivative is wrong.
    """
    names = (modes,) if isinstance(modes, str) else tuple(modes)
    rng = np.random.default_rng(0)
    check_order(f, tuple(args), order, names, atol, rtol, eps, rng)


def check_order(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    eps: float | None,
    rng: Any,
    reached: int = 1,
) -> None:
    """First derivatives in the given modes, then those of the derivative; ``reached``: of which order they are."""
    function = TreeFunction(f, args)
    direction = rng.standard_normal(function.flat.point.size)
    if eps is None:
        expected, error = function.flat.along(direction)
    else:
        up, down = function.flat(function.flat.point + eps * direction), function.flat(function.flat.point - eps * direction)
        expected, error = (up - down) / (2 * eps), np.zeros(up.shape)
    default = 1e-6 if function.flat.precision < 1e-10 else 2e-2
    tolerance = (default if atol is None else atol) + (default if rtol is None else rtol) * np.abs(expected) + 10 * error

    def compare(what: str, found: Vector, wanted: Vector, allowed: Vector) -> None:
        bad = ~(np.abs(found - wanted) <= allowed)
        if bad.any():
            k = int(np.argmax(bad))
            raise RuleCheckError(
                f"{what} derivative of order {reached}: entry {k} is {found.flat[k]:.9g}, finite differences give {wanted.flat[k]:.9g}."
            )

    value = function.flat(function.flat.point)
    close = default * (1 + np.abs(value))

    def compare_values(mode: str, found: Vector, wanted: Vector, allowed: Vector) -> None:
        bad = ~((np.abs(found - wanted) <= allowed) | (found == wanted) | (np.isnan(found) & np.isnan(wanted)))
        if bad.any():
            k = int(np.argmax(bad))
            raise RuleCheckError(f"the value by {mode} mode: entry {k} is {found[k]:.9g}, but the function gives {wanted[k]:.9g}.")

    if "fwd" in modes:
        compare_values("forward", function.value_by_jvp(), value, close)
        compare("forward", function.push(direction), expected, tolerance)
        if order > 1:
            tangent = function.tangent_trees(direction)
            check_order(lambda *xs: jvp(f, xs, tangent)[1], args, order - 1, modes, atol, rtol, eps, rng, reached + 1)
    if "rev" in modes:
        compare_values("reverse", function.value_by_vjp(), value, close)
        bar = rng.standard_normal(expected.size)
        pulled = function.pull(bar)
        compare("reverse", np.array([pulled @ direction]), np.array([bar @ expected]), np.array([np.abs(bar) @ tolerance]))
        if order > 1:
            cotangent = function.cotangent_tree(bar)
            check_order(lambda *xs: vjp(f, *xs)[1](cotangent), args, order - 1, modes, atol, rtol, eps, rng, reached + 1)


# ---- check_rule ----------------------------------------------------------------------------------------------------------
class TreeFunction:
    """A function of trees at a point, seen as a function of real vectors, with its derivatives by cotan."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any]):
        self.f = f
        self.leaves, self.spec = tree.flatten(tuple(args))
        self.leaves = [np.asarray(x, np.float64) if isinstance(x, int) and not isinstance(x, bool) else np.asarray(x) for x in self.leaves]
        self.args = tree.unflatten(self.spec, self.leaves)
        out = f(*self.args)
        self.out_leaves, self.out_spec = tree.flatten(out)
        self.flat = FlatFunction(lambda *xs: tree.leaves(f(*tree.unflatten(self.spec, xs))), self.leaves)

    def tangent_trees(self, direction: Vector) -> Any:
        # What has no derivative stays as it is: its tangent is zero.
        leaves = [x if x.dtype.kind in "fc" else np.zeros_like(x) for x in real_as_complex(direction, self.leaves)]
        return tree.unflatten(self.spec, leaves)

    def cotangent_tree(self, bar: Vector) -> Any:
        # The pairing is Re(sum(y_bar * y')): for the real pair (a, b) of a complex output, y_bar = a - ib.
        leaves = real_as_complex(bar, self.out_leaves)
        return tree.unflatten(self.out_spec, [np.conj(x) if x.dtype.kind == "c" else x for x in leaves])

    def push(self, direction: Vector) -> Vector:
        """The derivative along a direction, by forward mode."""
        dy = jvp(self.f, self.args, self.tangent_trees(direction))[1]
        return complex_as_real([d for d, y in zip(tree.leaves(dy), self.out_leaves, strict=True) if np.asarray(y).dtype.kind in "fc"])

    def value_by_jvp(self) -> Vector:
        """The value of the function as forward mode gives it."""
        return complex_as_real(tree.leaves(jvp(self.f, self.args, self.tangent_trees(np.zeros(self.flat.point.size)))[0]))

    def value_by_vjp(self) -> Vector:
        """The value of the function as reverse mode gives it."""
        return complex_as_real(tree.leaves(vjp(self.f, *self.args)[0]))

    def pull(self, bar: Vector) -> Vector:
        """The gradient of bar . f, by reverse mode."""
        x_bars = vjp(self.f, *self.args)[1](self.cotangent_tree(bar))
        leaves = tree.leaves(x_bars, is_leaf=lambda x: x is None)
        return complex_as_real([np.conj(x) if np.asarray(x).dtype.kind == "c" else x for x in leaves if x is not None])


def check_rule(f: Callable[..., Any], args: Sequence[Any], *, second_order: bool = True, batching: bool = True) -> RuleReport:
    """Check every derivative of ``f`` at ``args``: forward, reverse, linear, batched, and second order in all four pairs of modes.

    Args:
        f: a function with a rule of its own, or any function. args: a tuple of arguments at which it is smooth.
        second_order, batching: whether to check these.

    Returns:
        a report of what was checked, and how well it agreed.

    Raises:
        RuleCheckError: something is wrong: names the check, the entry of the Jacobian, both values, and the likely cause.
        NonlinearTangentError: the rule is not linear in its tangents.
    """
    with quiet():
        report = examine(f, args, second_order, batching)
    if not report.ok:
        raise RuleCheckError(f"the derivative of {getattr(f, '__name__', 'the function')} is wrong.\n\n{report}")
    return report


def examine(f: Callable[..., Any], args: Sequence[Any], second_order: bool, batching: bool) -> RuleReport:
    """What `check_rule` reports, right or wrong."""
    function = TreeFunction(f, args)
    n, m = function.flat.point.size, function.flat(function.flat.point).size
    rng = np.random.default_rng(0)
    whole = n * m <= ENTRIES
    directions = np.eye(n) if whole else rng.standard_normal((4, n))
    bars = np.eye(m) if whole else rng.standard_normal((4, m))
    margins: dict[str, float] = {}
    findings: list[Finding] = []

    numeric = [function.flat.along(d) for d in directions]
    expected = np.array([d for d, _ in numeric]).reshape(len(directions), m)
    error = np.array([e for _, e in numeric]).reshape(len(directions), m)
    allowed = 20 * error + 1e3 * function.flat.precision * (1 + np.abs(expected))

    entry_name = "d out[{i}] / d in[{j}]" if whole else "output {i} along random direction {j}"
    complex_valued = any(np.asarray(x).dtype.kind == "c" for x in (*function.leaves, *function.out_leaves))

    def record(
        check: str,
        found: np.ndarray[Any, Any],
        wanted: np.ndarray[Any, Any],
        tolerance: np.ndarray[Any, Any],
        entry: str = entry_name,
        reference: str = "finite differences give",
        cause: str | None = None,
    ) -> bool:
        with np.errstate(all="ignore"):
            ratio = np.abs(found - wanted) / tolerance
        ratio = np.where(np.isnan(ratio) & ~(np.isnan(found) & np.isnan(wanted)), np.inf, np.nan_to_num(ratio, nan=0.0, posinf=np.inf))
        margins[check] = float(ratio.max(initial=0.0))
        if margins[check] <= 1:
            return True
        j, i = np.unravel_index(int(ratio.argmax()), ratio.shape)
        findings.append(
            Finding(
                check,
                f"{entry.format(i=i, j=j)} is {found[j, i]:.9g}, {reference} {wanted[j, i]:.9g}",
                likely_cause(found, wanted, tolerance, complex_valued, whole) if cause is None else cause,
            )
        )
        return False

    value = function.flat(function.flat.point)[None]
    close = 1e3 * function.flat.precision * (1 + np.abs(value))
    for check, found in ("value, forward", function.value_by_jvp()), ("value, reverse", function.value_by_vjp()):
        record(check, found[None], value, close, "out[{i}]", "the function gives", "the rule gives another value than the function")
    forward = np.array([function.push(d) for d in directions]).reshape(len(directions), m)
    forward_ok = record("forward", forward, expected, allowed)
    backward = np.array([function.pull(b) for b in bars]).reshape(len(bars), n)
    if whole:
        reverse_ok = record("reverse", backward.T, expected, allowed)
    else:
        reverse_ok = record("reverse", directions @ backward.T, expected @ bars.T, allowed @ np.abs(bars.T))
    pairing = directions @ backward.T - forward @ bars.T
    scale = 1e3 * function.flat.precision * (1 + np.abs(forward) @ np.abs(bars.T)) * max(n, m, 1)
    if forward_ok != reverse_ok or (not forward_ok and (np.abs(pairing) > scale).any()):
        record("transpose", directions @ backward.T, forward @ bars.T, scale, "<J^T y_bar, x'>[{j}, {i}]", "<y_bar, J x'> is")
    if n:
        a, b = rng.standard_normal(n), rng.standard_normal(n)
        total, parts = function.push(a + 2 * b)[None], (function.push(a) + 2 * function.push(b))[None]
        record("linearity", total, parts, 1e4 * function.flat.precision * (1 + np.abs(parts)))
    if forward_ok and reverse_ok:
        if batching:
            check_batching(function, rng, record)
        if second_order and n and m:
            check_second_order(function, rng, record)
    return RuleReport(margins, tuple(findings))


Record = Callable[..., bool]


def check_batching(function: TreeFunction, rng: Any, record: Record) -> None:
    """vmap of the function, and of its derivative, against a loop over perturbed points."""
    points = [function.flat.point + 0.01 * rng.standard_normal(function.flat.point.size) for _ in range(3)]
    trees = [tree.unflatten(function.spec, real_as_complex(p, function.leaves)) for p in points]
    stacked = tree.map(lambda *xs: np.stack(xs), *trees)
    direction = function.tangent_trees(rng.standard_normal(function.flat.point.size))

    def along(*xs: Any) -> Any:
        return jvp(function.f, xs, direction)

    batched, one_by_one = vmap(along)(*stacked), [along(*t) for t in trees]
    compare_batches("batching", batched, one_by_one, function, record)
    compare_batches("batching, value", vmap(function.f)(*stacked), [function.f(*t) for t in trees], function, record)


def compare_batches(check: str, batched: Any, one_by_one: Sequence[Any], function: TreeFunction, record: Record) -> None:
    """Record how well a batch agrees with its examples one by one."""
    wanted = np.array([complex_as_real(tree.leaves(y)) for y in one_by_one])
    rows = [tree.map(lambda y, k=k: np.asarray(y)[k], batched) for k in range(len(one_by_one))]
    found = np.array([complex_as_real(tree.leaves(y)) for y in rows])
    tolerance = 1e4 * function.flat.precision * (1 + np.abs(wanted))
    record(check, found, wanted, tolerance, "output {i} of example {j}", "alone it is", "a batching rule is wrong")


def check_second_order(function: TreeFunction, rng: Any, record: Record) -> None:
    """The derivative of bar . J d along another direction, by the four pairs of modes, against differences of the first derivative."""
    n = function.flat.point.size
    d, e = rng.standard_normal(n), rng.standard_normal(n)
    bar = rng.standard_normal(function.flat(function.flat.point).size)
    d_tree, e_tree, bar_tree = function.tangent_trees(d), function.tangent_trees(e), function.cotangent_tree(bar)
    f = function.f

    inexact = [np.asarray(y).dtype.kind in "fc" for y in function.out_leaves]
    bar_list = [y_bar for y_bar, i in zip(tree.leaves(bar_tree), inexact, strict=True) if i]

    def pushed(*xs: Any) -> list[Any]:
        return [dy for dy, i in zip(tree.leaves(jvp(f, xs, d_tree)[1]), inexact, strict=True) if i]

    def pulled(*xs: Any) -> Any:
        return vjp(f, *xs)[1](bar_tree)

    first = TreeFunction(pushed, function.args)
    wanted_vector, error = first.flat.along(e)
    wanted = float(bar @ wanted_vector)
    tolerance = np.array(
        [[20 * float(np.abs(bar) @ error) + 1e5 * function.flat.precision * (1 + float(np.abs(bar) @ np.abs(wanted_vector)))]]
    )

    def pair_bars(x_bars: Any, direction: Vector) -> float:
        leaves = [x for x in tree.leaves(x_bars, is_leaf=lambda x: x is None) if x is not None]
        return float(complex_as_real([np.conj(x) if np.asarray(x).dtype.kind == "c" else x for x in leaves]) @ direction)

    rev_fwd = vjp(pushed, *function.args)[1](bar_list)
    pulled_out, pull_pulled = vjp(pulled, *function.args)
    # <x_bar, d> = Re(sum(x_bar * d)), so the cotangent of ``pulled``'s output that picks its component along d is d itself.
    seed = tree.unflatten(tree.structure(pulled_out), [x for x in tree.leaves(d_tree) if np.asarray(x).dtype.kind in "fc"])
    values = {
        "second order fwd-fwd": float(bar @ complex_as_real(tree.leaves(jvp(pushed, function.args, e_tree)[1]))),
        "second order rev-fwd": pair_bars(rev_fwd, e),
        "second order fwd-rev": pair_bars(jvp(pulled, function.args, e_tree)[1], d),
        "second order rev-rev": pair_bars(pull_pulled(seed), e),
    }
    for name, value in values.items():
        record(name, np.array([[value]]), np.array([[wanted]]), tolerance, "the derivative along two random directions")


def likely_cause(
    found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], tolerance: np.ndarray[Any, Any], complex_valued: bool, whole: bool
) -> str:
    """The mistake that would turn the right Jacobian into this one, if it is a common one.

    ``complex_valued``: numbers may be pairs (real, imaginary). ``whole``: the rows are inputs, not random directions.
    """

    def matches(candidate: np.ndarray[Any, Any], allowed: np.ndarray[Any, Any] = tolerance) -> bool:
        return candidate.shape == found.shape and bool(np.all(np.abs(found - candidate) <= 4 * allowed))

    if not np.isfinite(found).all():
        return "the rule gives inf or nan here: a division by zero, perhaps, where a limit exists"
    if matches(-wanted):
        return "a sign: the derivative is minus the right one"
    if complex_valued and found.shape[1] % 2 == 0 and (not whole or found.shape[0] % 2 == 0):
        outputs, inputs = wanted.copy(), wanted.copy()
        outputs[:, 1::2] *= -1
        inputs[1::2] *= -1
        both = outputs.copy()
        both[1::2] *= -1
        if matches(outputs) or (whole and (matches(inputs) or matches(both))):
            return "a missing or superfluous complex conjugate"
    if whole and found.shape[0] == found.shape[1] and found.shape[0] > 1 and matches(wanted.T, np.maximum(tolerance, tolerance.T)):
        return "a missing transpose: the Jacobian is the transpose of the right one"
    if matches(np.zeros_like(wanted)):
        return "the derivative is zero: a term is missing, or the value was taken out of the trace (stop_gradient, float, NumPy)"
    for factor, text in (
        (2.0, "2"),
        (0.5, "1/2"),
        (4.0, "4"),
        (0.25, "1/4"),
        (-2.0, "-2"),
        (-0.5, "-1/2"),
        (np.pi, "pi"),
        (1 / np.pi, "1/pi"),
    ):
        if matches(factor * wanted):
            return f"a factor: the derivative is {text} times the right one"
    wrong = np.abs(found - wanted) > tolerance
    rows, columns = np.nonzero(wrong.any(1))[0], np.nonzero(wrong.any(0))[0]
    if whole and len(rows) < found.shape[0]:
        return f"only derivatives in input{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:6]))} are wrong"
    if len(columns) < found.shape[1]:
        return f"only derivatives of output{'s' * (len(columns) > 1)} {', '.join(map(str, columns[:6]))} are wrong"
    return ""

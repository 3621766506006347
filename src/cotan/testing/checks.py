"""check_rule: a test of the derivatives of a function at a point.

It needs the function and a point only. It computes numerical derivatives with error bounds, and measures the rounding errors of the
derivatives under test; both give the tolerances. It compares every entry of the Jacobian in both modes, and checks linearity, batching and
second derivatives in all four pairs of modes. A report of an error names the entry, and a mistake that would explain it. At a kink or a
jump of the function, where no derivative is right or wrong, it warns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable
from ..api.differentiate import jvp, vjp
from ..api.vectorize import vmap
from ..core import tree
from ..core.origin import describe_function
from ..ops.failing import quiet
from .findings import Finding, RuleReport, between, told, tuple_of_arguments, wrong_derivative
from .numeric import GOOD, Estimate, Vector, complex_as_real, real_as_complex
from .progress import Progress
from .trees import TreeFunction

__all__ = ["check_rule"]

SAFE = 30
"""The factor by which estimated errors may be exceeded."""
ENTRIES = 400
"""The most entries of a Jacobian that is compared entry by entry; larger ones are compared along random directions."""


@boundary
def check_rule(f: Callable[..., Any], args: Sequence[Any], *, second_order: bool = True, batching: bool = True) -> RuleReport:
    """Check every derivative of ``f`` at ``args``: forward, reverse, linear, batched, and second order in all four pairs of modes.

    A check that takes more than a second shows its progress on a terminal.

    Args:
        f: a function with a rule of its own, or any function. args: a tuple of arguments at which it is smooth.
        second_order, batching: whether to check these.

    Returns:
        a report of the checks and of the agreement that they found.

    Raises:
        RuleCheckError: a check fails. The error names the check, the entry of the Jacobian, both values, and the likely cause.
        NonlinearTangentError: the rule is not linear in its tangents.
        ArgumentTypeError: ``args`` is not a tuple of trees of arrays.
    """
    check_callable("check_rule", f)
    with quiet(), Progress(f"check_rule of {getattr(f, '__name__', 'the function')}") as progress:
        report = examine(f, tuple_of_arguments("check_rule", args), second_order, batching, progress)
    if not report.ok:
        raise wrong_derivative(f"the derivative of {describe_function(f)} is wrong.", report.findings[0].check, str(report))
    return report


def examine(f: Callable[..., Any], args: Sequence[Any], second_order: bool, batching: bool, progress: Progress) -> RuleReport:
    """The report of `check_rule`, with or without failures."""
    function = TreeFunction(f, args)
    n, m = function.flat.point.size, function.flat(function.flat.point).size
    rng = np.random.default_rng(0)
    whole = n * m <= ENTRIES
    directions = np.eye(n) if whole else function.directions(rng, 4)
    bars = np.eye(m) if whole else rng.standard_normal((4, m))
    margins: dict[str, float] = {}
    findings: list[Finding] = []

    precision = function.flat.precision
    estimates = [function.flat.along(d) for d in progress.over(directions, "finite differences")]
    expected, allowed = compared_with(estimates, precision, m)
    rough = tuple(f"along direction {k}: {told(e)}" for k, e in enumerate(estimates) if e.rough.any())

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
        rounding: Callable[[], Vector] | None = None,
    ) -> bool:
        """Whether these agree. ``rounding`` measures the errors of the computed values; it is called if they do not agree without them."""
        progress.show(check)
        tolerance = tolerance + function.flat.least
        with np.errstate(all="ignore"):
            if rounding is not None and not (np.abs(found - wanted) <= tolerance).all():
                tolerance = tolerance + SAFE * rounding().reshape(tolerance.shape)
            ratio = np.where(found == wanted, 0.0, np.abs(found - wanted) / tolerance)
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

    def forward_at(place: TreeFunction) -> Vector:
        return np.array([place.push(d) for d in progress.over(directions, "forward mode")]).reshape(len(directions), m)

    def pull_at(place: TreeFunction) -> Vector:
        return np.array([place.pull(b) for b in progress.over(bars, "reverse mode")]).reshape(len(bars), n)

    value = function.flat(function.flat.point)[None]
    close = 1e3 * precision * np.abs(value)
    for check, found in ("value, forward", TreeFunction.value_by_jvp), ("value, reverse", TreeFunction.value_by_vjp):
        record(
            *(check, found(function)[None], value, close, "out[{i}]", "the function gives"),
            "the rule gives another value than the function",
            lambda found=found: function.noise(found) + function.noise(lambda place: place.flat(place.flat.point)),
        )
    forward, backward = forward_at(function), pull_at(function)
    forward_ok = record("forward", forward, expected, allowed, rounding=lambda: function.noise(forward_at))
    if whole:
        reverse_ok = record("reverse", backward.T, expected, allowed, rounding=lambda: function.noise(lambda place: pull_at(place).T))
    else:
        reverse_ok = record(
            *("reverse", directions @ backward.T, expected @ bars.T, weighted(allowed, np.abs(bars.T))),
            rounding=lambda: function.noise(lambda place: directions @ pull_at(place).T),
        )
    check_transpose(function, (directions, bars), (forward, backward), (forward_ok, reverse_ok), record)
    if n:
        check_linearity(function, rng, record)
    if forward_ok and reverse_ok:
        if batching:
            check_batching(function, rng, record)
        if second_order and n and m:
            check_second_order(function, rng, record)
    return RuleReport(margins, tuple(findings), rough)


def compared_with(estimates: Sequence[Estimate], precision: float, size: int) -> tuple[Vector, Vector]:
    """The expected derivatives, a row for each direction, and the largest error that a derivative may have; infinite at a jump."""
    ranges = [between(e, SAFE * e.error + 100 * precision * np.abs(e.value)) for e in estimates]
    low, high = (np.array([r[side] for r in ranges]).reshape(len(estimates), size) for side in (0, 1))
    jumping = np.isinf(high)
    return np.where(jumping, 0.0, (low + high) / 2), np.where(jumping, np.inf, (high - low) / 2)


def weighted(matrix: Vector, vectors: Vector) -> Vector:
    """The matrix product; infinite where an infinite factor is not multiplied by zero."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(matrix[..., None] * vectors, nan=0.0, posinf=np.inf).sum(-2)


Record = Callable[..., bool]


def check_transpose(
    function: TreeFunction, vectors: tuple[Vector, Vector], found: tuple[Vector, Vector], right: tuple[bool, bool], record: Record
) -> None:
    """Whether the two modes agree, if one of them is wrong."""
    (directions, bars), (forward, backward) = vectors, found
    pulled, pushed = directions @ backward.T, forward @ bars.T
    sizes = np.abs(directions) @ np.abs(backward.T) + np.abs(forward) @ np.abs(bars.T)
    tolerance = 1e3 * function.flat.precision * sizes * max(directions.shape[1], bars.shape[1], 1)
    if right[0] != right[1] or (not right[0] and (np.abs(pulled - pushed) > tolerance).any()):
        record("transpose", pulled, pushed, tolerance, "<J^T y_bar, x'>[{j}, {i}]", "<y_bar, J x'> is")


def check_linearity(function: TreeFunction, rng: Any, record: Record) -> None:
    """The derivative along a + 2b against the derivatives along a and b."""
    a, b = function.directions(rng, 2)
    total, first, second = function.push(a + 2 * b)[None], function.push(a)[None], 2 * function.push(b)[None]
    record(
        *("linearity", total, first + second, 1e4 * function.flat.precision * (np.abs(first) + np.abs(second))),
        rounding=lambda: function.noise(lambda place: place.push(a + 2 * b)) + function.noise(lambda place: place.push(a)),
    )


def check_batching(function: TreeFunction, rng: Any, record: Record) -> None:
    """vmap of the function, and of its derivative, against a loop over perturbed points."""
    points = [function.flat.point + 0.01 * d for d in function.directions(rng, 3)]
    trees = [tree.unflatten(function.spec, real_as_complex(p, function.leaves)) for p in points]
    stacked = tree.map(lambda *xs: np.stack(xs), *trees)
    direction = function.tangent_trees(function.directions(rng, 1)[0])

    def along(*xs: Any) -> Any:
        return jvp(function.f, xs, direction)

    batched, one_by_one = vmap(along)(*stacked), [along(*t) for t in trees]
    places = [function.at(p) for p in points]
    compare_batches("batching", batched, one_by_one, places, lambda place: complex_as_real(tree.leaves(along(*place.args))), record)
    values = [function.f(*t) for t in trees]
    compare_batches("batching, value", vmap(function.f)(*stacked), values, places, lambda place: place.flat(place.flat.point), record)


def compare_batches(
    check: str,
    batched: Any,
    one_by_one: Sequence[Any],
    places: Sequence[TreeFunction],
    alone: Callable[[TreeFunction], Vector],
    record: Record,
) -> None:
    """Record how well a batch agrees with its examples one by one."""
    wanted = np.array([complex_as_real(tree.leaves(y)) for y in one_by_one])
    rows = [tree.map(lambda y, k=k: np.asarray(y)[k], batched) for k in range(len(one_by_one))]
    found = np.array([complex_as_real(tree.leaves(y)) for y in rows])
    tolerance = 1e4 * places[0].flat.precision * np.abs(wanted)

    def rounding() -> Vector:
        return 10 * np.array([place.noise(alone) for place in places])

    record(check, found, wanted, tolerance, "output {i} of example {j}", "alone it is", "a batching rule is wrong", rounding)


def check_second_order(function: TreeFunction, rng: Any, record: Record) -> None:
    """The derivative of bar . J d along another direction, by the four pairs of modes, against differences of the first derivative."""
    d, e = function.directions(rng, 2)
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
    estimate = first.flat.along(e, first.noise(lambda place: place.flat(place.flat.point)))
    low, high = between(estimate, SAFE * estimate.error + max(GOOD, 1e3 * function.flat.precision) * np.abs(estimate.value))
    wanted = float(np.where(np.isinf(high), 0.0, bar * (low + high) / 2).sum())
    tolerance = np.array([[float(np.abs(bar) @ ((high - low) / 2)) if np.isfinite(high).all() else np.inf]])

    def pair_bars(x_bars: Any, direction: Vector) -> float:
        leaves = [x for x in tree.leaves(x_bars, is_leaf=lambda x: x is None) if x is not None]
        return float(complex_as_real([np.conj(x) if np.asarray(x).dtype.kind == "c" else x for x in leaves]) @ direction)

    def pull_back(args: Sequence[Any]) -> Any:
        # <x_bar, d> = Re(sum(x_bar * d)), so the cotangent of the output of ``pulled`` that selects its component along d is d itself.
        pulled_out, pull_pulled = vjp(pulled, *args)
        return pull_pulled(tree.unflatten(tree.structure(pulled_out), [x for x in tree.leaves(d_tree) if np.asarray(x).dtype.kind in "fc"]))

    pairs: dict[str, Callable[[Sequence[Any]], float]] = {
        "second order fwd-fwd": lambda args: float(bar @ complex_as_real(tree.leaves(jvp(pushed, args, e_tree)[1]))),
        "second order rev-fwd": lambda args: pair_bars(vjp(pushed, *args)[1](bar_list), e),
        "second order fwd-rev": lambda args: pair_bars(jvp(pulled, args, e_tree)[1], d),
        "second order rev-rev": lambda args: pair_bars(pull_back(args), e),
    }
    for name, pair in pairs.items():
        found = np.array([[pair(function.args)]])
        record(
            *(name, found, np.array([[wanted]]), tolerance, "the derivative along two random directions"),
            rounding=lambda pair=pair: function.noise(lambda place: np.array([pair(place.args)])),
        )


def likely_cause(
    found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], tolerance: np.ndarray[Any, Any], complex_valued: bool, whole: bool
) -> str:
    """The mistake that would turn the right Jacobian into this one, if it is a common one. ``complex_valued``: numbers may be pairs (real,
    imaginary). ``whole``: the rows are inputs, not random directions.
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

"""The law of the surface: a function of cotan.numpy equals NumPy's, eager, under vjp, jit and vmap, in results and in refusals.

Results agree in value, dtype and shape. Arguments are drawn from NumPy's own signatures (`arguments`). Intended differences are listed in
`DIFFERENCES`, with the reason; keywords of NumPy that cotan does not take are in a table of docs/names.md, which is read here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError, TracerConversionError, UnsupportedFunctionError

from .arguments import NOT_DRAWN, OF_FUNCTION, OF_PARAMETER, Call, calls, functions
from .outcomes import COMPILED, WAYS, Outcome, disagreement, operands_of, outcome, plainly, size_and_precision
from .recipes import Operand, bare

NAMES = Path(__file__).resolve().parents[2] / "docs" / "names.md"
FUNCTIONS = {name: pair for name, pair in functions().items() if name not in NOT_DRAWN}
FEW, MANY = range(40), range(40, 400)


# ---- keywords that are not taken ---------------------------------------------------------------------------------------------
def untaken() -> dict[str, set[str]]:
    """The keywords that docs/names.md says are not taken, by function; those of all functions under ``*``, of ufuncs under ``ufuncs``."""
    section = NAMES.read_text().partition("## Keywords of NumPy that are not taken")[2].partition("\n## ")[0]
    table: dict[str, set[str]] = {}
    for keyword, where in re.findall(r"^\| `(\w+)=` \| ([^|]+) \|", section, re.MULTILINE):
        for name in re.findall(r"[\w.]+", where.replace("all functions", "*")) or ["*"]:
            table.setdefault("*" if "all functions" in where else name, set()).add(keyword)
    return table


UNTAKEN = untaken()


def is_untaken(name: str, keyword: str) -> bool:
    kind = "ufuncs" if isinstance(FUNCTIONS[name][0], np.ufunc) else name
    return keyword in UNTAKEN.get("*", ()) or keyword in UNTAKEN.get(kind, ()) or keyword in UNTAKEN.get(name, ())


# ---- where cotan is meant to differ ----------------------------------------------------------------------------------------------
class Difference(NamedTuple):
    """A difference that is meant: of these functions, where ``holds(call, way, got, expected)``."""

    names: str
    why: str
    holds: Callable[[Call, str, Outcome, Outcome], bool]


def refuses(kinds: type | tuple[type, ...], text: str = "") -> Callable[[Call, str, Outcome, Outcome], bool]:
    """cotan refuses, with such an error, what NumPy takes; not eagerly."""
    return lambda call, way, got, expected: way != "eager" and isinstance(got, kinds) and re.search(text, str(got)) is not None


def takes(text: str, *, eager: bool = False) -> Callable[[Call, str, Outcome, Outcome], bool]:
    """cotan takes what NumPy refuses with such an error."""
    return lambda call, way, got, expected: (
        (eager or way != "eager")
        and isinstance(expected, Exception)
        and re.search(text, f"{type(expected).__name__}: {expected}") is not None
    )


def gives_other_values(call: Call, way: str, got: Outcome, expected: Outcome) -> bool:
    """Both give results; shapes and dtypes agree."""
    if isinstance(got, Exception) or isinstance(expected, Exception) or len(got) != len(expected):
        return False
    return all(np.shape(g) == np.shape(e) and np.asarray(g).dtype == np.asarray(e).dtype for g, e in zip(got, expected, strict=True))


def traced(holds: Callable[[Call], bool]) -> Callable[[Call, str, Outcome, Outcome], bool]:
    """Other results of calls of some kind, not eagerly."""
    return lambda call, way, got, expected: (
        way != "eager" and not isinstance(got, Exception) and not isinstance(expected, Exception) and holds(call)
    )


def compiled(holds: Callable[[Outcome], bool]) -> Callable[[Call, str, Outcome, Outcome], bool]:
    return lambda call, way, got, expected: way == "compiled" and holds(expected)


def signs_alone(call: Call, way: str, got: Outcome, expected: Outcome) -> bool:
    """The magnitudes of the compiled results are NumPy's."""
    if way != "compiled" or isinstance(got, Exception) or isinstance(expected, Exception):
        return False
    return not disagreement([abs(y) for y in got], [abs(y) for y in expected], size_and_precision(call))


def in_another_dtype(call: Call, way: str, got: Outcome, expected: Outcome) -> bool:
    """The traced results are NumPy's, but complex."""
    if way == "eager" or isinstance(got, Exception) or isinstance(expected, Exception):
        return False
    return not disagreement(got, [np.asarray(e, np.asarray(g).dtype) for g, e in zip(got, expected, strict=True)], size_and_precision(call))


def nan_for_an_error(call: Call, way: str, got: Outcome, expected: Outcome) -> bool:
    """A traced result has a nan, where NumPy raises the error of linear algebra."""
    if way == "eager" or isinstance(got, Exception) or not isinstance(expected, np.linalg.LinAlgError):
        return False
    return any(np.isnan(y).any() for y in got)


SYSTEMS = "linalg.solve linalg.inv linalg.cholesky linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.svd linalg.svdvals"
SYSTEMS += " linalg.pinv linalg.lstsq linalg.tensorsolve linalg.tensorinv linalg.matrix_power linalg.norm linalg.matrix_norm linalg.cond"


def not_finite(call: Call) -> bool:
    return not all(np.isfinite(x).all() for x in operands_of(call))


def infinite_complex(call: Call) -> bool:
    return not_finite(call) and any(np.iscomplexobj(x) for x in operands_of(call))


def zeros_are_kept(call: Call, way: str, got: Outcome, expected: Outcome) -> bool:
    """The coefficients behind the zeros in front are NumPy's."""
    if way == "eager" or isinstance(got, Exception) or isinstance(expected, Exception):
        return False
    (y,), (e,) = got, expected
    extra = len(y) - len(e)
    return extra > 0 and not np.any(y[:extra]) and not disagreement([y[extra:]], [e], size_and_precision(call))


def several_quantiles(call: Call) -> bool:
    return np.ndim(bare(call.kwargs["q"] if "q" in call.kwargs else call.args[1])) > 1


PRODUCTS = (
    "tensordot linalg.tensordot vdot dot inner matmul linalg.matmul vecdot linalg.vecdot matvec vecmat outer kron cross linalg.multi_dot"
)
UNKNOWN_SHAPE = (
    "argwhere flatnonzero nonzero unique unique_all unique_counts unique_inverse unique_values union1d intersect1d setdiff1d setxor1d"
)
UNKNOWN_SHAPE += " trim_zeros histogram histogram_bin_edges bincount where"
DIFFERENCES = [
    Difference(
        UNKNOWN_SHAPE,
        "refused when traced: the shape of the result depends on values",
        refuses(TracerConversionError, "the shape of the result depends"),
    ),
    Difference(
        "linalg.eig linalg.eigvals", "results of a traced matrix are complex: whether they are real depends on values", in_another_dtype
    ),
    Difference("linalg.lstsq", "of traced values, the sums of squares are given whatever the rank", traced(lambda call: True)),
    Difference(
        "linalg.qr",
        "mode raw is refused when traced: Householder vectors have no derivative here",
        refuses(UnsupportedFunctionError, "mode 'raw'"),
    ),
    Difference("pad", "odd reflections are refused when traced", refuses(UnsupportedFunctionError, "reflect_type 'odd'")),
    Difference("*", "a keyword that docs/names.md lists", refuses(ArgumentTypeError, "cotan.numpy does not take")),
    Difference(
        "nan_to_num",
        "copy=False is refused when traced: a traced array does not change in place",
        refuses(ValueError, "copy=False of a traced array"),
    ),
    Difference(
        "asarray asanyarray", "copy=False takes a list of traced values, which has no memory to share", takes("Unable to avoid copy")
    ),
    Difference(
        "*",
        "lists and numbers are taken where NumPy asks for an ndarray",
        takes("AttributeError: '(list|float|int|bool|complex)'", eager=True),
    ),
    Difference("astype", "lists and Python numbers are taken", takes("Input should be a NumPy array", eager=True)),
    Difference(
        "*",
        "a traced Python integer out of the range of the other dtype is cut; NumPy raises",
        takes("OverflowError: Python integer .* out of bounds"),
    ),
    Difference(
        "*percentile *quantile",
        "a traced quantile out of range gives nan; NumPy raises",
        takes("must be in the range|Percentiles must|Quantiles must"),
    ),
    Difference("average cov", "traced weights whose sum is zero give nan; NumPy raises", takes("ZeroDivisionError")),
    Difference("nanargmax nanargmin", "where all traced values are nan the index is 0; NumPy raises", takes("All-NaN slice")),
    Difference("linalg.pinv", "integers with rtol=None are taken as float64; NumPy raises", takes("not inexact")),
    Difference("concat concatenate", "casting='no' refuses traced Python numbers of other dtypes", refuses(DtypeError, "casting='no'")),
    Difference("take", "compiled code clips traced indices that are out of bounds", compiled(lambda e: isinstance(e, IndexError))),
    Difference(
        "cumsum cumprod nancumsum nancumprod cumulative_sum cumulative_prod",
        "compiled running sums and products of float16 are kept in single precision and rounded once, NumPy's at each step",
        lambda call, way, got, expected: (
            way == "compiled" and np.asarray(operands_of(call)[0]).dtype == np.float16 and gives_other_values(call, way, got, expected)
        ),
    ),
    Difference("linalg.svd linalg.eigh", "vectors are known up to their signs", signs_alone),
    Difference("empty empty_like", "results do not depend on what memory held: they are zeros", gives_other_values),
    Difference("partition argpartition", "the order within the parts is free", gives_other_values),
    Difference("unique_values", "values are sorted", gives_other_values),
    Difference("einsum_path", "the path and its description are cotan's", lambda call, way, got, expected: not isinstance(got, Exception)),
    Difference("isscalar", "a 0-d array is a number", lambda call, way, got, expected: got == [True]),
    Difference(
        "real_if_close",
        "a traced complex array stays complex: the dtype would depend on values",
        traced(lambda call: np.asarray(operands_of(call)[0]).dtype.kind == "c"),
    ),
    Difference("reciprocal", "an integer 1/0 is 0 (C leaves it open)", traced(lambda call: np.any(np.asarray(operands_of(call)) == 0))),
    Difference("interp", "between a finite and an infinite value a traced result is nan", traced(not_finite)),
    Difference("argsort", "every sort is stable", gives_other_values),
    Difference(
        "array asarray asanyarray",
        "a list of traced complex numbers can be converted to a real dtype: its real part is taken",
        takes("float\\(\\) argument"),
    ),
    Difference("polymul", "zeros in front of traced coefficients are kept: the length would depend on values", zeros_are_kept),
    Difference("digitize", "traced bins are taken as monotonic; NumPy raises", takes("must be monotonically")),
    Difference("geomspace", "a traced end that is zero gives nan or zeros; NumPy raises", takes("cannot include zero")),
    Difference(SYSTEMS, "a traced matrix without a result gives nan; NumPy raises LinAlgError", nan_for_an_error),
    Difference("histogram", "traced complex numbers are refused: they have no order", refuses(DtypeError, "x is complex")),
    Difference("nanmedian", "infinite complex numbers have no nan in the other part (NumPy divides them by one)", traced(infinite_complex)),
    Difference(
        PRODUCTS,
        "products of infinite complex numbers have nan in other parts",
        traced(infinite_complex),
    ),
    Difference(
        "nanquantile nanpercentile",
        "several q and several axes: the axes of q come first, as documented (NumPy mixes them up)",
        traced(several_quantiles),
    ),
    Difference("insert", "empty values of another shape are refused when traced", refuses(ShapeError, "\\(.*0.*\\) does not broadcast to")),
    Difference(
        "power pow",
        "negative integer powers of an empty traced integer array are refused",
        refuses(ArgumentError, "negative integer powers"),
    ),
]


def differences(call: Call, way: str, got: Outcome, expected: Outcome) -> list[Difference]:
    """The entries of `DIFFERENCES` that explain this outcome."""
    named = lambda d: any(call.name == n or (n[0] == "*" and call.name.endswith(n[1:])) for n in d.names.split())  # noqa: E731
    return [d for d in DIFFERENCES if named(d) and d.holds(call, way, got, expected)]


# ---- the law -----------------------------------------------------------------------------------------------------------------
def check(name: str, seeds: range, ways: dict[str, Any] = WAYS) -> None:
    theirs, ours = FUNCTIONS[name]
    failures = []
    for call in calls(name, seeds):
        expected = outcome(plainly, theirs, call)
        for way, run in ways.items():
            got = outcome(run, ours, call)
            text = disagreement(got, expected, size_and_precision(call)) or (numbers(got, expected) if way == "eager" else "")
            if text and not differences(call, way, got, expected):
                failures.append(f"{way}: {call}\n    {text.splitlines()[0]}")
    assert not failures, f"{len(failures)} calls differ from NumPy's:\n" + "\n".join(failures[:6])


def numbers(got: Outcome, expected: Outcome) -> str:
    """Which result is a number of Python where NumPy's is an array or a scalar of its own. (Traced, a weak value may be one.)"""
    if isinstance(got, Exception) or isinstance(expected, Exception):
        return ""
    pairs = zip(got, expected, strict=True)
    return "".join(f"{g!r} is no array. " for g, e in pairs if isinstance(e, np.ndarray | np.generic) and not isinstance(g, np.ndarray))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_numpys_in_every_way_to_run_it(name: str) -> None:
    check(name, FEW)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_is_numpys(name: str) -> None:
    check(name, range(2), COMPILED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_is_numpys_on_many_calls(name: str) -> None:
    check(name, range(2, 12), COMPILED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_numpys_in_every_way_to_run_it_on_many_calls(name: str) -> None:
    check(name, MANY)


# ---- every function and parameter is looked at -------------------------------------------------------------------------------------
def test_every_parameter_of_numpy_is_drawn_or_listed_as_not_taken() -> None:
    """A parameter with no recipe, and not in docs/names.md, is one that nobody has looked at."""
    unseen = []
    for name, (theirs, _) in FUNCTIONS.items():
        for parameter in inspect.signature(theirs).parameters.values():
            recipe = OF_FUNCTION.get(name, {}).get(parameter.name) or OF_PARAMETER.get(parameter.name)
            drawn = (
                recipe is not None
                and recipe.__name__ != "nothing"
                and (not isinstance(theirs, np.ufunc) or parameter.default is parameter.empty)
            )
            if not drawn and not is_untaken(name, parameter.name) and parameter.name not in ("axis", "args", "kwargs", "kw"):
                unseen.append(f"{name}: {parameter.name}")
    assert unseen == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_keyword_that_is_not_taken_may_be_given_as_its_default(name: str) -> None:
    theirs, ours = FUNCTIONS[name]
    call = next((c for c in calls(name, range(30)) if not isinstance(outcome(plainly, theirs, c), Exception)), None)
    assert call is not None
    for parameter in inspect.signature(theirs).parameters.values():
        taken = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD) and parameter.name not in call.kwargs
        if taken and is_untaken(name, parameter.name) and parameter.default is not parameter.empty and parameter.name != "axes":
            given = Call(name, call.args, {**call.kwargs, parameter.name: parameter.default})
            if isinstance(outcome(plainly, theirs, given), Exception):
                continue
            for way, run in WAYS.items():
                got, plain = outcome(run, ours, given), outcome(run, ours, call)
                assert isinstance(got, Exception) == isinstance(plain, Exception), f"{way}: {parameter.name}={parameter.default}: {got}"


def test_compiled_running_sums_of_halves_are_rounded_once() -> None:
    x = np.array([1, 65504, 1000, -1000], np.float16)
    with np.errstate(over="ignore"):
        assert np.isinf(cotan.jit(cnp.cumsum, engine="numpy")(x)).tolist() == np.isinf(np.cumsum(x)).tolist() == [False, False, True, True]
    assert cotan.jit(cnp.cumsum)(x).tolist() == [1.0, 65504.0, np.inf, 65504.0]


def test_every_difference_that_is_meant_is_documented() -> None:
    text = NAMES.read_text()
    assert [d.why for d in DIFFERENCES if d.why not in text and "docs/names.md" not in d.why] == []


def test_out_is_refused_in_every_way_to_run() -> None:
    for call in (cnp.sum, cnp.add.__call__, cnp.clip, cnp.matmul, cnp.cumsum, cnp.mean):
        x = np.ones((2, 2))
        args = (x, x) if call in (cnp.add.__call__, cnp.matmul) else (x, 0, 1) if call is cnp.clip else (x,)
        with pytest.raises(ArgumentTypeError, match="out="):
            call(*args, out=np.ones((2, 2)))
    for call in (cnp.sum, cnp.mean, cnp.cumsum):
        with pytest.raises(ArgumentTypeError, match="out="):
            call(np.ones((2, 2)), None, None, np.ones(()))
    for call, args in ((cnp.sin, ()), (cnp.max, (None,))):
        with pytest.raises(ArgumentTypeError, match="out="):
            call(np.ones(2), *args, np.ones(2))


def test_functions_of_concrete_arguments_show_numpys_signature() -> None:
    for name in ("eye", "from_dlpack", "identity", "indices", "kaiser", "unique", "nonzero"):
        assert inspect.signature(getattr(cnp, name)) == inspect.signature(getattr(np, name))


@pytest.mark.exhaustive
def test_every_difference_that_is_meant_occurs() -> None:
    """A difference that no drawn call shows any more is to be taken from the list."""
    shown: set[str] = set()
    for name, (theirs, ours) in FUNCTIONS.items():
        for call in calls(name, MANY):
            expected = outcome(plainly, theirs, call)
            for way in ("eager", "jit", "half"):
                got = outcome(WAYS[way], ours, call)
                if disagreement(got, expected, size_and_precision(call)):
                    shown |= {d.why for d in differences(call, way, got, expected)}
    only_compiled = {"compiled code clips traced indices that are out of bounds", "vectors are known up to their signs"}
    only_compiled |= {d.why for d in DIFFERENCES if d.why.startswith("compiled running sums")}
    assert [d.why for d in DIFFERENCES if d.why not in shown | only_compiled] == []


# ---- NumPy's own functions and methods of traced arrays ------------------------------------------------------------------------------
METHODS = (
    *("all", "any", "argmax", "argmin", "argpartition", "argsort", "choose", "clip", "cumprod", "cumsum", "diagonal", "dot", "max", "mean"),
    *("min", "prod", "ravel", "repeat", "reshape", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace", "var"),
)


def as_method(name: str, call: Call) -> Call | None:
    """The call of the method of this name of the first argument, which is an array; None if it is not given by position."""
    return Call(name, (Operand(np.asarray(bare(call.args[0]))), *call.args[1:]), call.kwargs) if call.args else None


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_a_traced_array_is_that_of_an_ndarray(name: str) -> None:
    failures = []
    method = lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)  # noqa: E731
    for drawn in calls(name, FEW):
        call = as_method(name, drawn)
        if call is None:
            continue
        expected = outcome(plainly, method, call)
        if isinstance(expected, TypeError) and re.search(r"keyword arg|takes exactly", str(expected)):
            continue  # the methods of ndarray have some parameters by position alone
        for way in ("jit", "vmap"):
            got = outcome(WAYS[way], method, call)
            text = disagreement(got, expected, size_and_precision(call))
            if text and not differences(call, way, got, expected):
                failures.append(f"{way}: {call}\n    {text.splitlines()[0]}")
    assert not failures, f"{len(failures)} calls differ from NumPy's:\n" + "\n".join(failures[:6])


NOT_DISPATCHED = "array asarray asanyarray ascontiguousarray from_dlpack frombuffer fromiter fromfunction isscalar astype full"
"""Functions of NumPy that ask none of their arguments whether it would rather compute by itself."""


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in NOT_DISPATCHED.split()])
def test_a_function_of_numpy_takes_traced_arrays(name: str) -> None:
    theirs, ours = FUNCTIONS[name]
    failures = []
    for call in calls(name, range(12)):
        if any(isinstance(x, Operand) and isinstance(x.value, list | tuple) for x in (*call.args, *call.kwargs.values())):
            continue  # NumPy looks into few lists
        expected, got = outcome(WAYS["jit"], ours, call), outcome(WAYS["jit"], theirs, call)
        text = disagreement(got, expected, size_and_precision(call))
        if text and not differences(call, "jit", got, expected):
            failures.append(f"{call}\n    {text.splitlines()[0]}")
    assert not failures, f"{len(failures)} calls of np.{name} differ from cotan's:\n" + "\n".join(failures[:6])

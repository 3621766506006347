"""Plain NumPy code is traced; functions that cannot be are refused with an alternative; shape errors name shapes; the namespace is
complete.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.special

import cotan
import cotan.numpy as cnp
import cotan.special
from cotan.core.errors import ArgumentTypeError, ShapeError, TracerConversionError, UnsupportedFunctionError

from .running import assert_same, staged

table = np.random.default_rng(0).normal(size=(2, 3))
line = np.array([1.0, 2.0, 3.0])

PLAIN = {
    "np.sin(x)": lambda x: np.sin(x),
    "np.sum(x)": lambda x: np.sum(x),
    "np.sum(x, axis=0)": lambda x: np.sum(x, axis=0, keepdims=True),
    "array @ x": lambda x: table @ x,
    "x @ array": lambda x: x @ table.T,
    "array * x": lambda x: table * x,
    "array - x": lambda x: table - x,
    "np.float64 * x": lambda x: np.float64(2) * x,
    "np.float32 + x": lambda x: np.float32(2) + x,
    "x + list": lambda x: x + [1, 2, 3],
    "list + x": lambda x: [1, 2, 3] + x,
    "array < x": lambda x: line < x,
    "np.where": lambda x: np.where(x > 1, x, 0),
    "np.concatenate": lambda x: np.concatenate([x, line]),
    "np.stack": lambda x: np.stack([line, x]),
    "np.einsum": lambda x: np.einsum("ij,j->i", table, x),
    "np.dot": lambda x: np.dot(table, x),
    "np.linalg.norm": lambda x: np.linalg.norm(x),
    "np.linalg.solve": lambda x: np.linalg.solve(np.diag(line), x),
    "np.add.reduce": lambda x: np.add.reduce(x),
    "np.maximum.accumulate": lambda x: np.maximum.accumulate(x),
    "np.multiply.outer": lambda x: np.multiply.outer(x, line),
    "np.add.outer": lambda x: np.add.outer(table, x),
    "np.mean": lambda x: np.mean(x),
    "np.var": lambda x: np.var(x, ddof=1),
    "np.clip": lambda x: np.clip(x, 1.5, 2.5),
    "np.zeros_like": lambda x: np.zeros_like(x) + x,
    "np.broadcast_to": lambda x: np.broadcast_to(x, (2, 3)),
    "np.sort": lambda x: np.sort(x)[::-1],
    "np.pad": lambda x: np.pad(x, 1, mode="edge"),
    "np.interp": lambda x: np.interp(x, line, line**2),
    "np.outer": lambda x: np.outer(x, x),
    "np.reshape": lambda x: np.reshape(x, (3, 1)),
    "np.matmul": lambda x: np.matmul(table, x),
    "np.isfinite": lambda x: np.isfinite(x),
    "methods": lambda x: x.sum() + x.mean() * x.max() - x.min() + x.std() + x.prod() + x.var(),
    "more methods": lambda x: (
        x.reshape(3, 1).T.flatten().cumsum().clip(0, 4).round(1),
        x.argmax(),
        x.any(),
        x.all(),
        x.dot(x),
        x.conj().real,
    ),
    "np.hstack": lambda x: np.hstack((x, line)),
    "np.trapezoid": lambda x: np.trapezoid(x),
    "np.apply_over_axes": lambda x: np.moveaxis(x[None], 0, 1),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_numpy_code_is_traced(name: str) -> None:
    function = PLAIN[name]
    expected = function(line)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for got, want in zip(staged(function, line), expected, strict=True):
        assert_same(got, want, rtol=1e-13)


def test_scipy_ufuncs_are_traced() -> None:
    for name in ("erf", "expit", "gammaln", "psi", "xlogy", "ndtr"):
        ufunc = getattr(scipy.special, name)
        args = (line,) * ufunc.nin
        assert_same(staged(lambda *xs, ufunc=ufunc: ufunc(*xs), *args)[0], ufunc(*args), rtol=1e-13)


def test_scipy_ufuncs_are_traced_whether_or_not_cotan_special_was_imported() -> None:
    code = "import scipy.special, cotan, sys; assert 'cotan.special' not in sys.modules; print(cotan.grad(scipy.special.gammaln)(2.5))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    assert float(out) == pytest.approx(scipy.special.psi(2.5))


JOINED = {
    "r_[x, 0]": lambda xp, x: xp.r_[x, 0],
    "r_[0:3, x]": lambda xp, x: xp.r_[0:3, x],
    "r_[linspace]": lambda xp, x: xp.r_[-1:1:3j, x[0], 2],
    "r_['0,2']": lambda xp, x: xp.r_["0,2", x, x],
    "r_['1,2,0']": lambda xp, x: xp.r_["1,2,0", x, x],
    "r_['-1,3,1']": lambda xp, x: xp.r_["-1,3,1", x, x],
    "r_ of float32": lambda xp, x: xp.r_[x.astype(np.float32), 1.5],
    "r_ of a list": lambda xp, x: xp.r_[[x[0], x[1]], x],
    "r_ of known values": lambda xp, x: xp.r_[1.0, 2],
    "c_[x, x]": lambda xp, x: xp.c_[x, 2 * x, 0:3],
    "c_ of a matrix": lambda xp, x: xp.c_[np.ones((3, 2)), x],
    "row_stack": lambda xp, x: xp.vstack([x, x]) if xp is np else xp.row_stack([x, x]),
}


@pytest.mark.parametrize("name", JOINED)
def test_parts_are_joined_by_indexing_as_in_numpy(name: str) -> None:
    join = JOINED[name]
    expected = join(np, line)
    assert_same(join(cnp, line), expected)
    assert_same(staged(lambda x: join(cnp, x), line)[0], expected)
    with pytest.raises(ValueError, match="with traced parts"):
        staged(lambda x: cnp.r_["r", x], line)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: np.put(x, [0], 1.0), r"x\.at\[indices\]\.set"),
        (lambda x: np.fill_diagonal(x, 1.0), r"np\.fill_diagonal cannot be traced[\s\S]*\.at\[i, i\]\.set"),
        (lambda x: np.fft.fft(x), r"np\.fft[\s\S]*cannot be traced"),
        (lambda x: np.spacing(x), r"np\.spacing cannot be traced"),
        (lambda x: np.nonzero(x), "shape of the result depends on the values"),
        (lambda x: np.unique(x), "shape of the result depends on the values"),
        (lambda x: np.add.reduceat(x, [0, 1]), r"np\.add\.reduceat"),
        (lambda x: np.add.at(x, [0], 1.0), r"x\.at\[indices\]\.add"),
    ],
)
def test_unsupported_functions_say_what_to_write(call: Any, text: str) -> None:
    with pytest.raises((UnsupportedFunctionError, TracerConversionError), match=text) as caught:
        staged(call, line)
    assert "test_dispatch.py" in str(caught.value)
    assert "What to do" in str(caught.value)


def test_writing_into_numpy_arrays_is_refused() -> None:
    def in_place(x: Any) -> Any:
        a = np.zeros(3)
        a += x
        return a

    with pytest.raises(UnsupportedFunctionError, match=r"write a = a \+ x"):
        staged(in_place, line)
    with pytest.raises((UnsupportedFunctionError, ArgumentTypeError), match="out="):
        staged(lambda x: np.sum(x, out=np.zeros(())), line)
    with pytest.raises(TracerConversionError, match=r"cotan\.numpy\.array\(\[a, b\]\)"):
        staged(lambda x: np.array([x, x]), 1.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda xp, x: xp.matmul(x, x), r"a @ b: \(2, 3\) @ \(2, 3\)"),
        (lambda xp, x: xp.dot(x, x), r"dot: shapes \(2, 3\) and \(2, 3\)"),
        (lambda xp, x: xp.einsum("ij,jk->ik", x, x), r"label 'j' has length 3 and 2"),
        (lambda xp, x: xp.einsum("ij,j", x), "2 terms for 1 operands"),
        (lambda xp, x: xp.concatenate([x, x[:, :2]]), r"concatenate: arrays of shapes \(2, 3\), \(2, 2\)"),
        (lambda xp, x: xp.stack([x, x[:, :2]]), r"stack: arrays of shapes \(2, 3\), \(2, 2\)"),
        (lambda xp, x: xp.reshape(x, (4, 2)), r"reshape: an array of shape \(2, 3\) \(6 elements\) to \(4, 2\)"),
        (lambda xp, x: xp.broadcast_to(x, (2, 2)), r"broadcast_to: an array of shape \(2, 3\)"),
        (lambda xp, x: xp.squeeze(x, 0), "axis 0 of an array of shape"),
        (lambda xp, x: xp.split(x, 2, axis=1), "3 elements do not divide into 2"),
        (lambda xp, x: xp.tensordot(x, x, axes=1), r"tensordot: shapes \(2, 3\) and \(2, 3\)"),
        (lambda xp, x: x + xp.ones(2), r"add: shapes \(2, 3\) and \(2,\) do not broadcast"),
    ],
)
def test_shape_errors_name_the_shapes(call: Any, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        staged(lambda x: call(cnp, x), table)
    if "add:" not in text:  # eager operators are NumPy's own
        with pytest.raises(ShapeError, match=text):
            call(cnp, cnp.asarray(table))


def test_the_namespace_has_every_name_of_the_array_api() -> None:
    own = {name for name in array_api_strict.__all__ if "strict" in name.lower()} | {"fft", "linalg", "Device", "__version__"}
    assert [name for name in array_api_strict.__all__ if name not in own and not hasattr(cnp, name)] == []
    assert cnp.__array_namespace_info__().dtypes()["float64"] == np.float64
    assert cnp.asarray(line).__array_namespace__() is cnp


def test_functions_of_the_array_api_have_its_parameters() -> None:
    lacking = []
    for prefix, theirs, ours in (("", array_api_strict, cnp), ("linalg.", array_api_strict.linalg, cnp.linalg)):
        for name in theirs.__all__:
            function, standard = getattr(ours, name, None), getattr(theirs, name)
            if not callable(standard) or isinstance(standard, type) or function is None:
                continue
            known = inspect.signature(function).parameters.values()
            named = {p.name for p in known if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
            wanted = [p for p in inspect.signature(standard).parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
            lacking += [f"{prefix}{name}: {p.name}" for p in wanted if p.name not in named]
    assert lacking == []
    assert [name for name in array_api_strict.linalg.__all__ if not hasattr(cnp.linalg, name)] == []


def test_every_public_name_is_documented() -> None:
    for module in (cnp, cnp.linalg, cotan.special):
        for name in module.__all__:
            function = getattr(module, name)
            if callable(function) and not isinstance(function, type):
                assert function.__doc__, name


def test_questions_about_dtypes_take_tracers() -> None:
    seen: list[Any] = []

    def f(x: Any, y: Any) -> Any:
        seen.append((cnp.result_type(x, y), cnp.can_cast(x, np.float64), cnp.isscalar(y), cnp.shape(x), cnp.size(x), cnp.ndim(x)))
        return x

    staged(f, line.astype(np.float32), 2.0)
    assert seen == [(np.dtype(np.float32), True, True, (3,), 3, 1)]


def test_the_signature_of_a_ufunc_is_its_operands() -> None:
    """Code that binds arguments by signature, as custom rules do, finds no further ones."""
    for name, count in (("sin", 1), ("add", 2), ("divmod", 2)):
        parameters = inspect.signature(getattr(cnp, name)).parameters.values()
        assert [p.kind for p in parameters] == [inspect.Parameter.POSITIONAL_ONLY] * count
    f = cotan.custom_jvp(cnp.sin)
    f.defjvp(lambda primals, tangents: (cnp.sin(*primals), 3 * tangents[0]))
    assert cotan.grad(f)(0.5) == 3.0

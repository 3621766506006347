"""The operators and ndarray methods of traced values, each a call of the NumPy-like surface.

The core cannot import ``cotan.numpy`` (it lies above), so the surface puts itself into the one slot here, `install`, when it is
imported. That is the only way from the core up.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import ArgumentTypeError, DtypeError, TracerConversionError, teach

__all__ = ["ArrayMethods", "install", "surface"]

_surface: Any = None


def install(module: Any) -> None:
    """Let traced values reach the NumPy-like functions of ``module``."""
    global _surface
    _surface = module


def surface() -> Any:
    """The module installed: ``cotan.numpy``."""
    return _surface


def is_no_number(x: object) -> bool:
    """Whether ``x`` equals no number, whatever the number is: None and text."""
    return x is None or isinstance(x, str | bytes)


class ArrayMethods:  # noqa: PLW1641 - `Tracer` has a hash, which refuses
    """The operators and methods of an ndarray, in terms of the surface's functions."""

    __slots__ = ()
    __array_priority__ = 1000
    __pandas_priority__ = 5000  # above DataFrame's 4000: pandas leaves the operators to a traced value

    # One operator, one line.
    # fmt: off
    # arithmetic
    def __add__(self, other: Any) -> Any: return _surface.add(self, other)
    def __radd__(self, other: Any) -> Any: return _surface.add(other, self)
    def __sub__(self, other: Any) -> Any: return _surface.subtract(self, other)
    def __rsub__(self, other: Any) -> Any: return _surface.subtract(other, self)
    def __mul__(self, other: Any) -> Any: return _surface.multiply(self, other)
    def __rmul__(self, other: Any) -> Any: return _surface.multiply(other, self)
    def __truediv__(self, other: Any) -> Any: return _surface.divide(self, other)
    def __rtruediv__(self, other: Any) -> Any: return _surface.divide(other, self)
    def __floordiv__(self, other: Any) -> Any: return _surface.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Any: return _surface.floor_divide(other, self)
    def __mod__(self, other: Any) -> Any: return _surface.remainder(self, other)
    def __rmod__(self, other: Any) -> Any: return _surface.remainder(other, self)
    def __divmod__(self, other: Any) -> Any: return _surface.divmod(self, other)
    def __rdivmod__(self, other: Any) -> Any: return _surface.divmod(other, self)
    def __pow__(self: Any, other: Any, modulus: None = None) -> Any:
        if modulus is not None:
            raise teach(ArgumentTypeError, f"pow(x, n, m) is for Python's integers; x is {self!r}.", do="write x**n % m.")
        if type(other) is int and other == 2 and self.dtype.kind == "b":  # NumPy's operator squares: the dtype is int8
            return _surface.square(self)
        return _surface.power(self, other)
    def __rpow__(self, other: Any) -> Any: return _surface.power(other, self)
    def __matmul__(self, other: Any) -> Any: return _surface.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Any: return _surface.matmul(other, self)
    def __neg__(self) -> Any: return _surface.negative(self)
    def __pos__(self) -> Any: return _surface.positive(self)
    def __abs__(self) -> Any: return _surface.abs(self)
    def __round__(self, ndigits: int | None = None) -> Any: return _surface.round(self, ndigits or 0)

    # comparison
    def __eq__(self, other: object) -> Any:
        try:
            return _surface.equal(self, other)
        except ArgumentTypeError:
            if is_no_number(other):
                return _surface.zeros(_surface.shape(self), bool)
            raise
    def __ne__(self, other: object) -> Any:
        try:
            return _surface.not_equal(self, other)
        except ArgumentTypeError:
            if is_no_number(other):
                return _surface.ones(_surface.shape(self), bool)
            raise
    def __lt__(self, other: Any) -> Any: return _surface.less(self, other)
    def __le__(self, other: Any) -> Any: return _surface.less_equal(self, other)
    def __gt__(self, other: Any) -> Any: return _surface.greater(self, other)
    def __ge__(self, other: Any) -> Any: return _surface.greater_equal(self, other)

    # bits
    def __invert__(self) -> Any: return _surface.invert(self)
    def __and__(self, other: Any) -> Any: return _surface.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Any: return _surface.bitwise_and(other, self)
    def __or__(self, other: Any) -> Any: return _surface.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Any: return _surface.bitwise_or(other, self)
    def __xor__(self, other: Any) -> Any: return _surface.bitwise_xor(self, other)
    def __rxor__(self, other: Any) -> Any: return _surface.bitwise_xor(other, self)
    def __lshift__(self, other: Any) -> Any: return _surface.left_shift(self, other)
    def __rlshift__(self, other: Any) -> Any: return _surface.left_shift(other, self)
    def __rshift__(self, other: Any) -> Any: return _surface.right_shift(self, other)
    def __rrshift__(self, other: Any) -> Any: return _surface.right_shift(other, self)

    # indexing
    def __getitem__(self, index: Any) -> Any: return _surface.getitem(self, index)
    @property
    def at(self) -> Any: return _surface.at(self)

    # shape
    @property
    def T(self) -> Any: return _surface.transpose(self)  # noqa: N802 - NumPy's name
    @property
    def mT(self) -> Any: return _surface.matrix_transpose(self)  # noqa: N802 - NumPy's name
    @property
    def real(self) -> Any: return _surface.real(self)
    @property
    def imag(self) -> Any: return _surface.imag(self)
    @property
    def flat(self) -> Any: return _surface.ravel(self)
    def astype(self: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
        if casting != "unsafe" and not _surface.can_cast(self, dtype, casting):
            raise teach(DtypeError, f"astype: {_surface.result_type(self)} to {dtype} with casting={casting!r}.", do="leave out casting.")
        return _surface.astype(self, dtype)
    def to_device(self, device: Any, /, *, stream: Any = None) -> Any: return _surface.asarray(self, device=device)
    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        return _surface.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)
    def transpose(self, *axes: Any) -> Any:
        return _surface.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)
    def flatten(self, order: str = "C") -> Any: return _surface.ravel(self, order=order)
    def ravel(self, order: str = "C") -> Any: return _surface.ravel(self, order=order)
    def squeeze(self, axis: Any = None) -> Any: return _surface.squeeze(self, axis)
    def swapaxes(self, axis1: int, axis2: int) -> Any: return _surface.swapaxes(self, axis1, axis2)
    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any: return _surface.diagonal(self, offset, axis1, axis2)
    def trace(self, *args: Any, **kwargs: Any) -> Any: return _surface.trace(self, *args, **kwargs)
    def repeat(self, repeats: Any, axis: int | None = None) -> Any: return _surface.repeat(self, repeats, axis)
    def take(self, *args: Any, **kwargs: Any) -> Any: return _surface.take(self, *args, **kwargs)
    def copy(self, order: str = "C") -> Any: return _surface.copy(self)

    # reductions and the like, with the parameters of NumPy's functions
    def sum(self, *args: Any, **kwargs: Any) -> Any: return _surface.sum(self, *args, **kwargs)
    def prod(self, *args: Any, **kwargs: Any) -> Any: return _surface.prod(self, *args, **kwargs)
    def mean(self, *args: Any, **kwargs: Any) -> Any: return _surface.mean(self, *args, **kwargs)
    def var(self, *args: Any, **kwargs: Any) -> Any: return _surface.var(self, *args, **kwargs)
    def std(self, *args: Any, **kwargs: Any) -> Any: return _surface.std(self, *args, **kwargs)
    def max(self, *args: Any, **kwargs: Any) -> Any: return _surface.max(self, *args, **kwargs)
    def min(self, *args: Any, **kwargs: Any) -> Any: return _surface.min(self, *args, **kwargs)
    def any(self, *args: Any, **kwargs: Any) -> Any: return _surface.any(self, *args, **kwargs)
    def all(self, *args: Any, **kwargs: Any) -> Any: return _surface.all(self, *args, **kwargs)
    def argmax(self, *args: Any, **kwargs: Any) -> Any: return _surface.argmax(self, *args, **kwargs)
    def argmin(self, *args: Any, **kwargs: Any) -> Any: return _surface.argmin(self, *args, **kwargs)
    def argsort(self, *args: Any, **kwargs: Any) -> Any: return _surface.argsort(self, *args, **kwargs)
    def argpartition(self, *args: Any, **kwargs: Any) -> Any: return _surface.argpartition(self, *args, **kwargs)
    def searchsorted(self, *args: Any, **kwargs: Any) -> Any: return _surface.searchsorted(self, *args, **kwargs)
    def nonzero(self) -> Any: return _surface.nonzero(self)
    def choose(self, *args: Any, **kwargs: Any) -> Any: return _surface.choose(self, *args, **kwargs)
    def compress(self, condition: Any, axis: int | None = None, out: None = None) -> Any:
        return _surface.compress(condition, self, axis, out=out)
    def cumsum(self, *args: Any, **kwargs: Any) -> Any: return _surface.cumsum(self, *args, **kwargs)
    def cumprod(self, *args: Any, **kwargs: Any) -> Any: return _surface.cumprod(self, *args, **kwargs)
    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Any: return _surface.clip(self, min, max, out=out)
    def round(self, decimals: int = 0, out: None = None) -> Any: return _surface.round(self, decimals, out=out)
    def dot(self, *args: Any, **kwargs: Any) -> Any: return _surface.dot(self, *args, **kwargs)
    def conj(self) -> Any: return _surface.conj(self) if _surface.iscomplexobj(self) else self
    def conjugate(self) -> Any: return self.conj()

    # what changes an ndarray in place
    def sort(self, *_: Any, **__: Any) -> NoReturn: refuse_change(self, "sort()", "cotan.numpy.sort(x)")
    def partition(self, *_: Any, **__: Any) -> NoReturn: refuse_change(self, "partition(k)", "cotan.numpy.partition(x, k)")
    def fill(self, *_: Any) -> NoReturn: refuse_change(self, "fill(v)", "cotan.numpy.full_like(x, v)")
    def put(self, *_: Any, **__: Any) -> NoReturn: refuse_change(self, "put(i, v)", "x.ravel().at[i].set(v).reshape(x.shape)")
    def resize(self, *_: Any, **__: Any) -> NoReturn: refuse_change(self, "resize(shape)", "cotan.numpy.resize(x, shape)")
    # fmt: on


def refuse_change(x: Any, call: str, instead: str) -> NoReturn:
    """Raise: a method of ndarray that changes it in place is called on a traced array."""
    raise teach(
        TracerConversionError,
        f"a traced array cannot be changed in place (x is {x!r}), as x.{call} does.",
        do=f"write `x = {instead}`.",
    )

"""Conversions between dtypes, and between real and complex numbers.

Cotangents follow JAX's convention: the pairing of a cotangent with a tangent is Re(sum(y_bar * y')), without a conjugate. So the adjoint of
``real`` converts its cotangent to complex, and the adjoint of ``imag`` puts minus the cotangent into the imaginary part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, teach
from ..core.formula import Formula, called
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type, is_inexact
from .arithmetic import neg
from .families import Elementwise, Flat, Unary, default_rng, fill_shape, sum_to

__all__ = ["complex_", "conj", "convert", "imag", "real", "stop_gradient"]


@op
class ConvertElementType(Unary):
    """Change the dtype. Complex to real takes the real part; float to integer truncates, without a tangent; to bool tests for nonzero."""

    dtype: np.dtype[Any]
    weak: bool = False
    takes = "biufc"
    verb = "astype"

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (1,) if is_inexact(self.dtype) else ()  # truncation is not linear

    def type_rule(self, *types: ArrayType) -> ArrayType:
        return array_type(types[0].shape, self.dtype, self.weak)

    def impl(self, x: Any) -> Any:
        if self.weak:
            return np.asarray(x, self.dtype).item()
        x = np.asarray(x)
        if x.dtype.kind == "c" and self.dtype.kind in "iuf":  # a conversion to bool tests both parts
            x = x.real
        return x.astype(self.dtype) if x.ndim else self.dtype.type(x[()])

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        return e.cast(readers[0](i), self.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (x,), (dx,) = primals, tangents
        return self(x), convert(dx, self.dtype) if is_inexact(self.dtype) else None

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [convert(y_bar, x.dtype)]

    def formula(self, x: Formula) -> Formula:
        if self.dtype.kind not in "fc":
            return called("astype", x, _dtype=self.dtype.name)
        return called("real", x) if self.dtype.kind == "f" and x.type is not None and x.type.dtype.kind == "c" else x

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for name in ("float32", "float64", "complex128", "int64", "bool"):
            yield cls(np.dtype(name)), (rng.normal(size=(2, 3)) * 3,)
        yield cls(np.dtype("complex64")), (rng.normal(size=()),)
        yield cls(np.dtype("float32")), (rng.normal(size=(0,)),)
        for name in ("bool", "float64"):
            yield cls(np.dtype(name)), (np.array([1j, 0, 1, -2 - 1j]),)


def convert(x: Any, dtype: np.dtype[Any]) -> Any:
    """`ConvertElementType`, or ``x`` itself if it has that dtype already and is not weak."""
    t = type_of(x)
    return x if t.dtype == dtype and not t.weak else ConvertElementType(dtype)(x)


@op
class Real(Elementwise):
    """The real part of a complex array."""

    linear = ((0,),)
    takes, machine, keeps_weak = "c", "real", True
    numpy = staticmethod(lambda x: x.real)

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.finfo(dtype).dtype

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        return self(primals[0]), self(tangents[0])

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [complex_(y_bar, type_of(y_bar).dtype.type(0))]


@op
class Imag(Elementwise):
    """The imaginary part of a complex array."""

    linear = ((0,),)
    takes, machine, keeps_weak = "c", "imag", True
    numpy = staticmethod(lambda x: x.imag)

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.finfo(dtype).dtype

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        return self(primals[0]), self(tangents[0])

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [complex_(type_of(y_bar).dtype.type(0), neg(y_bar))]


@op
class Conj(Elementwise):
    """The complex conjugate."""

    linear = ((0,),)
    takes, machine = "c", "conj"
    numpy = np.conjugate

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        return self(primals[0]), self(tangents[0])

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [conj(y_bar)]


@op
class Complex(Elementwise):
    """re + i im, from two real arrays."""

    linear = ((0, 1),)
    arity, takes, machine = 2, "f", "complex"

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if dtype.itemsize < 4:
            raise teach(DtypeError, f"complex does not take {dtype} operands.", do="convert to float32 or float64 first.")
        return np.result_type(dtype, np.complex64)

    def impl(self, *operands: Any) -> Any:
        re, im = operands
        dtype = self.result_dtype(np.result_type(re, im))
        z = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), dtype)
        z.real, z.imag = re, im
        return z if z.ndim else z[()]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        z = self(*primals)
        zero = type_of(primals[0]).dtype.type(0)
        re, im = (zero if dx is None else dx for dx in tangents)
        return z, fill_shape(self(re, im), z)

    def transpose(self, y_bar: Any, re: Any, im: Any) -> Sequence[Any | None]:
        return [
            sum_to(real(y_bar), re.type) if type(re) is Var else None,
            neg(sum_to(imag(y_bar), im.type)) if type(im) is Var else None,
        ]


@op
class StopGradient(Flat):
    """The identity, with derivative zero."""

    takes, machine, keeps_weak = "biufc", "copy", True
    numpy = staticmethod(lambda x: x)


real, imag, conj, complex_, stop_gradient = Real(), Imag(), Conj(), Complex(), StopGradient()

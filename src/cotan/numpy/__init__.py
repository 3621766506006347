"""``cotan.numpy``: NumPy's functions, on arrays and on traced values.

On arrays, a function is NumPy's own and returns a `cotan.Array`. Traced, it promotes and broadcasts as NumPy does, and records ops. The
names are the Array API standard 2025.12 and the usual rest of NumPy. An error for a missing function, or for one that cannot be traced,
names an alternative.
"""

# ruff: noqa: I001 - the names of one module stand together
from __future__ import annotations

import sys

import numpy as np

from ..core import operators
from ..core.array import Array
from ..core.listing import listing
from . import linalg
from .concatenators import c_, r_
from .contraction import convolve, correlate, cross, dot, inner, kron, matmul, matvec, outer, tensordot, vdot, vecdot, vecmat
from .creation import (
    arange, array, asanyarray, asarray, ascontiguousarray, astype, bartlett, blackman, copy, diag, diagflat, diagonal, empty,
    empty_like, eye, from_dlpack, frombuffer, fromfunction, fromiter, full, full_like, geomspace, hamming, hanning, identity, indices,
    kaiser, linspace, logspace, meshgrid, ones, ones_like, trace, tri, tril, tril_indices, triu, triu_indices, vander, zeros,
    zeros_like,
)  # fmt: skip
from .differences import diff, ediff1d, gradient, trapezoid
from .dispatch import call_function as call_function  # these three are called by traced values (core/operators.py) and are not public
from .dispatch import call_ufunc as call_ufunc
from .dispatch import what_instead as what_instead
from .einstein import einsum, einsum_path
from .elementwise import (
    abs, absolute, acos, acosh, add, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, asin, asinh, atan, atan2, atanh,
    bitwise_and, bitwise_count, bitwise_invert, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, cbrt,
    ceil, conj, conjugate, copysign, cos, cosh, deg2rad, degrees, divide, divmod, equal, exp, exp2, expm1, fabs, float_power, floor,
    floor_divide, fmax, fmin, fmod, greater, greater_equal, heaviside, hypot, invert, isfinite, isinf, isnan, left_shift, less,
    less_equal, log, log1p, log2, log10, logaddexp, logaddexp2, logical_and, logical_not, logical_or, logical_xor, maximum, minimum,
    mod, multiply, negative, nextafter, not_equal, positive, pow, power, rad2deg, radians, reciprocal, remainder, right_shift, rint,
    sign, signbit, sin, sinh, sqrt, square, subtract, tan, tanh, true_divide, trunc,
)  # fmt: skip
from .indexing import choose, compress, extract, getitem, take, take_along_axis
from .promotion import can_cast, result_type
from .quantiles import median, nanmedian, nanpercentile, nanquantile, percentile, quantile
from .rearranging import apply_along_axis, apply_over_axes, delete, insert, pad, repeat, resize, tile, vectorize
from .reduction import (
    all, amax, amin, any, argmax, argmin, average, count_nonzero, cummax, cummin, cumprod, cumsum, cumulative_prod, cumulative_sum,
    max, mean, min, prod, ptp, std, sum, var,
)  # fmt: skip
from .selection import (
    allclose, angle, around, array_equal, array_equiv, clip, fix, i0, imag, isclose, iscomplex, iscomplexobj, isneginf, isposinf,
    isreal, isrealobj, isscalar, nan_to_num, piecewise, polyadd, polyder, polyint, polymul, polysub, polyval, real, real_if_close,
    round, select, sinc, unwrap, where,
)  # fmt: skip
from .shape import (
    append, array_split, atleast_1d, atleast_2d, atleast_3d, block, broadcast_arrays, broadcast_to, column_stack, concat, concatenate,
    dsplit, dstack, expand_dims, flip, fliplr, flipud, hsplit, hstack, matrix_transpose, moveaxis, ndim, permute_dims, ravel, reshape,
    roll, rollaxis, rot90, row_stack, shape, size, split, squeeze, stack, swapaxes, transpose, unstack, vsplit, vstack,
)  # fmt: skip
from .shape import broadcast_shapes_of as broadcast_shapes
from .sorting import (
    argpartition, argsort, argwhere, bincount, digitize, flatnonzero, histogram, histogram_bin_edges, interp, intersect1d, isin,
    lexsort, nonzero, partition, searchsorted, setdiff1d, setxor1d, sort, sort_complex, trim_zeros, union1d, unique, unique_all,
    unique_counts, unique_inverse, unique_values,
)  # fmt: skip
from .statistics import (
    corrcoef, cov, nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean, nanmin, nanprod, nanstd, nansum, nanvar,
)  # fmt: skip
from .updates import at

# ---- NumPy's own: dtypes, constants, and questions about dtypes --------------------------------------------------------------------
ndarray = Array
bool = np.bool
bool_ = np.bool_
complex64 = np.complex64
complex128 = np.complex128
csingle = np.csingle
cdouble = np.cdouble
float16 = np.float16
float32 = np.float32
float64 = np.float64
single = np.single
double = np.double
int8 = np.int8
int16 = np.int16
int32 = np.int32
int64 = np.int64
int_ = np.int_
intp = np.intp
uint8 = np.uint8
uint16 = np.uint16
uint32 = np.uint32
uint64 = np.uint64
uint = np.uint
complexfloating = np.complexfloating
floating = np.floating
generic = np.generic
inexact = np.inexact
integer = np.integer
number = np.number
signedinteger = np.signedinteger
unsignedinteger = np.unsignedinteger
dtype = np.dtype
e = np.e
euler_gamma = np.euler_gamma
inf = np.inf
nan = np.nan
newaxis = np.newaxis
pi = np.pi
errstate = np.errstate
finfo = np.finfo
iinfo = np.iinfo
isdtype = np.isdtype
issubdtype = np.issubdtype
promote_types = np.promote_types
set_printoptions = np.set_printoptions
printoptions = np.printoptions
__array_namespace_info__ = np.__array_namespace_info__
__array_api_version__ = "2025.12"

__all__ = [
    "Array",
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "all",
    "allclose",
    "amax",
    "amin",
    "angle",
    "any",
    "append",
    "apply_along_axis",
    "apply_over_axes",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "argwhere",
    "around",
    "array",
    "array_equal",
    "array_equiv",
    "array_split",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "asin",
    "asinh",
    "astype",
    "at",
    "atan",
    "atan2",
    "atanh",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "average",
    "bartlett",
    "bincount",
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "blackman",
    "block",
    "bool",
    "bool_",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "c_",
    "can_cast",
    "cbrt",
    "cdouble",
    "ceil",
    "choose",
    "clip",
    "column_stack",
    "complex64",
    "complex128",
    "complexfloating",
    "compress",
    "concat",
    "concatenate",
    "conj",
    "conjugate",
    "convolve",
    "copy",
    "copysign",
    "corrcoef",
    "correlate",
    "cos",
    "cosh",
    "count_nonzero",
    "cov",
    "cross",
    "csingle",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "deg2rad",
    "degrees",
    "delete",
    "diag",
    "diagflat",
    "diagonal",
    "diff",
    "digitize",
    "divide",
    "divmod",
    "dot",
    "double",
    "dsplit",
    "dstack",
    "dtype",
    "e",
    "ediff1d",
    "einsum",
    "einsum_path",
    "empty",
    "empty_like",
    "equal",
    "errstate",
    "euler_gamma",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "extract",
    "eye",
    "fabs",
    "finfo",
    "fix",
    "flatnonzero",
    "flip",
    "fliplr",
    "flipud",
    "float16",
    "float32",
    "float64",
    "float_power",
    "floating",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "from_dlpack",
    "frombuffer",
    "fromfunction",
    "fromiter",
    "full",
    "full_like",
    "generic",
    "geomspace",
    "getitem",
    "gradient",
    "greater",
    "greater_equal",
    "hamming",
    "hanning",
    "heaviside",
    "histogram",
    "histogram_bin_edges",
    "hsplit",
    "hstack",
    "hypot",
    "i0",
    "identity",
    "iinfo",
    "imag",
    "indices",
    "inexact",
    "inf",
    "inner",
    "insert",
    "int8",
    "int16",
    "int32",
    "int64",
    "int_",
    "integer",
    "interp",
    "intersect1d",
    "intp",
    "invert",
    "isclose",
    "iscomplex",
    "iscomplexobj",
    "isdtype",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "isrealobj",
    "isscalar",
    "issubdtype",
    "kaiser",
    "kron",
    "left_shift",
    "less",
    "less_equal",
    "lexsort",
    "linalg",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logspace",
    "matmul",
    "matrix_transpose",
    "matvec",
    "max",
    "maximum",
    "mean",
    "median",
    "meshgrid",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "multiply",
    "nan",
    "nan_to_num",
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmedian",
    "nanmin",
    "nanpercentile",
    "nanprod",
    "nanquantile",
    "nanstd",
    "nansum",
    "nanvar",
    "ndarray",
    "ndim",
    "negative",
    "newaxis",
    "nextafter",
    "nonzero",
    "not_equal",
    "number",
    "ones",
    "ones_like",
    "outer",
    "pad",
    "partition",
    "percentile",
    "permute_dims",
    "pi",
    "piecewise",
    "polyadd",
    "polyder",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "positive",
    "pow",
    "power",
    "printoptions",
    "prod",
    "promote_types",
    "ptp",
    "quantile",
    "r_",
    "rad2deg",
    "radians",
    "ravel",
    "real",
    "real_if_close",
    "reciprocal",
    "remainder",
    "repeat",
    "reshape",
    "resize",
    "result_type",
    "right_shift",
    "rint",
    "roll",
    "rollaxis",
    "rot90",
    "round",
    "row_stack",
    "searchsorted",
    "select",
    "set_printoptions",
    "setdiff1d",
    "setxor1d",
    "shape",
    "sign",
    "signbit",
    "signedinteger",
    "sin",
    "sinc",
    "single",
    "sinh",
    "size",
    "sort",
    "sort_complex",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "trapezoid",
    "tri",
    "tril",
    "tril_indices",
    "trim_zeros",
    "triu",
    "triu_indices",
    "true_divide",
    "trunc",
    "uint",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unsignedinteger",
    "unstack",
    "unwrap",
    "vander",
    "var",
    "vdot",
    "vecdot",
    "vecmat",
    "vectorize",
    "vsplit",
    "vstack",
    "where",
    "zeros",
    "zeros_like",
]  # fmt: skip
__dir__ = listing(__all__)

operators.install(sys.modules[__name__])

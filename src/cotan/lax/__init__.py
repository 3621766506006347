"""``cotan.lax``: the ops under JAX's names and signatures, as strict about shapes and dtypes as JAX's (`cotan.numpy` promotes)."""

# ruff: noqa: I001 - the names of one module stand together
from __future__ import annotations

from ..core.listing import listing
from . import linalg
from .associative import associative_scan
from .branches import cond, switch
from .indexing import (
    GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers, dynamic_index_in_dim, dynamic_slice, dynamic_slice_in_dim,
    dynamic_update_index_in_dim, dynamic_update_slice, dynamic_update_slice_in_dim, gather, scatter, scatter_add, scatter_max,
    scatter_min, scatter_mul, segment_max, segment_min, segment_prod, segment_sum,
)  # fmt: skip
from .loops import fori_loop, map, scan, while_loop
from .elementwise import (
    abs, acos, acosh, add, asin, asinh, atan, atan2, atanh, bessel_i0e, bessel_i1e, bitwise_and, bitwise_not, bitwise_or, bitwise_xor,
    cbrt, ceil, clamp, complex, conj, convert_element_type, cos, cosh, digamma, div, eq, erf, erf_inv, erfc, exp, exp2, expm1, floor,
    ge, gt, igamma, igammac, imag, integer_pow, is_finite, le, lgamma, log, log1p, logistic, lt, max, min, mul, ne, neg, nextafter,
    polygamma, population_count, pow, real, reciprocal, rem, round, rsqrt, select, select_n, shift_left, shift_right_arithmetic,
    shift_right_logical, sign, sin, sinh, sqrt, square, stop_gradient, sub, tan, tanh,
)  # fmt: skip
from .reduction import (
    argmax, argmin, cumlogsumexp, cummax, cummin, cumprod, cumsum, reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod,
    reduce_sum, sort, sort_key_val, top_k,
)  # fmt: skip
from .shape import (
    batch_matmul, broadcast, broadcast_in_dim, broadcast_shapes, broadcast_to_rank, broadcasted_iota, collapse, concatenate, dot,
    dot_general, expand_dims, full, full_like, index_in_dim, iota, pad, reshape, rev, slice, slice_in_dim, squeeze, transpose,
)  # fmt: skip

from .solvers import custom_linear_solve, custom_root

__all__ = [
    "GatherDimensionNumbers", "GatherScatterMode", "ScatterDimensionNumbers", "abs", "acos", "acosh", "add", "argmax", "argmin", "asin",
    "asinh", "associative_scan", "atan", "atan2", "atanh", "batch_matmul", "bessel_i0e", "bessel_i1e", "bitwise_and", "bitwise_not",
    "bitwise_or", "bitwise_xor", "broadcast", "broadcast_in_dim", "broadcast_shapes", "broadcast_to_rank", "broadcasted_iota", "cbrt",
    "ceil", "clamp", "collapse", "complex", "concatenate", "cond", "conj", "convert_element_type", "cos", "cosh", "cumlogsumexp",
    "cummax", "cummin", "cumprod", "cumsum", "custom_linear_solve", "custom_root", "digamma", "div", "dot", "dot_general",
    "dynamic_index_in_dim", "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim", "dynamic_update_slice",
    "dynamic_update_slice_in_dim", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expand_dims", "expm1", "floor", "fori_loop", "full",
    "full_like", "gather", "ge", "gt", "igamma", "igammac", "imag", "index_in_dim", "integer_pow", "iota", "is_finite", "le", "lgamma",
    "linalg", "log", "log1p", "logistic", "lt", "map", "max", "min", "mul", "ne", "neg", "nextafter", "pad", "polygamma",
    "population_count", "pow", "real", "reciprocal", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum",
    "rem", "reshape", "rev", "round", "rsqrt", "scan", "scatter", "scatter_add", "scatter_max", "scatter_min", "scatter_mul",
    "segment_max", "segment_min", "segment_prod", "segment_sum", "select", "select_n", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "slice", "slice_in_dim", "sort", "sort_key_val", "sqrt", "square", "squeeze",
    "stop_gradient", "sub", "switch", "tan", "tanh", "top_k", "transpose", "while_loop",
]  # fmt: skip
__dir__ = listing(__all__)

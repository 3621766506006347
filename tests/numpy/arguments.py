"""Random arguments for every function of the surface, from NumPy's own signature, by a recipe for each parameter.

`calls` reads the signature of NumPy's function and draws a value for each required parameter, and for some of the others, each by position
or by keyword. The recipe is listed under the function and the parameter in `OF_FUNCTION`, else under the parameter in `OF_PARAMETER`. A
parameter without a recipe is a failure, so a new function cannot land without recipes. A value that can be traced is marked as an
`Operand`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import cotan.numpy as cnp

from .recipes import (
    Draw,
    Operand,
    Recipe,
    array,
    ascending,
    axes,
    axis,
    axis_or_none,
    bare,
    beside,
    bins,
    blocks,
    broader,
    choice_list,
    coefficients,
    condition_list,
    constant,
    definite,
    dtype,
    fitting,
    functions_of,
    hermitian,
    index_along,
    index_array,
    initial,
    ints,
    joined,
    last_axis,
    left_factor,
    mask,
    matrices,
    mean_of,
    new_shape,
    nothing,
    of_rows,
    pad_arguments,
    pad_widths,
    product_of,
    quantiles,
    sections,
    several,
    shape_only,
    spacings,
    vector,
    weights,
)


class Call(NamedTuple):
    """A call of the function ``name``."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        parts = [*map(shown, self.args), *(f"{key}={shown(value)}" for key, value in self.kwargs.items())]
        return f"{self.name}({', '.join(parts)})"


def shown(x: Any) -> str:
    """An argument as a failure prints it."""
    x = x.value if isinstance(x, Operand) else x
    if isinstance(x, list | tuple):
        return f"{type(x).__name__}({', '.join(map(shown, x))})"
    if isinstance(x, np.ndarray):
        return f"array({x.tolist()}, {x.dtype.str[1:]!r})" if x.size <= 24 else f"<{x.dtype}{list(x.shape)}>"
    return f"np.{x!r}".replace("np.np", "np") if isinstance(x, np.generic) else getattr(x, "__name__", repr(x))


HALF = constant(0, 1, 2, -1)
METHODS = (
    *("linear", "linear", "lower", "higher", "nearest", "midpoint", "hazen", "weibull", "median_unbiased", "normal_unbiased"),
    *("interpolated_inverted_cdf", "inverted_cdf", "averaged_inverted_cdf", "closest_observation"),
)
OF_PARAMETER: dict[str, Recipe] = {
    **dict.fromkeys(
        ("a", "x", "m", "v", "arr", "ary", "z", "val", "element", "array", "prototype", "object", "y", "A", "a1", "ar", "ar1"), array()
    ),
    **dict.fromkeys(("b", "x2", "a2", "ar2", "test_elements"), beside),
    **dict.fromkeys(("out", "like", "subok", "kwargs", "kw", "signature", "casting", "device", "args", "ndmax", "einsum_call"), nothing),
    **dict.fromkeys(
        ("keepdims", "retstep", "endpoint", "sparse", "increasing", "returned", "bias", "density", "equal_nan"), constant(True, False)
    ),
    **dict.fromkeys(
        ("assume_unique", "invert", "overwrite_input", "hermitian", "include_initial", "upper", "right"), constant(True, False)
    ),
    **dict.fromkeys(
        ("return_index", "return_inverse", "return_counts", "return_indices", "sorted", "rowvar", "deg"), constant(True, False)
    ),
    **dict.fromkeys(("arrays", "tup"), joined),
    "x1": array(),
    "axis": axis,
    "axis1": axis,
    "axis2": axis,
    "dtype": dtype,
    "where": mask,
    "initial": initial,
    "order": constant("C", "C", "F", "A"),
    "copy": constant(True, None, False),
    "kind": constant(None, "stable", "quicksort", "heapsort"),
    "stable": constant(None, True),
    "side": constant("left", "right", "left", "middle"),
    "offset": ints(-2, 2),
    "k": ints(-2, 2),
    "ddof": constant(0, 1, 0.5, 4),
    "correction": constant(0, 1, 0.5),
    "mean": mean_of,
    "weights": weights,
    "decimals": HALF,
    "shape": new_shape,
    "indices_or_sections": sections,
    "q": quantiles,
    "method": constant(*METHODS),
    "mode": constant("full", "same", "valid", "valid"),
}
RUNNING = ("cumsum", "cumprod", "nancumsum", "nancumprod")
SEVERAL_AXES = (
    *(
        "all",
        "any",
        "sum",
        "prod",
        "max",
        "min",
        "amax",
        "amin",
        "mean",
        "var",
        "std",
        "ptp",
        "median",
        "average",
        "count_nonzero",
        "flip",
        "squeeze",
    ),
    *(f"nan{name}" for name in ("sum", "prod", "max", "min", "mean", "var", "std", "median", "quantile", "percentile")),
    *("quantile", "percentile", "size", "linalg.vector_norm", "gradient"),
)
MAYBE_NO_AXIS = (*RUNNING, "argmax", "argmin", "nanargmax", "nanargmin", "sort", "argsort", "partition", "argpartition", "take", "repeat")
MAYBE_NO_AXIS += (
    "append",
    "delete",
    "insert",
    "compress",
    "concatenate",
    "concat",
    "roll",
    "cumulative_sum",
    "cumulative_prod",
    "take_along_axis",
    "unique",
)
OF_FUNCTION: dict[str, dict[str, Recipe]] = {
    **{name: {"axis": axes} for name in SEVERAL_AXES},
    **{name: {"axis": axis_or_none} for name in MAYBE_NO_AXIS},
}


def define(names: str, **recipes: Recipe) -> None:
    """Recipes of the parameters of these functions."""
    for name in names.split():
        OF_FUNCTION[name] = {**OF_FUNCTION.get(name, {}), **recipes}


# ---- joining, splitting, shapes -----------------------------------------------------------------------------------------------
define("stack", axis=lambda d: d.one(0, 1, -1, 2, 5))
define("concatenate concat", axis=lambda d: d.one(0, 0, -1, 1, None, 3))
define("hstack vstack dstack column_stack row_stack stack concatenate concat", dtype=constant(None, "f8", np.float32, complex))
define("hstack vstack dstack row_stack stack concatenate concat", casting=constant("same_kind", "unsafe", "safe", "no"))
define("block", arrays=blocks)
define("append", values=lambda d: d.form(d.values(d.one(d.first().shape, d.shape()))))
define("atleast_1d atleast_2d atleast_3d", arys=several)
define("broadcast_arrays", args=several)
define("broadcast_to", shape=broader)
define("broadcast_shapes", args=lambda d: d.one(((2, 3), (3,)), ((2, 1), 4), ((2,), (3,)), ()))
define(
    "meshgrid", xi=lambda d: tuple(vector()(d) for _ in range(d.number(0, 3))), indexing=constant("xy", "ij"), copy=constant(True, False)
)
define(
    "transpose permute_dims", axes=lambda d: d.one(None, d.rng.permutation(d.first().ndim).tolist(), tuple(range(d.first().ndim)), (0, 0))
)
define("moveaxis", source=lambda d: d.one(0, -1, (0, 1)), destination=lambda d: d.one(0, -1, (1, 0), 1))
define("rollaxis", start=ints(-1, 2))
define("expand_dims", axis=lambda d: d.one(0, -1, (0, 2), [0, 1], 1, 5))
define("rot90", k=ints(-1, 5), axes=constant((0, 1), (1, 0), (-1, 0), (0, 0)))
define("roll", shift=lambda d: d.one(1, -2, (1, 2), 7), axis=lambda d: d.one(None, axis(d), (0, 1)))
define("resize", new_shape=shape_only)
define("repeat", repeats=lambda d: d.one(2, 0, [1, 2, 0], np.array([2]), 3))
define("tile", reps=lambda d: d.one(2, (2, 1), [1, 2, 2], (), 0))
define("pad", pad_width=pad_widths, kwargs=pad_arguments)
define("pad", mode=constant("constant", "edge", "reflect", "symmetric", "wrap", "maximum", "mean", "median", "minimum", "linear_ramp"))
define("delete", obj=lambda d: d.one(0, -1, [0, 1], slice(0, 2), np.array([0]), [], np.array([True, False, True])))
define(
    "insert",
    obj=lambda d: d.one(0, 1, [0, 1], slice(0, 2), np.array([1]), -1),
    values=lambda d: d.form(d.values(d.one((), (2,), (1,), d.first().shape), d.first().dtype.str, special=False)),
)
define("unstack", axis=axis)
define(
    "array_split split hsplit vsplit", ary=lambda d: Operand(d.values(d.shape()))
)  # NumPy takes the length of a list for that of any axis
define("dsplit", ary=lambda d: Operand(d.values(d.one((2, 3, 2), (2, 2, 4), (3,)))))
define("apply_along_axis", func1d=constant(lambda v: v * v, lambda v: v.sum(), lambda v: v[:1]), axis=ints(-1, 1), args=nothing)
define("apply_over_axes", func=constant(lambda v, k: v.sum(k), lambda v, k: v.max(k)), axes=lambda d: d.one(0, [0], (0, -1)))

# ---- choices, indices, searching -------------------------------------------------------------------------------------------------
define("where", condition=array(), x=beside, y=beside)
define("select", condlist=condition_list, choicelist=choice_list, default=lambda d: Operand(d.one(0, 2.5, np.float32(1))))
define("piecewise", x=array((3,), (2, 3), (4,), kinds="fci"))
define("piecewise", condlist=condition_list, funclist=functions_of)
define("choose", a=lambda d: Operand(d.rng.integers(0, 2, d.one((3,), (2, 3), ()))), mode=constant("raise", "clip", "wrap"))
define("choose", choices=lambda d: Operand([d.form(d.values(d.near(d.first().shape))).value for _ in range(2)]))
define("compress", condition=lambda d: d.one([True, False, True], np.array([True, True]), [1, 0], [[True, False]], True))
define("extract", condition=lambda d: d.one([True, False, True], np.array([[True, False, True], [False, True, True]]), [1, 0, 2]))
define("take", indices=index_array, mode=constant("raise", "wrap", "clip"))
define("take_along_axis", indices=index_along)
define("clip", a_min=beside, a_max=beside, min=beside, max=beside)
define("nanmax nanmin", a=lambda d: Operand(d.values(d.shape())))  # of lists NumPy takes them in another way
define(
    "nan_to_num", nan=lambda d: Operand(d.one(1.0, 0)), posinf=lambda d: Operand(d.one(9.0, None)), neginf=lambda d: Operand(d.one(-9.0, 2))
)
define("isclose allclose", rtol=lambda d: Operand(d.one(1e-5, 0.1, 0)), atol=lambda d: Operand(d.one(1e-8, 0.3)))
define("real_if_close", tol=constant(100, 1.0))
define("searchsorted", a=lambda d: Operand(np.sort(bare(ascending(d)))), v=array(), sorter=lambda d: Operand(np.arange(d.first().size)))
define("digitize", bins=lambda d: ascending(d) if d.chance(0.7) else Operand(d.one([1, 3, 2], [], [2.0], [2, 1, 1], np.zeros(0, "i8"))))
define("interp", x=array(kinds="fi"), xp=lambda d: Operand(np.cumsum([0.5, 1, 0.25][: d.number(1, 3)])))
define("interp", fp=lambda d: Operand(d.values(np.shape(d.given["xp"]), d.one("f8", "f4", "c16", "i8", "f2"))))
define(
    "interp",
    left=lambda d: Operand(d.one(-1.0, 2)),
    right=lambda d: Operand(d.one(7.0, None)),
    period=lambda d: Operand(d.one(None, 2.5, 3)),
)
define("isin", kind=constant(None, "sort"))
define(
    "bincount", x=lambda d: Operand(d.rng.integers(0, 5, d.one((4,), (0,), (2, 2))).astype(d.one("i8", "u1", "i4"))), minlength=ints(0, 7)
)
define("histogram histogram_bin_edges", a=array(kinds="fiu?"), bins=bins, range=constant(None, (-1.0, 1.5)))
define(
    "lexsort", keys=lambda d: Operand(d.one([d.values((4,)), d.values((4,))], d.values((2, 4)), [d.values((2, 3))])), axis=constant(-1, 0)
)
define("partition argpartition", kth=lambda d: d.one(0, 1, -1, [0, 1], 7))
define("trim_zeros", trim=constant("fb", "f", "b"), filt=vector())
define("real imag", val=lambda d: Operand(d.values(d.shape())))  # a Python bool has an int as its real part
define("unwrap", p=array(), discont=constant(None, 1.0), period=constant(6.0, 3))
define("angle", deg=constant(True, False))

define("bitwise_and bitwise_or bitwise_xor", x1=array(kinds="?iu"), x2=array((3,), (2, 3), (), kinds="?iu"))
define(
    "left_shift right_shift bitwise_left_shift bitwise_right_shift",
    x1=array(kinds="iu"),
    x2=lambda d: Operand(d.values(d.near(d.first().shape), "u1")),
)
define("invert bitwise_not bitwise_invert bitwise_count", x=array(kinds="?iu"))

# ---- creation ------------------------------------------------------------------------------------------------------------------
define("zeros ones empty full", shape=shape_only, dtype=constant(None, float, np.float32, int, bool, complex), order=constant("C", "F"))
define("zeros_like ones_like empty_like full_like", shape=lambda d: d.one(None, None, (2,), 3, ()))
define("full full_like", fill_value=lambda d: d.form(d.values(d.one((), (), (), (3,)))))
define("eye tri", N=ints(0, 3), M=constant(None, 2, 4))
define("identity", n=ints(0, 3))
define("arange", start_or_stop=constant(0, 3, 2.5, -1, np.float32(3)), stop=constant(5, None, 4.0), step=constant(1, 2, 0.5, 1.0, -1))
define("linspace logspace geomspace", start=lambda d: Operand(d.one(1, 0.5, np.float32(2), [1.0, 2.0], 1j, 0)))
define("linspace logspace geomspace", stop=lambda d: Operand(d.one(4, 2.5, np.float32(3), [3.0, 5.0], 1 + 1j, [0.0, 1])), num=ints(-1, 4))
define(
    "linspace logspace geomspace",
    dtype=constant(None, "f4", int, complex),
    axis=constant(0, -1),
    base=lambda d: Operand(d.one(2, 10.0, [2.0, 3.0])),
)
define("indices", dimensions=constant((2, 3), (), (0,)))
define("tril_indices triu_indices", n=ints(0, 3), m=constant(None, 4))
define("bartlett blackman hamming hanning kaiser", M=ints(0, 5), beta=constant(0.0, 2.5))
define("frombuffer", buffer=constant(b"12345678"), count=constant(-1, 1), offset=constant(0))
define("fromiter", iter=constant([1, 2, 3]), dtype=constant(float, int), count=constant(-1, 2))
define("fromfunction", function=constant(lambda *i: sum(i)), shape=constant((2, 3), (3,)))
define("array", ndmin=ints(0, 3), copy=constant(True))
define("asarray asanyarray ascontiguousarray array copy", dtype=constant(None, "f8", "f4", complex))
define("astype", dtype=constant("f8", np.float32, complex, int, bool, "u1"))
define("diag", v=array((3,), (3, 3), (2, 3), (0,), (2, 2, 2), ()))
define("tril triu", m=array((3, 3), (2, 3), (3,), (2, 2, 3), (0, 2), ()))
define("vander", x=vector(), N=constant(None, 0, 2))
define("from_dlpack", x=lambda d: d.values((3,), "f8"), device=constant(None, "cpu"))
define("can_cast", from_=constant("f8", np.float32, int), to=constant("f4", complex), casting=constant("safe", "same_kind"))
define("result_type", arrays_and_dtypes=lambda d: (*several(d), d.kind()))

# ---- sums, differences, polynomials -----------------------------------------------------------------------------------------------
define("diff", n=ints(0, 3), prepend=lambda d: Operand(d.one(0, 1.5)), append=lambda d: Operand(d.one(2, np.float32(0.5))))
define("diff", a=lambda d: Operand(d.values(d.shape())))  # NumPy's differences of order 0 of a list are the list
define("std var nanstd nanvar", dtype=constant(None, float, np.float32, int, np.float16, "u1"))  # complex ones by zero are nan in a part
define("ediff1d", to_end=lambda d: Operand(d.one(1, [2, 3])), to_begin=lambda d: Operand(d.one(0, [4])))
define("gradient", f=array((4,), (3,), (2, 3), (3, 3), (1,), (), kinds="fciu"), varargs=spacings, edge_order=constant(1, 2))
define("trapezoid", x=lambda d: Operand(np.cumsum(np.ones(d.first().shape[-1:]))), dx=lambda d: Operand(d.one(1.0, 0.5, 2)))
define(
    "cov corrcoef",
    m=array((4,), (2, 4), (1, 3), (0,), (3, 2)),
    x=array((4,), (2, 4), (1, 3), (3, 2)),
    y=lambda d: Operand(d.values(d.first().shape)),
)
define("cov corrcoef", dtype=constant(None, np.float32, float, complex), ddof=constant(None, 0, 1))
define("cov", fweights=lambda d: Operand(np.arange(d.first().shape[-1] if d.first().ndim else 1)))
define("cov", aweights=lambda d: Operand(np.arange(d.first().shape[-1] if d.first().ndim else 1) + 0.5))
define("polyadd polysub polymul", a1=coefficients, a2=coefficients)
define("polyval polyder polyint", p=coefficients, m=ints(-1, 2))
define("polyint", k=lambda d: Operand(d.one(None, 1.0, 2, [1.0], [1.0, 2, 3.5], np.array([0.5, 2.0]), 1j)))
define("average", weights=weights)

# ---- products ----------------------------------------------------------------------------------------------------------------------
define("matmul dot linalg.matmul", a=left_factor, b=fitting, x1=left_factor, x2=fitting)
define("inner vecdot linalg.vecdot", a=left_factor, b=last_axis, x1=left_factor, x2=last_axis)
define("matvec", x1=matrices(), x2=last_axis)
define("vecmat", x1=left_factor, x2=of_rows)
define("linalg.vecdot", axis=constant(-1, 0))
define("vdot", b=lambda d: d.form(d.values((d.first().size,))))
define("cross linalg.cross", a=array((3,), (2, 3), (3, 3), (2,), (4, 2)), b=last_axis, x1=array((3,), (2, 3), (3, 3), (2,)), x2=last_axis)
define("cross linalg.cross", axisa=constant(-1, 0), axisb=constant(-1), axisc=constant(-1, 0), axis=constant(-1, 0))
define(
    "tensordot linalg.tensordot",
    a=array((2, 3), (3, 3), (3,)),
    b=array((3, 2), (3, 3), (3,)),
    x1=array((2, 3), (3, 3), (3,)),
    x2=array((3, 2), (3, 3)),
)
define("tensordot linalg.tensordot", axes=constant(1, 1, 0, ([1], [0]), (0, 1), 2, (-1, 0)))
define("convolve", a=coefficients, v=coefficients)
define("correlate", a=vector(), v=vector())
define("einsum einsum_path", operands=product_of, optimize=constant(True, False, "greedy"))
define("linalg.outer", x1=vector(), x2=vector())

# ---- linear algebra -----------------------------------------------------------------------------------------------------------------
define("linalg.cholesky", a=definite)
define("linalg.det linalg.inv linalg.slogdet linalg.eig linalg.eigvals", a=matrices(square=True, kinds="fci"))
define("linalg.eigh linalg.eigvalsh", a=hermitian, UPLO=constant("L", "U", "l", "X"))
define("linalg.solve", a=matrices(square=True, kinds="fci"), b=fitting)
define("linalg.tensorinv", a=lambda d: Operand(d.values((2, 3, 6), "f8")), ind=constant(2, 1))
define(
    "linalg.tensorsolve",
    a=lambda d: Operand(d.values((2, 3, 6), "f8")),
    b=lambda d: Operand(d.values((2, 3), "f8")),
    axes=constant(None, (0, 1)),
)
define("linalg.lstsq", a=matrices(kinds="f"), b=lambda d: Operand(d.values(d.first().shape[:1], "f8")), rcond=constant(None, 1e-3))
define(
    "linalg.pinv linalg.svd linalg.qr linalg.svdvals linalg.cond linalg.matrix_rank linalg.matrix_norm",
    a=matrices(kinds="fci"),
    x=matrices(kinds="fci"),
)
define("linalg.matrix_rank", A=lambda d: d.one(array((3,), ()), matrices(kinds="fci"))(d), tol=lambda d: Operand(d.one(None, 0.5)))
define(
    "linalg.matrix_rank linalg.pinv",
    rtol=lambda d: Operand(d.one(None, 1e-3)),
    rcond=lambda d: Operand(d.one(None, 1e-3)),
    hermitian=constant(False, True),
)
define("linalg.svd", full_matrices=constant(True, False), compute_uv=constant(True, False), hermitian=constant(False, True))
define("linalg.qr", mode=constant("reduced", "r", "complete", "raw", "other"))
define("linalg.cond", p=constant(None, 2, -2, 1, "fro", np.inf, "nuc"))
define("linalg.matrix_norm", ord=constant("fro", "nuc", 1, -1, 2, np.inf, None, 3))
define("linalg.vector_norm", ord=constant(2, 1, 0, 3, np.inf, -np.inf, 0.5), axis=axes)
define("linalg.norm", ord=constant(None, None, 1, 2, -1, "fro", np.inf, 0, "nuc", 3), axis=axes)
define("linalg.matrix_power", a=matrices(square=True), n=ints(-2, 4))
define(
    "linalg.multi_dot",
    arrays=lambda d: Operand([d.values(d.one((2, 3), (3,))), d.values((3, 2)), d.values(d.one((2, 2), (2,)))][: d.number(2, 3)]),
)
define(
    "linalg.diagonal linalg.trace linalg.matrix_transpose matrix_transpose", x=array((2, 3), (3, 3), (2, 3, 4), (3,)), offset=ints(-2, 2)
)


# ---- calls ---------------------------------------------------------------------------------------------------------------------------
def functions() -> dict[str, tuple[Any, Any]]:
    """NumPy's function and cotan's of the same name, for each that both have."""
    pairs: dict[str, tuple[Any, Any]] = {}
    for prefix, theirs, ours in (("", np, cnp), ("linalg.", np.linalg, cnp.linalg)):
        for name in ours.__all__:
            function = getattr(theirs, name, None)
            if callable(function) and not isinstance(function, type):
                pairs[prefix + name] = function, getattr(ours, name)
    return pairs


NOT_DRAWN = frozenset({"printoptions", "set_printoptions", "errstate", "vectorize", "issubdtype", "isdtype", "promote_types"})
"""Functions that take no array: NumPy's own, or wrappers of Python functions, with tests of their own."""


def recipe_of(name: str, parameter: str) -> Recipe:
    found = OF_FUNCTION.get(name, {}).get(parameter) or OF_PARAMETER.get(parameter)
    if found is None:
        raise LookupError(f"{name} has a parameter {parameter!r} without a recipe: give it one in {__file__}.")
    return found


def draw_call(name: str, function: Any, seed: int, smooth: bool = False) -> Call:
    """A call of NumPy's ``function``."""
    d = Draw(name, seed, smooth)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    in_order = True
    for p in inspect.signature(function).parameters.values():
        optional = p.default is not p.empty or p.kind is p.VAR_KEYWORD
        if isinstance(function, np.ufunc) and optional and p.name != "axis":
            continue
        if optional and d.chance(0.66):
            in_order = in_order and p.kind is p.KEYWORD_ONLY
            continue
        value = recipe_of(name, p.name)(d)
        if value is inspect.Parameter.empty:
            in_order = False
            continue
        d.given[p.name] = bare(value)
        if p.kind is p.VAR_POSITIONAL:
            args += value
        elif p.kind is p.VAR_KEYWORD:
            kwargs |= value
        elif p.kind is p.POSITIONAL_ONLY or (in_order and p.kind is not p.KEYWORD_ONLY and not d.chance(0.25 if optional else 0.08)):
            args.append(value)
        else:
            in_order = False
            kwargs[p.name] = value
    return Call(name, tuple(args), kwargs)


def calls(name: str, seeds: range, *, smooth: bool = False) -> Iterator[Call]:
    """Drawn calls of the function of this name."""
    function = functions()[name][0]
    for seed in seeds:
        yield draw_call(name, function, seed, smooth)

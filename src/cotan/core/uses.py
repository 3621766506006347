"""What the user's code does with a traced value where Python or NumPy needs the number behind it, and what to write instead.

The instruction that runs tells: its name, and the expression of the source that it evaluates, in which a called function is looked up.
Without the source (``python -c``, ``exec``), the kind of the conversion alone tells.
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from dis import get_instructions
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from .operators import surface
from .origin import Origin, source_line

__all__ = ["STATIC", "Use", "use_of"]

STATIC = "static"
"""In `Use.remedies`: the place of the advice how an argument becomes a plain value, which depends on the transformation."""


@dataclass(frozen=True, slots=True)
class Use:
    """``problem``: what is asked for; ``remedies``: what to write instead, the best first."""

    problem: str
    remedies: tuple[str, ...]


SHAPES = "take the largest size, which is known, and mask: cotan.numpy.where(cotan.numpy.arange(size) < n, a, 0)"
PRINT = "write cotan.debug.print('{x:.3f}', x=x), which prints when the code runs; print its type with f'{x}', or return the value"
WINDOW = (
    "for n elements from a traced index on, n known, write cotan.lax.dynamic_slice_in_dim(x, i, n) (to change them, "
    "cotan.lax.dynamic_update_slice_in_dim)"
)
MASK = "for x[:n] keep the size and mask: cotan.numpy.where(cotan.numpy.arange(len(x)) < n, x, 0)"
CHOICE = (
    "write cotan.numpy.where(condition, a, b) to choose between values, cotan.lax.cond for a branch, cotan.lax.while_loop for a loop, "
    "and & | ~ for `and`, `or`, `not`"
)
ARRAY = (
    "write the function of cotan.numpy, if there is one: cotan.numpy.array([a, b]), cotan.numpy.full(n, a); to fill an array write "
    "a = a.at[i].set(v), and to index one a[i], with a = cotan.numpy.asarray(a)"
)
SLICE = Use("it is a bound of a slice, and how many elements x[i:j] has would depend on it", (WINDOW, MASK, STATIC))
CONVERSIONS = {
    "bool": Use(
        "its truth is asked for (by `if`, `while`, `and`, `or`, `not` or `assert`)",
        (CHOICE, STATIC),
    ),
    "int": Use("int() of it is asked for", ("keep it as an array: x.astype(int)", STATIC)),
    "index": Use(
        "it is used as a Python integer (by range(), a slice bound or a shape)",
        ("loop with cotan.lax.fori_loop; index with it a cotan.numpy array", STATIC),
    ),
    "slice": SLICE,
    "float": Use(
        "float() of it is asked for",
        ("leave out float(); a 0-d array takes part in arithmetic as it is; for math.sin write cotan.numpy.sin", STATIC),
    ),
    **{
        name: Use(f"math.{name}() of it is asked for", (f"call cotan.numpy.{name}(x), whose result is an array of floats", STATIC))
        for name in ("floor", "ceil", "trunc")
    },
    "format": Use("it is to be printed as a number (f'{x:.2f}')", (PRINT,)),
    "complex": Use("complex() of it is asked for", ("leave out complex(); write x.astype(complex) or x + 0j", STATIC)),
    "hash": Use(
        "it is looked up in a dict or a set, or is an argument of a cached function",
        ("keep a table in an array and index that with it: cotan.numpy.asarray(values)[i]", "call a cached function outside", STATIC),
    ),
    "item": Use("its .item() is asked for", ("leave out .item(); a 0-d array takes part in arithmetic as it is", STATIC)),
    "tolist": Use("its .tolist() is asked for", ("work with the array, or return it and convert it outside", STATIC)),
    "array": Use(
        "NumPy would make a plain array of it",
        (ARRAY, STATIC),
    ),
}
PUT = Use(
    "it is put into a NumPy array (a[i] = v), as its value or its index",
    ("write a = a.at[i].set(v) with a = cotan.numpy.asarray(a); or collect the values in a list and write cotan.numpy.stack(values)",),
)
INDEX = Use("it is used as an index of a NumPy array", ("write a = cotan.numpy.asarray(a), then a[i]", STATIC))
ELEMENT = Use(
    "it is used as an index of a list or a tuple",
    (
        "stack what is in it, and index that: cotan.numpy.stack(values)[i]; choose between functions with cotan.lax.switch(i, functions)",
        STATIC,
    ),
)
MEMBER = Use("it is looked for with `in`", ("write cotan.numpy.any(x == cotan.numpy.asarray(values))",))
PERCENT = Use("it is to be printed as a number ('%.2f' % x)", (PRINT,))
RANDOM = (
    "draw the random numbers outside of the traced function and pass them as an argument: loc + scale * noise with "
    "noise = rng.normal(size=n), x[order] with order = rng.permutation(n); under jit, numbers drawn inside are the same in every call"
)
BUILTINS: tuple[tuple[Any, str], ...] = (
    (max, "cotan.numpy.maximum(a, b), or cotan.numpy.max(x) of an array"),
    (min, "cotan.numpy.minimum(a, b), or cotan.numpy.min(x) of an array"),
    (sorted, "cotan.numpy.sort(x)"),
    (any, "cotan.numpy.any(x)"),
    (all, "cotan.numpy.all(x)"),
)
"""What to write for functions of Python that compare or test their arguments."""
MATH = {
    "fabs": "abs",
    "pow": "power",
    "gamma": "",
    "lgamma": "",
    "erf": "",
    "erfc": "",
    "dist": "linalg.norm",
    "prod": "prod",
    "fsum": "sum",
}
"""The names in `cotan.numpy` of functions of `math` with other names; empty for those of `cotan.special`."""
GENERATORS = (np.random.Generator, np.random.RandomState)
SPECIAL = {"gamma": "gamma", "lgamma": "gammaln", "erf": "erf", "erfc": "erfc"}


def use_of(frame: FrameType | None, conversion: str) -> Use:
    """What the instruction of ``frame`` does, for which ``conversion`` is asked."""
    general = CONVERSIONS[conversion]
    if frame is None:
        return general
    name = instruction(frame)
    node = expression(frame)
    if name.startswith("STORE_SUBSCR") and conversion in ("array", "float", "complex", "int", "index"):
        return PUT
    if name.startswith(("BINARY_SUBSCR", "BINARY_SLICE")):
        return subscript(name, node, conversion)
    if name == "CONTAINS_OP" and conversion in ("bool", "hash"):
        return MEMBER
    if name == "BINARY_OP" and conversion in ("float", "int", "index") and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return PERCENT
    if isinstance(node, ast.Call) and "CALL" in name:  # or PRECALL, in Python 3.11
        return of_call(node, called(node.func, frame), conversion) or general
    return general


def subscript(name: str, node: ast.AST | None, conversion: str) -> Use:
    """What ``a[i]`` does with a traced ``i``."""
    if name.startswith("BINARY_SLICE") or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
        return SLICE
    return {"array": INDEX, "index": ELEMENT}.get(conversion, CONVERSIONS[conversion])


def of_call(node: ast.Call, function: Any, conversion: str) -> Use | None:
    """What a call of ``function`` does with a traced argument; None if the conversion alone tells."""
    name = ast.unparse(node.func)
    if function is range:
        return Use("range() needs it as a Python integer", ("loop with cotan.lax.fori_loop(0, n, lambda i, y: ..., y)", STATIC))
    if function is float:
        return Use("float() of it is asked for", ("leave out float(): a 0-d array takes part in arithmetic as it is", STATIC))
    if is_random(function):
        sized = f"{name}() needs it as a Python integer, for a size"
        return Use(sized, (STATIC, RANDOM)) if conversion == "index" else Use(f"{name}() needs it as a plain number", (RANDOM,))
    instead = next((text for known, text in BUILTINS if function is known), None)
    if instead is not None:
        return Use(f"{name}() asks for its truth", (f"write {instead}",))
    module = getattr(function, "__module__", None) or getattr(getattr(function, "__objclass__", None), "__module__", None) or ""
    if module == "math":
        return of_math(name, function.__name__)
    return of_array_function(name, function, node, conversion) if module.startswith(("numpy", "cotan")) else None


def of_array_function(name: str, function: Any, node: ast.Call, conversion: str) -> Use | None:
    """What a function or a method of NumPy or of cotan does, which the user calls by ``name``."""
    if function in (np.arange, surface().arange):
        return Use(f"{name}() needs its value: how many numbers there are depends on it", (STATIC, SHAPES))
    if conversion in ("index", "int"):
        return Use(f"{name}() needs it as a Python integer, for a size, an axis or a position", (STATIC, SHAPES))
    if conversion == "bool":
        return Use(f"{name}() needs its value", (STATIC,))
    if isinstance(function, type) and issubclass(function, np.generic):
        return Use(f"{name}() would make a plain number of it", (f"write x.astype({name})", STATIC))
    own = getattr(function, "__name__", "")
    if conversion != "array" or getattr(surface(), own, function) is function:
        return None
    if function not in (np.array, np.asarray, np.asanyarray):
        remedy = f"write cotan.numpy.{own}(...), which is traced"
    elif node.args and isinstance(node.args[0], ast.List | ast.Tuple):
        remedy = f"write cotan.numpy.{own}([a, b]), which is traced"
    else:
        remedy = f"leave out {name}(), or write cotan.numpy.asarray(x)"
    return Use(f"{name}() would make a plain array of it", (remedy, STATIC))


def of_math(spelled: str, name: str) -> Use | None:
    """What a function of `math` does."""
    own = f"cotan.special.{SPECIAL[name]}" if name in SPECIAL else f"cotan.numpy.{MATH.get(name, name)}"
    if name not in SPECIAL and not hasattr(surface(), MATH.get(name, name).partition(".")[0]):
        return Use(f"{spelled}() needs it as a plain number", ("write it with functions of cotan.numpy", STATIC))
    return Use(f"{spelled}() needs it as a plain number", (f"write {own}(...) for {spelled}(...)", STATIC))


def is_random(function: Any) -> bool:
    """Whether this is a method of NumPy's random generators; functions of `numpy.random` are such methods."""
    return isinstance(getattr(function, "__self__", None), GENERATORS)


# ---- the instruction and its expression ------------------------------------------------------------------------------------
def instruction(frame: FrameType) -> str:
    """The name of the instruction that runs in ``frame``."""
    found = None
    for i in get_instructions(frame.f_code):
        if i.offset > frame.f_lasti:  # which may lie among the caches that follow an instruction
            break
        found = i
    if found is None:
        return ""
    return "BINARY_SUBSCR" if found.opname == "BINARY_OP" and found.argrepr == "[]" else found.opname  # an operator since Python 3.14


def expression(frame: FrameType) -> ast.expr | None:
    """The expression of the source that the instruction of ``frame`` evaluates; None where the source is not known."""
    first, last, column, end_column = Origin(frame.f_code, frame.f_lasti).position
    lines = [source_line(frame.f_code.co_filename, k).encode() for k in range(first, last + 1)]
    if not lines or not all(lines) or not end_column:
        return None
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    try:
        return ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):  # the file has changed, or this is a statement
        return None


def called(node: ast.expr, frame: FrameType) -> Any:
    """The function that a name, or a dotted name, stands for in ``frame``; None if that cannot be told without running code."""
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in names:
                return names[node.id]
    if isinstance(node, ast.Attribute):
        base = called(node.value, frame)
        if base is not None:
            return getattr(base if isinstance(base, (ModuleType, *GENERATORS)) else type(base), node.attr, None)
    return None

"""Custom rules: functions whose derivative, transpose or batching the user states.

One class, `CustomFunction`, holds a function and any of its rules; `custom_jvp`, `custom_vjp` and `custom_linear` make it with JAX's
names for the one rule that each is about. What is not given is derived (see `control.custom_rules`), so forward mode works through a
function of which only the backward rule is known, and every rule is checked for linearity, structure, shapes and dtypes where it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np
import optree

from ..control.closures import find_tracers, substitute
from ..control.custom_rules import CustomCall, FlatRules, Names
from ..core import tree
from ..core.errors import ArgumentError, MissingRuleError, RuleError, teach
from ..core.origin import Origin, describe_function
from ..core.program import Var
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..core.types import ArrayType
from ..transforms.linearize import record_linear
from ..transforms.transpose import accumulate, backward_pass
from .arguments import boundary, check_callable, leaf, surely_zero

__all__ = ["CustomFunction", "custom_jvp", "custom_linear", "custom_rules", "custom_vjp"]


class CustomFunction:
    """A function with rules. Call it like the function; give rules with `defjvp`, `defjvps`, `defvjp`, `deftranspose`, `defvmap`."""

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] | int = (), *, kind: str = "custom_rules", needs: str = ""):
        check_callable(kind, fun)
        update_wrapper(self, fun)
        self.fun, self.kind, self.needs = fun, kind, needs
        self.nondiff_argnums = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self.rules: dict[str, Callable[..., Any]] = {}

    # ---- giving rules --------------------------------------------------------------------------------------------------
    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Give the forward rule: ``jvp(*nondiff, primals, tangents) -> (primal_out, tangent_out)``, linear in the tangents.

        ``primals`` and ``tangents`` are tuples of the (differentiable) arguments; the tangent of an argument that does not vary, or is an
        integer, is zeros. Returns ``jvp``, so that this is a decorator.
        """
        check_callable("defjvp", jvp)
        self.rules["jvp"] = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Give one rule for each argument: ``jvps[k](tangent_k, output, *primals)``; None for zero. The tangents are added up."""

        def jvp(*operands: Any) -> Any:
            *nondiff, primals, tangents = operands
            out = self(*insert(primals, nondiff, self.nondiff_argnums))
            terms = [rule(t, out, *primals) for rule, t in zip(jvps, tangents, strict=True) if rule is not None]
            if not terms:
                return out, tree.map(lambda y: np.zeros(type_of(y).shape, type_of(y).dtype), out)
            total = terms[0]
            for term in terms[1:]:
                total = tree.map(lambda a, b: a + b, total, term)
            return out, total

        jvp.__name__ = f"the rules of {self.fun.__name__}"
        self.rules["jvp"] = jvp

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the reverse rule: ``fwd(*args) -> (output, residuals)`` and ``bwd(*nondiff, residuals, y_bar) -> (x_bar, ...)``.

        ``bwd`` gives one cotangent for each differentiable argument; None, anywhere in it, is zero. Forward mode through the function
        transposes ``bwd``, which must then be linear in ``y_bar``; reverse mode takes any ``bwd`` (one that clips, say).
        """
        check_callable("defvjp", fwd)
        check_callable("defvjp", bwd)
        self.rules["fwd"], self.rules["bwd"] = fwd, bwd

    def deftranspose(self, transpose: Callable[..., Any]) -> Callable[..., Any]:
        """Say that the function is linear in all its arguments together, and give ``transpose(*nondiff, y_bar) -> (x_bar, ...)``."""
        check_callable("deftranspose", transpose)
        self.rules["transpose"] = transpose
        return transpose

    def defvmap(self, vmap: Callable[..., Any]) -> Callable[..., Any]:
        """Give the batching rule: ``vmap(axis_size, in_batched, *args) -> (output, out_batched)``, batch axes in front."""
        check_callable("defvmap", vmap)
        self.rules["vmap"] = vmap
        return vmap

    # ---- what `closures` asks for ----------------------------------------------------------------------------------------
    def closed_over(self) -> dict[str, Any]:
        return {"fun": self.fun, **self.rules}

    def with_closed_over(self, functions: dict[str, Any]) -> CustomFunction:
        copy = CustomFunction(functions["fun"], self.nondiff_argnums, kind=self.kind, needs=self.needs)
        copy.rules = {k: v for k, v in functions.items() if k != "fun"}
        return copy

    # ---- calling ---------------------------------------------------------------------------------------------------------
    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = self.positional(args, kwargs)
        if self.needs and self.needs not in self.rules:
            method = {"jvp": "defjvp", "bwd": "defvjp"}[self.needs]
            raise teach(
                MissingRuleError,
                f"{describe_function(self.fun)} was made a {self.kind} function, but no rule was given.",
                do=f"call {self.fun.__name__}.{method}(...) before using it.",
            )
        nondiff = [args[k] for k in self.nondiff_argnums]
        dynamic = tuple(x for k, x in enumerate(args) if k not in self.nondiff_argnums)
        leaves, spec = tree.flatten(dynamic)
        if current_trace() is EVAL and not any(type(x) is Tracer for x in leaves):
            return self.fun(*args)
        names = argument_names(self.fun, spec, [k for k in range(len(args)) if k not in self.nondiff_argnums])
        leaves = [leaf(x, name) for x, name in zip(leaves, names, strict=True)]
        hidden = find_tracers(self.fun, *self.rules.values(), *nondiff)
        inside = FlatCustom(self, spec, nondiff, hidden, names, list(map(type_of, leaves)))
        outs = CustomCall(inside.flat_rules())(*hidden, *leaves)
        return tree.unflatten(inside.out_spec, outs)

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, defaults filled in."""
        try:
            signature = inspect.signature(self.fun)
        except (TypeError, ValueError):
            return args
        bound = signature.bind(*args, **kwargs)
        if bound.kwargs:
            raise teach(
                ArgumentError,
                f"{describe_function(self.fun)}: a function with custom rules takes no keyword-only arguments ({', '.join(bound.kwargs)}).",
                do="make them positional, or close over them.",
            )
        bound.apply_defaults()
        given = bound.args
        count = len(given)
        for k in self.nondiff_argnums:
            if not 0 <= k < count:
                raise teach(
                    ArgumentError,
                    f"{self.kind}: nondiff_argnums has {k}, but {describe_function(self.fun)} takes {count} arguments.",
                    do="count positions from 0.",
                )
        return given

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.kind} {describe_function(self.fun)} with {', '.join(self.rules) or 'no rules'}>"


class FlatCustom:
    """One call of a `CustomFunction`: its rules as flat functions of ``hidden`` and the leaves of the arguments."""

    def __init__(
        self, custom: CustomFunction, spec: Any, nondiff: list[Any], hidden: list[Tracer], names: list[str], types: list[ArrayType]
    ):
        self.custom, self.spec, self.nondiff, self.hidden, self.names = custom, spec, nondiff, hidden, names
        self.out_spec: Any = None
        self.types: list[ArrayType] = types

    def flat_rules(self) -> FlatRules:
        rules = self.custom.rules
        names = Names(
            describe_function(self.custom.fun),
            describe_function(rules["jvp"]) if "jvp" in rules else "",
            describe_function(rules["bwd"]) if "bwd" in rules else "",
            tuple(tree.leaf_names(self.spec, "tangents")),
        )
        custom_linear = self.custom.kind == "custom_linear"
        return FlatRules(
            self.body,
            names,
            len(self.hidden),
            jvp=self.jvp if "jvp" in rules else None,
            fwd=self.fwd if "fwd" in rules else None,
            bwd=self.bwd if "bwd" in rules else None,
            transpose=self.transpose if "transpose" in rules else self.derived_transpose if custom_linear else None,
            vmap=self.vmap if "vmap" in rules else None,
        )

    def within(self, hidden: Sequence[Any], rule: str | None = None) -> tuple[Callable[..., Any], list[Any]]:
        """The function (or a rule) and the nondiff arguments, with these values in place of the closed-over tracers."""
        function = self.custom.fun if rule is None else self.custom.rules[rule]
        if not self.hidden:
            return function, self.nondiff
        values = {id(t): v for t, v in zip(self.hidden, hidden, strict=True)}
        return substitute(function, values), substitute(self.nondiff, values)

    def arguments(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        return tree.unflatten(self.spec, leaves)

    def full(self, nondiff: list[Any], leaves: Sequence[Any]) -> list[Any]:
        return insert(self.arguments(leaves), nondiff, self.custom.nondiff_argnums)

    def results(self, out: Any, what: str, rule: str | None = None) -> list[Any]:
        """The leaves of an output of the function or its rule, whose structure must always be the same."""
        leaves, spec = tree.flatten(out)
        if self.out_spec is None:
            self.out_spec = spec
        elif spec != self.out_spec:
            raise self.wrong(
                rule,
                f"{what} has another structure than the function's output.",
                f"{what}: {tree.describe(spec)}\nthe output: {tree.describe(self.out_spec)}",
            )
        return [leaf(y, what) for y in leaves]

    def wrong(self, rule: str | None, problem: str, detail: str = "", do: str = "") -> RuleError:
        """The error that a rule returned something that does not fit."""
        name = {"jvp": "JVP rule", "fwd": "forward rule", "bwd": "backward rule", "transpose": "transpose rule", "vmap": "vmap rule"}.get(
            rule or "", "function"
        )
        function = self.custom.rules[rule] if rule else self.custom.fun
        code = getattr(function, "__code__", None)
        return teach(
            RuleError,
            f"the {name} {describe_function(function)} of {describe_function(self.custom.fun)}: {problem}",
            detail=detail,
            do=do or SIGNATURES.get(rule or "", "return a tree of arrays."),
            origin=Origin(code, 0) if code else None,
            locate=False,
        )

    # ---- the flat functions --------------------------------------------------------------------------------------------
    def body(self, *operands: Any) -> list[Any]:
        count = len(self.hidden)
        fun, nondiff = self.within(operands[:count])
        return self.results(fun(*self.full(nondiff, operands[count:])), "the output")

    def jvp(self, hidden: Sequence[Any], xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        rule, nondiff = self.within(hidden, "jvp")
        result = rule(*nondiff, self.arguments(xs), self.arguments(dxs))
        if not isinstance(result, tuple | list) or len(result) != 2:  # type: ignore[arg-type]
            raise self.wrong("jvp", f"it must return a pair (primal_out, tangent_out), not {shown(result)}.")
        outs = self.results(result[0], "the primal output", "jvp")
        douts = tree.leaves_under_none(result[1], self.out_spec)
        if douts is None:
            raise self.wrong(
                "jvp",
                "the tangent output has another structure than the primal output.",
                f"tangent: {tree.describe(tree.structure(result[1]))}\nprimal:  {tree.describe(self.out_spec)}",
            )
        names = tree.leaf_names(self.out_spec, "tangent_out")
        return outs, [self.fitting("jvp", dy, type_of(y), name) for y, dy, name in zip(outs, douts, names, strict=True)]

    def fitting(self, rule: str, dy: Any, wanted: ArrayType, name: str) -> Any:
        """A tangent or cotangent that a rule returned, if it has the shape and dtype it must have; None is zero."""
        if not wanted.inexact and not surely_zero(dy):
            raise self.wrong(
                rule,
                f"{name} is not zero, but belongs to a value of dtype {wanted.dtype}, which has no derivative.",
                do="return None or zeros for it.",
            )
        if dy is None or not wanted.inexact:
            return np.zeros(wanted.shape, wanted.dtype)
        have = type_of(leaf(dy, name))
        if have.shape != wanted.shape:
            raise self.wrong(
                rule, f"{name} has shape {have.shape}, not {wanted.shape}.", f"it must be {wanted.long_name()}, and is {have.long_name()}"
            )
        if have.dtype != wanted.dtype:
            if have.weak and have.dtype.kind != "c":
                return wanted.dtype.type(dy) if type(dy) is not Tracer else dy
            raise self.wrong(
                rule,
                f"{name} has dtype {have.dtype}, not {wanted.dtype}.",
                f"it must be {wanted.long_name()}, and is {have.long_name()}",
                "convert it with .astype.",
            )
        return dy

    def fwd(self, hidden: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        rule, nondiff = self.within(hidden, "fwd")
        result = rule(*self.full(nondiff, xs))
        if not isinstance(result, tuple | list) or len(result) != 2:  # type: ignore[arg-type]
            raise self.wrong("fwd", f"it must return a pair (output, residuals), not {shown(result)}.")
        outs = self.results(result[0], "the output", "fwd")
        residuals, self.residual_spec = tree.flatten(result[1], is_leaf=lambda x: not isinstance(x, tuple | list | dict) and not_array(x))
        # A residual that is no array (a shape, a string, a function) goes round the flat interface.
        self.static_residuals = {k: r for k, r in enumerate(residuals) if not_array(r)}
        return outs, [r for r in residuals if not not_array(r)]

    def bwd(self, hidden: Sequence[Any], residuals: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        rule, nondiff = self.within(hidden, "bwd")
        it = iter(residuals)
        held = [self.static_residuals[k] if k in self.static_residuals else next(it) for k in range(self.residual_spec.num_leaves)]
        result = rule(*nondiff, tree.unflatten(self.residual_spec, held), tree.unflatten(self.out_spec, bars))
        return self.cotangents("bwd", result)

    def transpose(self, hidden: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        rule, nondiff = self.within(hidden, "transpose")
        result = rule(*nondiff, tree.unflatten(self.out_spec, bars))
        if len(tree.children(self.spec)) == 1 and not (isinstance(result, tuple) and len(result) == 1):  # type: ignore[arg-type]
            result = (result,)
        return self.cotangents("transpose", result)

    def derived_transpose(self, hidden: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        """The transpose of the body, which is recorded as linear in its arguments."""
        subject = f"{describe_function(self.custom.fun)}, declared linear,"
        tape, inputs, outputs = record_linear(lambda *xs: self.body(*hidden, *xs), self.types, self.names, subject, "arguments")
        cotangents: dict[Var, Any] = {}
        for v, bar in zip(outputs, bars, strict=True):
            accumulate(cotangents, v, bar)
        return backward_pass(tape.equations, cotangents, inputs)

    def cotangents(self, rule: str, result: Any) -> list[Any | None]:
        """What ``bwd`` returned, as a leaf or None for each leaf of the arguments."""
        count = len(tree.children(self.spec))
        if not isinstance(result, tuple | list):
            raise self.wrong(rule, f"it must return a tuple with a cotangent for each argument, not {shown(result)}.")
        if len(result) != count:  # type: ignore[arg-type]
            raise self.wrong(rule, f"it returned {len(result)} cotangents for {count} differentiable arguments.")  # type: ignore[arg-type]
        found: list[Any | None] = []
        for k, (bar, spec) in enumerate(zip(result, tree.children(self.spec), strict=True)):  # type: ignore[arg-type]
            found += self.matched(rule, bar, spec, f"x_bar[{k}]")
        return [x if x is None else self.cotangent(rule, x, t, name) for x, t, name in zip(found, self.types, self.names, strict=True)]

    def cotangent(self, rule: str, x: Any, wanted: ArrayType, name: str) -> Any | None:
        found = self.fitting(rule, x, wanted, f"the cotangent of {name}")
        return found if wanted.inexact else None

    def matched(self, rule: str, bar: Any, spec: Any, name: str) -> list[Any | None]:
        """The leaves of a cotangent in which None may stand for any subtree."""
        if bar is None:
            return [None] * spec.num_leaves
        if spec.is_leaf():
            if isinstance(bar, tuple | list | dict):
                raise self.wrong(rule, f"{name} is {shown(bar)}, where its argument is one array.")
            return [bar]
        parts = tree.children(spec)
        try:
            below = list(optree.tree_flatten_one_level(bar, none_is_leaf=True, namespace="cotan").children)
        except ValueError:
            below = None
        if below is None or len(below) != len(parts):
            detail = f"{name}: {shown(bar)}\nargument: {tree.describe(spec)}"
            raise self.wrong(rule, f"{name} has another structure than its argument.", detail)
        return [x for y, part in zip(below, parts, strict=True) for x in self.matched(rule, y, part, name)]

    def vmap(self, size: int, batched: Sequence[bool], hidden: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
        rule, nondiff = self.within(hidden, "vmap")
        result = rule(size, list(self.arguments(batched)), *self.full(nondiff, xs))
        if not isinstance(result, tuple) or len(result) != 2:  # type: ignore[arg-type]
            raise self.wrong("vmap", f"it must return a pair (output, out_batched), not {shown(result)}.")
        outs = self.results(result[0], "the output", "vmap")
        flags = tree.leaves(result[1]) if not isinstance(result[1], bool) else [result[1]] * len(outs)
        return [y if flag else np.broadcast_to(y, (size, *np.shape(y))) for y, flag in zip(outs, flags, strict=True)]


SIGNATURES = {
    "jvp": "write def rule(primals, tangents): ...; return primal_out, tangent_out, the two alike in structure, shapes and dtypes.",
    "fwd": "write def fwd(*args): ...; return output, residuals.",
    "bwd": "write def bwd(residuals, y_bar): ...; return (x_bar, ...), one for each differentiable argument, like it, or None.",
    "transpose": "write def transpose(y_bar): ...; return (x_bar, ...), one for each differentiable argument.",
    "vmap": "write def rule(axis_size, in_batched, *args): ...; return output, out_batched.",
}


def shown(x: Any) -> str:
    """A short description of a wrong result."""
    if isinstance(x, tuple | list):
        return f"a {type(x).__name__} of length {len(x)}"
    return type_of(x).long_name() if type(x) is Tracer or isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def not_array(x: Any) -> bool:
    """Whether a residual cannot be a value of a program."""
    return not (isinstance(x, np.ndarray | np.generic | float | int | complex) or type(x) is Tracer)


def insert(dynamic: Sequence[Any], nondiff: Sequence[Any], positions: Sequence[int]) -> list[Any]:
    """The arguments in their order, from the dynamic and the nondiff ones."""
    rest, static = iter(dynamic), dict(zip(positions, nondiff, strict=True))
    return [static[k] if k in static else next(rest) for k in range(len(dynamic) + len(nondiff))]


def argument_names(fun: Any, spec: Any, positions: Sequence[int]) -> list[str]:
    """``x``, ``params['w']``, ... for each leaf of the arguments."""
    try:
        known = list(inspect.signature(fun).parameters)
    except (TypeError, ValueError):
        known = []
    roots = [known[k] if k < len(known) else f"args[{k}]" for k in positions]
    return [name for root, part in zip(roots, tree.children(spec), strict=True) for name in tree.leaf_names(part, root)]


def custom_jvp(fun: Callable[..., Any] | None = None, nondiff_argnums: Sequence[int] | int = ()) -> Any:
    """A function whose forward rule is given with ``.defjvp`` (or ``.defjvps``); reverse mode follows by transposing it.

    Args:
        fun: the function.
        nondiff_argnums: arguments that are handed to the rule first, as they are: functions, strings, sizes.

    >>> import cotan, cotan.numpy as cnp
    >>> @cotan.custom_jvp
    ... def f(x): return cnp.sin(x)
    >>> @f.defjvp
    ... def f_jvp(primals, tangents): return f(*primals), cnp.cos(primals[0]) * tangents[0]
    >>> cotan.grad(f)(0.0)
    Array(1.)
    """
    if fun is None:
        return lambda f: custom_jvp(f, nondiff_argnums)
    return CustomFunction(fun, nondiff_argnums, kind="custom_jvp", needs="jvp")


def custom_vjp(fun: Callable[..., Any] | None = None, nondiff_argnums: Sequence[int] | int = ()) -> Any:
    """A function whose reverse rule is given with ``.defvjp(fwd, bwd)``; forward mode follows by transposing ``bwd``."""
    if fun is None:
        return lambda f: custom_vjp(f, nondiff_argnums)
    return CustomFunction(fun, nondiff_argnums, kind="custom_vjp", needs="bwd")


def custom_linear(fun: Callable[..., Any] | None = None, nondiff_argnums: Sequence[int] | int = ()) -> Any:
    """A function that is linear in its differentiable arguments together; its transpose is given with ``.deftranspose``, or derived.

    Linearity is checked when it is first differentiated.
    """
    if fun is None:
        return lambda f: custom_linear(f, nondiff_argnums)
    return CustomFunction(fun, nondiff_argnums, kind="custom_linear")


def custom_rules(
    fun: Callable[..., Any] | None = None,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    transpose: Callable[..., Any] | None = None,
    vmap: Callable[..., Any] | None = None,
    nondiff_argnums: Sequence[int] | int = (),
) -> Any:
    """A function with any subset of the rules; each as the method of `CustomFunction` that gives it says. The rest is derived."""
    if fun is None:
        return lambda f: custom_rules(f, jvp=jvp, vjp=vjp, transpose=transpose, vmap=vmap, nondiff_argnums=nondiff_argnums)
    custom = CustomFunction(fun, nondiff_argnums)
    if jvp is not None:
        custom.defjvp(jvp)
    if vjp is not None:
        custom.defvjp(*vjp)
    if transpose is not None:
        custom.deftranspose(transpose)
    if vmap is not None:
        custom.defvmap(vmap)
    return custom

"""Custom rules: functions whose derivative, transpose or batching the user states.

One class, `CustomFunction`, holds a function and any of its rules; `custom_jvp`, `custom_vjp` and `custom_linear` make it with JAX's
names for the one rule that each is about. What is not given is derived (see `control.custom_rules`), so forward mode works through a
function of which only the backward rule is known, and every rule is checked for linearity, structure, shapes and dtypes where it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from types import MethodType
from typing import Any

import numpy as np
import optree

from ..control.closures import find_tracers, substitute
from ..control.custom_rules import CustomCall, FlatRules, Names
from ..core import tree
from ..core.array import handed
from ..core.errors import ArgumentError, MissingRuleError, teach
from ..core.origin import describe_function, users_rule
from ..core.pickling import global_name
from ..core.program import Var
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..ops.families import spread
from ..transforms.linearize import record_linear
from ..transforms.transpose import accumulate, backward_pass
from .arguments import boundary, check_callable, leaf, surely_zero
from .named import named
from .rules import CheckedRules, parameter_names, shown

__all__ = ["CustomFunction", "custom_jvp", "custom_linear", "custom_rules", "custom_vjp"]

Numbers = Sequence[int] | int
Strings = Iterable[str] | str
Fixed = tuple[list[Any], list[Any], dict[int, Any]]
"""Arguments that are not differentiated: those handed over first, those by keyword, and leaves that are no arrays."""


@dataclass(frozen=True)
class Layout:
    """How the arguments of one call are told apart. They are numbered: the positional ones first, then those by keyword.

    ``nondiff`` are handed to the rules first, ``by_keyword`` by keyword; the others are differentiated.
    """

    positional: int
    keywords: tuple[str, ...]
    nondiff: tuple[int, ...]
    by_keyword: tuple[int, ...]

    @property
    def dynamic(self) -> list[int]:
        return [k for k in range(self.positional + len(self.keywords)) if k not in self.nondiff and k not in self.by_keyword]

    def join(self, dynamic: Sequence[Any], nondiff: Sequence[Any], by_keyword: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the function takes them: by position, and by keyword."""
        every = dict(zip((*self.dynamic, *self.nondiff, *self.by_keyword), (*dynamic, *nondiff, *by_keyword), strict=True))
        args = tuple(every[k] for k in range(self.positional))
        return args, {name: every[k] for k, name in enumerate(self.keywords, self.positional)}

    def handed(self, by_keyword: Sequence[Any]) -> dict[str, Any]:
        """The arguments that rules are handed by keyword."""
        return {self.keywords[k - self.positional]: x for k, x in zip(self.by_keyword, by_keyword, strict=True)}


class CustomFunction:
    """A function with rules. Call it like the function; give rules with `defjvp`, `defjvps`, `defvjp`, `deftranspose`, `defvmap`.

    An argument, or a leaf of one, that is no array (a string, a function, an instance of some class) has no derivative: its tangent is
    None, and so is its cotangent. A keyword-only argument is handed to the rules by keyword if they take it so, as a constant; else it is
    the last of the primals.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: Numbers = (),
        nondiff_argnames: Strings = (),
        *,
        kind: str = "custom_rules",
        needs: str = "",
    ):
        check_callable(kind, fun)
        update_wrapper(self, fun)
        self.fun, self.kind, self.needs = fun, kind, needs
        self.nondiff = named(fun, "nondiff", nondiff_argnums, nondiff_argnames, verb=kind)
        self.rules: dict[str, Callable[..., Any]] = {}
        try:
            self.signature: inspect.Signature | None = None if isinstance(fun, np.ufunc) else inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None

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

        def jvp(*operands: Any, **handed: Any) -> Any:
            *nondiff, primals, tangents = operands
            layout = self.layout(len(primals) + len(nondiff), tuple(handed))
            args, kwargs = layout.join(primals, nondiff, list(handed.values()))
            if len(jvps) != len(primals):
                raise teach(
                    ArgumentError,
                    f"defjvps gave {len(jvps)} rules for the {len(primals)} arguments of {describe_function(self.fun)}.",
                    do="give one for each differentiable argument; None where the derivative is zero.",
                )
            out = self(*args, **kwargs)
            terms = [rule(t, out, *primals) for rule, t in zip(jvps, tangents, strict=True) if rule is not None and t is not None]
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
        copy = CustomFunction(functions["fun"], self.nondiff.numbers, self.nondiff.names, kind=self.kind, needs=self.needs)
        copy.rules = {k: v for k, v in functions.items() if k != "fun"}
        return copy

    # ---- calling ---------------------------------------------------------------------------------------------------------
    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.needs and self.needs not in self.rules:
            method = {"jvp": "defjvp", "bwd": "defvjp"}[self.needs]
            raise teach(
                MissingRuleError,
                f"{describe_function(self.fun)} was made a {self.kind} function, but no rule was given.",
                do=f"call {self.fun.__name__}.{method}(...) before using it.",
            )
        args, kwargs = self.bound(args, kwargs)
        layout = self.layout(len(args), tuple(kwargs))
        every = [*args, *kwargs.values()]
        leaves, spec = tree.flatten(tuple(every[k] for k in layout.dynamic))
        if current_trace() is EVAL and not any(type(x) is Tracer for x in leaves):
            return self.fun(*args, **kwargs)
        return FlatCustom(self, layout, every, leaves, spec)()

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments by position where they can be, else by keyword; defaults filled in."""
        if self.signature is None:
            return args, kwargs
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def layout(self, positional: int, keywords: tuple[str, ...]) -> Layout:
        """How a call with so many positional arguments and these keywords is taken."""
        for k in self.nondiff.numbers:
            if not -positional <= k < positional:
                raise teach(
                    ArgumentError,
                    f"{self.kind}: nondiff_argnums has {k}, but {describe_function(self.fun)} takes {positional} arguments.",
                    do="count positions from 0.",
                )
        nondiff = {k % positional for k in self.nondiff.numbers} | {
            k for k, name in enumerate(keywords, positional) if name in self.nondiff.names
        }
        handed = [k for k, name in enumerate(keywords, positional) if k not in nondiff and self.hands_over(name)]
        return Layout(positional, keywords, tuple(sorted(nondiff)), tuple(handed))

    def hands_over(self, name: str) -> bool:
        """Whether all the rules for derivatives take an argument by this name."""
        rules = [rule for key, rule in self.rules.items() if key in ("jvp", "bwd", "transpose")]
        return all(takes_keyword(rule, name) for rule in rules)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        state = (self.fun, self.nondiff, self.kind, self.needs, self.rules)
        return global_name(self) or (object.__new__, (CustomFunction,), state)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        fun, nondiff, kind, needs, rules = state
        CustomFunction.__init__(self, fun, nondiff.numbers, nondiff.names, kind=kind, needs=needs)
        self.rules = rules  # this very dict: a rule may refer to the function, which is then here before its rules are

    def __repr__(self) -> str:
        return f"<{self.kind} {describe_function(self.fun)} with {', '.join(self.rules) or 'no rules'}>"


class FlatCustom:
    """One call of a `CustomFunction`: its rules as flat functions of ``hidden`` and the arrays among the leaves of the arguments."""

    def __init__(self, custom: CustomFunction, layout: Layout, every: list[Any], leaves: list[Any], spec: Any):
        self.custom, self.layout, self.spec = custom, layout, spec
        self.out_spec: Any = None
        names = argument_names(custom.fun, spec, layout)
        self.static = {k: x for k, x in enumerate(leaves) if not_array(x)}
        """Leaves that are no arrays go round the flat interface."""
        self.leaves = [leaf(x, name) for k, (x, name) in enumerate(zip(leaves, names, strict=True)) if k not in self.static]
        self.names = self.arrays(names)
        self.types = list(map(type_of, self.leaves))
        self.fixed: Fixed = ([handed(every[k]) for k in layout.nondiff], [handed(every[k]) for k in layout.by_keyword], self.static)
        self.hidden = find_tracers(custom.fun, *custom.rules.values(), *self.fixed)
        self.check()

    def check(self) -> None:
        """Make the checks of what the rules return."""
        self.checked = CheckedRules(describe_function(self.custom.fun), self.custom.fun, self.custom.rules, SIGNATURES)
        self.wrong, self.fitting = self.checked.wrong, self.checked.fitting

    def __getstate__(self) -> dict[str, Any]:
        """All but the checks, which hold the plain function: where a decorator took its name, it does not pickle."""
        return {name: x for name, x in self.__dict__.items() if name not in ("checked", "wrong", "fitting")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.check()

    def __call__(self) -> Any:
        outs = CustomCall(self.flat_rules())(*self.hidden, *self.leaves)
        return tree.unflatten(self.out_spec, map(handed, outs))

    def arrays(self, of_leaves: Sequence[Any]) -> list[Any]:
        """Of something for each leaf, what belongs to arrays."""
        return [x for k, x in enumerate(of_leaves) if k not in self.static]

    def flat_rules(self) -> FlatRules:
        rules = self.custom.rules
        names = Names(
            describe_function(self.custom.fun),
            describe_function(rules["jvp"]) if "jvp" in rules else "",
            describe_function(rules["bwd"]) if "bwd" in rules else "",
            tuple(self.arrays(tree.leaf_names(self.spec, "tangents"))),
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

    def within(self, hidden: Sequence[Any], rule: str | None = None) -> tuple[Callable[..., Any], Fixed]:
        """The function (or a rule), and the arguments that are not differentiated, with these values in place of closed-over tracers."""
        function = self.custom.fun if rule is None else self.custom.rules[rule]
        if not self.hidden:
            return function, self.fixed
        values = {id(t): v for t, v in zip(self.hidden, hidden, strict=True)}
        return substitute(function, values), substitute(self.fixed, values)

    def arguments(self, arrays: Sequence[Any], static: dict[int, Any]) -> tuple[Any, ...]:
        """The differentiable arguments that have these arrays, and these other leaves."""
        it = map(handed, arrays)
        return tree.unflatten(self.spec, [static[k] if k in static else next(it) for k in range(self.spec.num_leaves)])

    def called(self, function: Callable[..., Any], fixed: Fixed, arrays: Sequence[Any], rule: str | None = None, *first: Any) -> Any:
        """A function that takes the arguments as they were given, called so."""
        nondiff, by_keyword, static = fixed
        args, kwargs = self.layout.join(self.arguments(arrays, static), nondiff, by_keyword)
        if rule:
            return self.checked.call(rule, function, *first, *args, **kwargs)
        with users_rule():
            return function(*first, *args, **kwargs)

    def ruled(self, rule: str, function: Callable[..., Any], fixed: Fixed, *args: Any) -> Any:
        """A rule that takes the arguments without derivative first, called so."""
        nondiff, by_keyword, _ = fixed
        return self.checked.call(rule, function, *nondiff, *args, **self.layout.handed(by_keyword))

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

    # ---- the flat functions --------------------------------------------------------------------------------------------
    def body(self, *operands: Any) -> list[Any]:
        count = len(self.hidden)
        fun, fixed = self.within(operands[:count])
        return self.results(self.called(fun, fixed, operands[count:]), "the output")

    def jvp(self, hidden: Sequence[Any], xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        rule, fixed = self.within(hidden, "jvp")
        primals, tangents = self.arguments(xs, fixed[2]), self.arguments(dxs, dict.fromkeys(fixed[2]))
        result = self.ruled("jvp", rule, fixed, primals, tangents)
        out, dout = self.checked.pair("jvp", result, "(primal_out, tangent_out)")
        outs = self.results(out, "the primal output", "jvp")
        douts = tree.leaves_under_none(dout, self.out_spec)
        if douts is None:
            raise self.wrong(
                "jvp",
                "the tangent output has another structure than the primal output.",
                f"tangent: {tree.describe(tree.structure(dout))}\nprimal:  {tree.describe(self.out_spec)}",
            )
        names = tree.leaf_names(self.out_spec, "tangent_out")
        return outs, [self.fitting("jvp", dy, type_of(y), name) for y, dy, name in zip(outs, douts, names, strict=True)]

    def fwd(self, hidden: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        rule, fixed = self.within(hidden, "fwd")
        out, saved = self.checked.pair("fwd", self.called(rule, fixed, xs, "fwd"), "(output, residuals)")
        outs = self.results(out, "the output", "fwd")
        residuals, self.residual_spec = tree.flatten(saved, is_leaf=lambda x: not isinstance(x, tuple | list | dict) and not_array(x))
        # A residual that is no array (a shape, a string, a function) goes round the flat interface.
        self.static_residuals = {k: r for k, r in enumerate(residuals) if not_array(r)}
        return outs, [r for r in residuals if not not_array(r)]

    def bwd(self, hidden: Sequence[Any], residuals: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        rule, fixed = self.within(hidden, "bwd")
        it = map(handed, residuals)
        held = [self.static_residuals[k] if k in self.static_residuals else next(it) for k in range(self.residual_spec.num_leaves)]
        result = self.ruled("bwd", rule, fixed, tree.unflatten(self.residual_spec, held), tree.unflatten(self.out_spec, map(handed, bars)))
        return self.cotangents("bwd", result)

    def transpose(self, hidden: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        rule, fixed = self.within(hidden, "transpose")
        result = self.ruled("transpose", rule, fixed, tree.unflatten(self.out_spec, map(handed, bars)))
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
        return backward_pass(tape.equations, cotangents, inputs, last=True)

    def cotangents(self, rule: str, result: Any) -> list[Any | None]:
        """The result of ``bwd``, as a leaf or None for each leaf of the arguments."""
        count = len(tree.children(self.spec))
        if not isinstance(result, tuple | list):
            raise self.wrong(rule, f"it must return a tuple with a cotangent for each argument, not {shown(result)}.")
        if len(result) != count:  # type: ignore[arg-type]
            raise self.wrong(rule, f"it returned {len(result)} cotangents for {count} differentiable arguments.")  # type: ignore[arg-type]
        found: list[Any | None] = []
        for k, (bar, spec) in enumerate(zip(result, tree.children(self.spec), strict=True)):  # type: ignore[arg-type]
            found += self.matched(rule, bar, spec, f"x_bar[{k}]")
        for k in self.static:
            if not surely_zero(found[k]):
                raise self.wrong(rule, f"it returned a cotangent for {shown(self.static[k])}.", do="return None for what is no array.")
        return self.checked.cotangents(rule, self.arrays(found), self.types, self.names)

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
        rule, fixed = self.within(hidden, "vmap")
        in_batched = list(self.arguments(batched, dict.fromkeys(self.static, False)))
        out, flagged = self.checked.pair("vmap", self.called(rule, fixed, xs, "vmap", size, in_batched), "(output, out_batched)")
        outs = self.results(out, "the output", "vmap")
        flags = tree.leaves(flagged) if not isinstance(flagged, bool) else [flagged] * len(outs)
        if len(flags) != len(outs):
            raise self.wrong("vmap", f"out_batched has {len(flags)} flags for {len(outs)} outputs.")
        names = tree.leaf_names(self.out_spec, "output")
        for y, flag, name in zip(outs, flags, names, strict=True):
            if flag and type_of(y).shape[:1] != (size,):
                raise self.wrong("vmap", f"{name} has shape {type_of(y).shape}, where it must have the batch of {size} in front.")
        return [y if flag else spread(y, size) for y, flag in zip(outs, flags, strict=True)]


SIGNATURES = {
    "jvp": "write def rule(primals, tangents): ...; return primal_out, tangent_out, the two alike in structure, shapes and dtypes.",
    "fwd": "write def fwd(*args): ...; return output, residuals.",
    "bwd": "write def bwd(residuals, y_bar): ...; return (x_bar, ...), one for each differentiable argument, like it, or None.",
    "transpose": "write def transpose(y_bar): ...; return (x_bar, ...), one for each differentiable argument.",
    "vmap": "write def rule(axis_size, in_batched, *args): ...; return output, out_batched.",
}


def not_array(x: Any) -> bool:
    """Whether a residual cannot be a value of a program."""
    return not (isinstance(x, np.ndarray | np.generic | float | int | complex) or type(x) is Tracer)


def takes_keyword(rule: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument by this name."""
    try:
        parameters = inspect.signature(rule).parameters
    except (TypeError, ValueError):
        return False
    by_name = name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    return by_name or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def argument_names(fun: Any, spec: Any, layout: Layout) -> list[str]:
    """``x``, ``params['w']``, ... for each leaf of the arguments."""
    known = parameter_names(fun)
    given = [known[k] if k < len(known) else f"args[{k}]" for k in range(layout.positional)] + list(layout.keywords)
    roots = [given[k] for k in layout.dynamic]
    return [name for root, part in zip(roots, tree.children(spec), strict=True) for name in tree.leaf_names(part, root)]


def custom_jvp(fun: Callable[..., Any] | None = None, nondiff_argnums: Numbers = (), nondiff_argnames: Strings = ()) -> Any:
    """A function whose forward rule is given with ``.defjvp`` (or ``.defjvps``); reverse mode follows by transposing it.

    Args:
        fun: the function.
        nondiff_argnums: positions of arguments that are handed to the rule first, as they are: functions, strings, sizes.
        nondiff_argnames: names of such arguments. Arguments that are no arrays need not be named: see `CustomFunction`.

    >>> import cotan, cotan.numpy as cnp
    >>> @cotan.custom_jvp
    ... def f(x): return cnp.sin(x)
    >>> @f.defjvp
    ... def f_jvp(primals, tangents): return f(*primals), cnp.cos(primals[0]) * tangents[0]
    >>> cotan.grad(f)(0.0)
    Array(1.)
    """
    if fun is None:
        return lambda f: custom_jvp(f, nondiff_argnums, nondiff_argnames)
    return CustomFunction(fun, nondiff_argnums, nondiff_argnames, kind="custom_jvp", needs="jvp")


def custom_vjp(fun: Callable[..., Any] | None = None, nondiff_argnums: Numbers = (), nondiff_argnames: Strings = ()) -> Any:
    """A function whose reverse rule is given with ``.defvjp(fwd, bwd)``; forward mode follows by transposing ``bwd``."""
    if fun is None:
        return lambda f: custom_vjp(f, nondiff_argnums, nondiff_argnames)
    return CustomFunction(fun, nondiff_argnums, nondiff_argnames, kind="custom_vjp", needs="bwd")


def custom_linear(fun: Callable[..., Any] | None = None, nondiff_argnums: Numbers = (), nondiff_argnames: Strings = ()) -> Any:
    """A function that is linear in its differentiable arguments together; its transpose is given with ``.deftranspose``, or derived.

    Linearity is checked when it is first differentiated.
    """
    if fun is None:
        return lambda f: custom_linear(f, nondiff_argnums, nondiff_argnames)
    return CustomFunction(fun, nondiff_argnums, nondiff_argnames, kind="custom_linear")


def custom_rules(
    fun: Callable[..., Any] | None = None,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    transpose: Callable[..., Any] | None = None,
    vmap: Callable[..., Any] | None = None,
    nondiff_argnums: Numbers = (),
    nondiff_argnames: Strings = (),
) -> Any:
    """A function with any subset of the rules; each as the method of `CustomFunction` that gives it says. The rest is derived."""
    if fun is None:
        options: Any = {"jvp": jvp, "vjp": vjp, "transpose": transpose, "vmap": vmap}
        return lambda f: custom_rules(f, **options, nondiff_argnums=nondiff_argnums, nondiff_argnames=nondiff_argnames)
    custom = CustomFunction(fun, nondiff_argnums, nondiff_argnames)
    if jvp is not None:
        custom.defjvp(jvp)
    if vjp is not None:
        custom.defvjp(*vjp)
    if transpose is not None:
        custom.deftranspose(transpose)
    if vmap is not None:
        custom.defvmap(vmap)
    return custom

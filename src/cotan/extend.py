"""New primitives: a NumPy function and one rule; everything else is derived.

    softplus = cotan.extend.primitive("softplus", impl=lambda x: np.logaddexp(0, x), jvp=softplus_jvp)

Give ``impl`` and one of ``jvp``, ``vjp`` and ``linear_in``. The result types are found by running ``impl`` on example arrays, and batching
is a loop. The rules are checked like the rules of `custom_jvp`: structure, shapes, dtypes, linearity. For a permanent primitive, write an
op class (`Op`, `op`): see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from .api.audit import Audit, Rule, audit
from .api.rules import CheckedRules, parameter_names, shown, takes
from .control.base import filled
from .control.custom_rules import CustomCall, FlatRules, Names
from .core.errors import ArgumentError, MissingRuleError, teach
from .core.listing import listing
from .core.op import REGISTRY, Op, op
from .core.origin import describe_function
from .core.outside import check_declared_linear, types_at_examples
from .core.program import Var
from .core.tracing import type_of
from .core.types import ArrayType
from .ops.arithmetic import mul
from .ops.casting import complex_, convert, real
from .ops.families import Elementwise, Multilinear, Structural, Unary, fill_shape, reduce_sum, spread, sum_tangents
from .ops.movement import concatenate, reshape, slice_

__all__ = ["Audit", "Elementwise", "Multilinear", "Op", "Primitive", "Rule", "Structural", "Unary", "audit", "op", "primitive"]
__dir__ = listing(__all__)

SIGNATURES = {
    "jvp": "write def jvp(primals, tangents): ...; return y, dy, the two alike in shapes and dtypes (both tuples if multiple=True).",
    "vjp": "write def vjp(y_bar, y, *operands): ...; return (x_bar, ...), one for each operand, like it, or None.",
    "transpose": "write def transpose(y_bar, *operands): ...; return the cotangent of the linear operand, like it.",
    "batch": "write def batch(size, batched, *operands): ...; return y, flag: the result, and whether it has the batch axis in front.",
    "type_rule": "write def type_rule(*types): ...; return an ArrayType (a tuple of them if multiple=True).",
}


class Primitive(Op):
    """An op made by `primitive`: its rules are the given functions."""

    family = "user"
    function: ClassVar[Callable[..., Any]]
    rules: ClassVar[dict[str, Callable[..., Any]]] = {}
    library = "numpy"
    known_types: ClassVar[dict[tuple[ArrayType, ...], Any]]
    """The types of results, by the types of the operands."""
    seen_linear: ClassVar[set[Any]]
    """The operands, with their types, in which the function was found to be linear."""

    def __reduce__(self) -> Any:
        return primitive_named, (self.name,)

    @property
    def user_code(self) -> str:  # type: ignore[override]
        return f"{self.name}, by its impl {describe_function(self.function)},"

    @property
    def checked(self) -> CheckedRules:
        return CheckedRules(self.name, self.function, self.rules, SIGNATURES)

    # ---- meaning and types -----------------------------------------------------------------------------------------------
    def impl(self, *operands: Any) -> Any:
        y = self.function(*operands)
        if isinstance(y, tuple | list) is not self.multiple:
            wanted = "a tuple of arrays, for it was made with multiple=True" if self.multiple else "one array"
            do = "return (y,)." if self.multiple else "make the primitive with multiple=True, or return np.asarray(...)."
            raise self.checked.wrong(None, f"it must return {wanted}, not {shown(y)}.", do=do)
        return y

    def type_rule(self, *types: ArrayType) -> Any:
        known = self.known_types.get(types)
        if known is None:
            known = self.known_types[types] = self.stated_types(types) if "type_rule" in self.rules else self.found_types(types)
        return known

    def stated_types(self, types: tuple[ArrayType, ...]) -> Any:
        found = self.checked.call("type_rule", self.rules["type_rule"], *types)
        if self.multiple:
            found = tuple(found) if isinstance(found, tuple | list) else found
        right = isinstance(found, tuple) and all(isinstance(t, ArrayType) for t in found) if self.multiple else isinstance(found, ArrayType)
        if not right:
            raise self.checked.wrong(
                "type_rule", f"it must return {'a tuple of types' if self.multiple else 'a type'}, not {shown(found)}."
            )
        return found

    def found_types(self, types: tuple[ArrayType, ...]) -> Any:
        """The result types of ``impl`` at example arrays."""
        do = "give type_rule=, a function of the operands' types; or make impl take arrays of ones."
        found = types_at_examples(self.user_code.rstrip(","), lambda *xs: self.results(self.impl(*xs)), types, do)
        return found if self.multiple else found[0]

    def result_types(self, primals: Sequence[Any]) -> list[ArrayType]:
        return self.results(self.type_rule(*map(type_of, primals)))

    def results(self, y: Any) -> list[Any]:
        return list(y) if self.multiple else [y]

    def shaped(self, values: Sequence[Any]) -> Any:
        return tuple(values) if self.multiple else values[0]

    # ---- batching --------------------------------------------------------------------------------------------------------
    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        """The batching rule, or a loop over the batch."""
        one = [t.with_shape(t.shape[1:]) if b else t for t, b in zip(map(type_of, operands), batched, strict=True)]
        if "batch" in self.rules:
            return self.by_batch_rule(size, batched, operands, one)
        if not size:
            empty = [np.zeros((0, *t.shape), t.dtype) for t in self.results(self.type_rule(*one))]
            return self.shaped(empty), self.shaped([True] * len(empty))
        rows = [self(*[take(x, k) if b else x for x, b in zip(operands, batched, strict=True)]) for k in range(size)]
        columns = [self.stacked(column) for column in zip(*map(self.results, rows), strict=True)]
        return self.shaped(columns), self.shaped([True] * len(columns))

    def stacked(self, column: Sequence[Any]) -> Any:
        """One result of all examples, along a new leading axis."""
        shapes = sorted({type_of(y).shape for y in column})
        if len(shapes) > 1:
            problem = f"it returned results of unlike shapes for the examples of a batch: {', '.join(map(str, shapes))}."
            raise self.checked.wrong(None, problem, do="make the shape of its result depend on the shapes of its operands alone.")
        return stacked(column)

    def by_batch_rule(self, size: int, batched: Sequence[bool], operands: Sequence[Any], one: list[ArrayType]) -> tuple[Any, Any]:
        found = self.checked.call("batch", self.rules["batch"], size, batched, *operands)
        y, flag = self.checked.pair("batch", found, "(y, flag)")
        if self.multiple and not isinstance(y, tuple | list):
            raise self.checked.wrong("batch", f"y must be a tuple, as multiple=True says, not {shown(y)}.")
        results = self.results(y)
        flags = list(flag) if isinstance(flag, tuple | list) else [flag] * len(results)
        wanted = self.results(self.type_rule(*one))
        if not len(results) == len(flags) == len(wanted):
            raise self.checked.wrong("batch", f"it returned {len(results)} results and {len(flags)} flags for {len(wanted)} results.")
        for k, (r, f, t) in enumerate(zip(results, flags, wanted, strict=True)):
            shape = (size, *t.shape) if f else t.shape
            have = type_of(r)
            if have.shape != shape or have.dtype != t.dtype:
                name = f"y[{k}]" if self.multiple else "y"
                raise self.checked.wrong("batch", f"{name} is {have.long_name()}, where it must be {t.with_shape(shape).long_name()}.")
        return self.shaped(results), self.shaped(flags)

    # ---- derivatives -----------------------------------------------------------------------------------------------------
    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:  # type: ignore[override]
        if "jvp" not in self.rules and "vjp" not in self.rules:
            return self.linearize_multilinear(primals, active)
        outs, push = CustomCall(self.flat_rules(primals)).linearize_by_rule([], list(primals), list(active))
        if self.multiple:
            return outs, push
        return outs[0], lambda *tangents: push(*tangents)[0]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> Any:
        outs, push = self.linearize(primals, [t is not None for t in tangents])
        return outs, push(*[t for t in tangents if t is not None])

    def linearize_multilinear(self, primals: Sequence[Any], active: Sequence[bool]) -> Any:
        declared = [k for k in range(len(primals)) if 1 << k in self.linear_sets(len(primals))]
        names = self.operand_names(len(primals))
        for k, flag in enumerate(active):
            if flag and k not in declared:
                raise teach(
                    MissingRuleError,
                    f"{self.name} has no derivative in operand {k} ({names[k]}): it is declared linear in "
                    f"{', '.join(f'operand {j} ({names[j]})' for j in declared)} only.",
                    do="give the primitive a jvp or a vjp; or keep the operand from being differentiated with cotan.stop_gradient.",
                )
            if flag:
                self.check_linear(k, names[k], tuple(map(type_of, primals)))

        def push(*given: Any) -> Any:
            terms = [self(*primals[:k], dx, *primals[k + 1 :]) for k, dx in enumerate(filled(given, active)) if dx is not None]
            return [sum_tangents(column) for column in zip(*terms, strict=True)] if self.multiple else sum_tangents(terms)

        return self(*primals), push

    def check_linear(self, k: int, name: str, types: tuple[ArrayType, ...]) -> None:
        """Refuse a function that is not linear as declared; tried once for each combination of operand types."""
        if (k, types) not in self.seen_linear:
            subject = f"{self.name} ({describe_function(self.function)})"
            check_declared_linear(subject, lambda *xs: self.results(self.impl(*xs)), types, [k], f"linear_in operand {k}, {name}")
            self.seen_linear.add((k, types))

    def operand_names(self, count: int) -> list[str]:
        names = parameter_names(self.function)
        return [names[k] if k < len(names) else f"x{k}" for k in range(count)]

    def flat_rules(self, primals: Sequence[Any]) -> FlatRules:
        """The rules as the rules of a custom function, which checks them and derives the missing ones."""
        count, jvp, vjp = len(primals), self.rules.get("jvp"), self.rules.get("vjp")
        names = self.operand_names(count)

        def flat_jvp(_: Sequence[Any], xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            assert jvp is not None
            y, dy = self.checked.pair("jvp", self.checked.call("jvp", jvp, tuple(xs), tuple(dxs)), "(y, dy)")
            wanted = self.result_types(xs)
            ys, dys = (self.taken_apart("jvp", v, len(wanted), what) for v, what in ((y, "y"), (dy, "dy")))
            for k, (value, t) in enumerate(zip(ys, wanted, strict=True)):
                self.checked.matching("jvp", value, t, f"y[{k}]" if self.multiple else "y")
            named = [f"dy[{k}]" if self.multiple else "dy" for k in range(len(wanted))]
            return ys, [self.checked.fitting("jvp", v, t, name) for v, t, name in zip(dys, wanted, named, strict=True)]

        def fwd(_: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            ys = self.results(self(*xs))
            return ys, [*xs, *ys]

        def bwd(_: Sequence[Any], saved: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
            assert vjp is not None
            xs, ys = saved[:count], saved[count:]
            found = self.checked.call("vjp", vjp, self.shaped(bars), self.shaped(ys), *xs)
            x_bars = list(found) if isinstance(found, tuple | list) else [found]
            if len(x_bars) != count:
                problem = f"it returned {len(x_bars)} cotangent{'s' * (len(x_bars) != 1)} for {count} operands ({', '.join(names)})."
                raise self.checked.wrong("vjp", problem)
            return self.checked.cotangents("vjp", x_bars, list(map(type_of, xs)), names)

        labels = Names(
            self.name,
            describe_function(jvp) if jvp else "",
            describe_function(vjp) if vjp else "",
            tuple(f"tangents[{k}]" for k in range(count)),
        )
        return FlatRules(
            lambda *xs: self.results(self(*xs)), labels, jvp=flat_jvp if jvp else None, fwd=fwd if vjp else None, bwd=bwd if vjp else None
        )

    def taken_apart(self, rule: str, y: Any, count: int, what: str) -> list[Any]:
        """The results in ``y``: a tuple of ``count`` if multiple, else one."""
        if not self.multiple:
            if isinstance(y, tuple | list):
                raise self.checked.wrong(rule, f"{what} must be one array, not {shown(y)}.")
            return [y]
        if not isinstance(y, tuple | list) or len(y) != count:  # type: ignore[arg-type]
            raise self.checked.wrong(rule, f"{what} must be a tuple of length {count}, not {shown(y)}.")
        return list(y)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        k = next(i for i, x in enumerate(operands) if type(x) is Var)
        if "transpose" in self.rules:
            x_bar = self.by_transpose_rule(y_bar, k, operands)
        else:
            x_bar = self.transpose_by_basis(y_bar, k, operands)
        return [x_bar if i == k else None for i in range(len(operands))]

    def by_transpose_rule(self, y_bar: Any, k: int, operands: Sequence[Any]) -> Any:
        """The user's rule, called for the cotangent of operand ``k``, with a `Var` in its position."""
        name = self.operand_names(len(operands))[k]
        try:
            found = self.checked.call("transpose", self.rules["transpose"], y_bar, *operands)
        except (AttributeError, TypeError) as error:
            if len(self.linear) == 1 or "Var" not in str(error):
                raise
            raise self.checked.wrong(
                "transpose",
                f"it uses operand {k} ({name}), of which it is asked for the cotangent: {error}.",
                do="an operand that is a cotan.core.program.Var has no value: give the cotangent of that one, computed from the others. "
                "Without a transpose rule it is derived.",
            ) from error
        if isinstance(found, tuple | list):
            raise self.checked.wrong("transpose", f"it must return the cotangent of operand {k} ({name}) alone, not {shown(found)}.")
        return self.checked.cotangents("transpose", [found], [operands[k].type], [name])[0]

    def transpose_by_basis(self, y_bar: Any, k: int, operands: Sequence[Any]) -> Any:
        """Re(x_bar dx) = Re <y_bar, op(dx)> for every dx, evaluated on a basis. This is right for any linear op, at one evaluation for each
        number of x.

        For complex x the imaginary units are evaluated too: Re(x_bar_i) = Re <y_bar, op(e_i)>, Im(x_bar_i) = - Re <y_bar, op(i e_i)>.
        """
        t: ArrayType = operands[k].type
        bars = y_bar if self.multiple else [y_bar]
        basis = np.eye(t.size, dtype=t.dtype)

        def paired(unit: Any) -> Any:
            columns = self.results(self(*operands[:k], unit.reshape(t.shape), *operands[k + 1 :]))
            terms = [
                reduce_sum(mul(convert(c, type_of(bar).dtype), fill_shape(bar, c)), range(type_of(c).ndim))
                for c, bar in zip(columns, bars, strict=True)
                if bar is not None
            ]
            return sum_tangents([real(x) if type_of(x).dtype.kind == "c" else x for x in terms])

        entries = [paired(unit) for unit in basis]
        if not entries:
            return np.zeros(t.shape, t.dtype)
        if t.dtype.kind != "c":
            return convert(reshape(stacked(entries), t.shape), t.dtype)
        imaginary = [mul(x, type_of(x).dtype.type(-1)) for x in (paired(1j * unit) for unit in basis)]
        return convert(reshape(complex_(stacked(entries), stacked(imaginary)), t.shape), t.dtype)


def primitive_named(name: str) -> Op:
    """The primitive of this name, which must be defined in the process."""
    return REGISTRY[name]()


def take(x: Any, k: int) -> Any:
    """``x[k]`` along the leading axis."""
    shape = type_of(x).shape
    return reshape(slice_(x, (k, *[0] * (len(shape) - 1)), (k + 1, *shape[1:])), shape[1:])


def stacked(rows: Sequence[Any]) -> Any:
    """Arrays of one shape along a new leading axis."""
    return concatenate([spread(y, 1) for y in rows], 0)


def primitive(
    name: str,
    impl: Callable[..., Any],
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    linear_in: Sequence[int] | None = None,
    transpose: Callable[..., Any] | None = None,
    type_rule: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    multiple: bool = False,
) -> Op:
    """Define a new primitive op, and return it: call it like a function.

    Args:
        name: its name, as programs and errors show it. A name defined before by `primitive` is replaced.
        impl: its meaning: NumPy arrays in, an array out (a tuple of arrays if ``multiple``).
        jvp: ``jvp(primals, tangents) -> (y, dy)``, in cotan functions, linear in the tangents.
        vjp: ``vjp(y_bar, y, *xs) -> (x_bar, ...)``, in cotan functions; forward mode is its transpose.
        linear_in: operands in each of which alone the op is linear, instead of jvp or vjp. When it is first differentiated for operands of
            some types, ``impl`` is tried on random numbers to see whether it is.
        transpose: ``transpose(y_bar, *operands) -> x_bar`` for a linear op; the operand asked for comes as a `Var`. Without it, it is
            derived by one evaluation per input number.
        type_rule: ``type_rule(*types) -> ArrayType``; without it, ``impl`` is run on example arrays: ones, or numbers about one.
        batch: ``batch(size, batched, *operands) -> (y, flag)``; without it, a loop.

    Raises:
        ArgumentError: none or more than one of jvp (or vjp) and linear_in, or a name that a built-in op has.
        RuleError (when used): a rule that returns something of the wrong structure, shape or dtype; a result that differs from its type.
        NonlinearTangentError (when differentiated): a rule that is not linear, or ``impl`` where ``linear_in`` says it is.
        MissingRuleError (when differentiated): by an operand that ``linear_in`` does not name.

    >>> import cotan, numpy as np, cotan.numpy as cnp
    >>> cube = cotan.extend.primitive("cube", lambda x: x**3, jvp=lambda p, t: (cube(*p), 3 * p[0] ** 2 * t[0]))
    >>> cotan.grad(cube)(2.0)
    Array(12.)
    """
    if (jvp is None and vjp is None) == (linear_in is None):
        raise teach(
            ArgumentError,
            f"primitive {name!r} needs a derivative: one of jvp, vjp (or both), linear_in.",
            do="give jvp=..., or linear_in=(0,) if it is linear.",
        )
    count = 0 if takes(impl, [None] * 1000, {}) else len(parameter_names(impl))
    if any(not isinstance(k, int) or isinstance(k, bool) or k < 0 or (count and k >= count) for k in linear_in or ()):  # type: ignore[redundant-expr]
        raise teach(
            ArgumentError,
            f"primitive {name!r}: linear_in={linear_in!r} names no operands of {describe_function(impl)}.",
            do=f"give positions from 0{f' to {count - 1}' if count else ''}, as in linear_in=(0,).",
        )
    if name in REGISTRY and not issubclass(REGISTRY[name], Primitive):
        raise teach(ArgumentError, f"primitive {name!r}: a built-in op has this name.", do="choose another name.")
    rules = {"jvp": jvp, "vjp": vjp, "transpose": transpose, "type_rule": type_rule, "batch": batch}
    body: dict[str, Any] = {
        "__doc__": (impl.__doc__ or f"The primitive {name}.").strip(),
        "name": name,
        "multiple": multiple,
        "function": staticmethod(impl),
        "rules": {key: rule for key, rule in rules.items() if rule is not None},
        "known_types": {},
        "seen_linear": set(),
        "linear": tuple((k,) for k in linear_in or ()),
        "examples": classmethod(lambda cls: ()),
    }
    return op(type(name, (Primitive,), body))()

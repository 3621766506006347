"""A function with derivative rules of its own, as one op.

`CustomCall` holds a flat function and the rules that the user gave. Missing rules are derived:

    given            forward mode                       reverse mode
    jvp              the rule                           the rule's linear program, transposed
    vjp (fwd, bwd)   the transpose of bwd               bwd
    both             the jvp rule                       bwd
    transpose        the function itself (it is linear) the transpose rule
    none of these    through the function's body

`vmap` uses the vmap rule if there is one, and otherwise batches the body; the derivative rules are batched with it. If a vmap rule is the
only rule, derivatives on a batch are derivatives of the vmap rule.

A jvp rule is always recorded on a `LinearTape` first, in forward mode too: a rule that is not linear in its tangents is refused at its
first use, in every mode. The ``hidden`` operands, which come first, are tracers that the function closed over (see `closures`). The rules
see their values; the derivative with respect to them goes through the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..core.errors import NonlinearTangentError, teach
from ..core.formula import Formula, called
from ..core.op import op
from ..core.origin import capturing
from ..core.program import Program, Var, is_kept
from ..core.staging import stage_flat
from ..core.tracing import concrete_zero, type_of
from ..core.types import ArrayType
from ..ops.families import add, reduce_sum, spread, zeros
from ..transforms.batch import batch_flat
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_flat, record_linear, replay
from ..transforms.transpose import accumulate, backward_pass
from .base import ControlOp, filled, linearize_function

__all__ = ["CustomCall", "CustomTangent", "FlatRules", "Names"]

Flat = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Names:
    """The names of a custom function, its rules and its arguments in messages."""

    function: str
    jvp: str = ""
    bwd: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FlatRules:
    """A function of flat values and its flat rules.

    body(*hidden, *x) -> y
    jvp(hidden, x, dx) -> (y, dy)
    fwd(hidden, x) -> (y, residuals)
    bwd(hidden, residuals, y_bar) -> x_bar, with None for zero
    transpose(hidden, y_bar) -> x_bar
    vmap(size, batched, hidden, x) -> y, with the batch axis in front
    """

    body: Flat
    names: Names
    hidden: int = 0
    jvp: Callable[..., tuple[Sequence[Any], Sequence[Any]]] | None = None
    fwd: Callable[..., tuple[Sequence[Any], Sequence[Any]]] | None = None
    bwd: Callable[..., Sequence[Any | None]] | None = None
    transpose: Callable[..., Sequence[Any | None]] | None = None
    vmap: Callable[..., Sequence[Any]] | None = None
    derived: bool = False
    """Whether the derivative rules are made from the body (see `with_derivatives`)."""

    @property
    def has_derivative(self) -> bool:
        """Whether there is a rule for a derivative."""
        return self.jvp is not None or self.fwd is not None or self.transpose is not None


@op
class CustomCall(ControlOp):
    """Call a function that has rules of its own."""

    rules: FlatRules
    staged: dict[Any, Program] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"custom[{self.rules.names.function}]"

    def formula(self, *operands: Formula) -> Formula:
        return called(self.rules.names.function.partition(" (")[0], *operands)

    @property
    def user_code(self) -> str:  # type: ignore[override]
        return self.rules.names.function

    def linear_sets(self, count: int) -> tuple[int, ...]:
        if self.rules.transpose is None:
            return ()
        return (((1 << count) - 1) & ~((1 << self.rules.hidden) - 1),)

    def program(self, types: tuple[ArrayType, ...]) -> Program:
        """The body, staged on these types."""
        if types not in self.staged:
            program, constants = stage_flat(self.rules.body, types, verb="custom rule", name=self.rules.names.function)
            self.staged[types] = replace(program, constants=tuple(constants))
        return self.staged[types]

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.program(types).output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(self.rules.body(*operands))

    def expand(self, *operands: Any) -> Sequence[Any]:
        return self.rules.body(*operands)

    written_out = expand

    def chosen(self, values: Sequence[Any]) -> Any:
        """The body, unless there is a rule."""
        return None if self.rules.has_derivative else self.expand

    @property
    def effect(self) -> bool:  # type: ignore[override]
        """Whether something in the body has an effect, or is tagged, as far as it has been staged."""
        return any(any(is_kept(e.op) for e in program.equations) for program in self.staged.values())

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return list(operands[: self.rules.hidden]), list(operands[self.rules.hidden :])

    # ---- derivatives ---------------------------------------------------------------------------------------------------
    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        rules = self.rules
        hidden, xs = self.split(primals)
        hidden_active, x_active = self.split(active)
        if not rules.has_derivative:
            if rules.vmap is None:
                return linearize_function(rules.body, primals, active)
            return CustomCall(with_derivatives(rules)).linearize(primals, active)
        outs, push_x = self.linearize_by_rule(hidden, xs, x_active)
        if not any(hidden_active):
            return outs, push_x

        def again(*h: Any) -> Sequence[Any]:
            with capturing(False):
                return rules.body(*h, *xs)

        _, push_hidden = linearize_function(again, hidden, hidden_active)
        count = sum(hidden_active)

        def push(*tangents: Any) -> list[Any | None]:
            through_body = push_hidden(*tangents[:count])
            by_rule = push_x(*tangents[count:]) if len(tangents) > count else [None] * len(outs)
            total: list[Any | None] = []
            for a, b in zip(through_body, by_rule, strict=True):
                total.append(a if b is None else b if a is None else add(a, b))
            return total

        return outs, push

    def linearize_by_rule(
        self, hidden: list[Any], xs: list[Any], active: list[Any]
    ) -> tuple[Sequence[Any], Callable[..., list[Any | None]]]:
        """The values, and the function of the active tangents of the explicit operands that the user's rules define."""
        rules = self.rules
        if not any(active):
            outs = rules.body(*hidden, *xs)
            return outs, lambda: [None] * len(outs)
        if rules.transpose is not None:
            outs = self(*hidden, *xs)
            names = [name.replace("tangents", "args") for name in rules.names.arguments]
            subject = f"{rules.names.function}, declared linear,"
            record_linear(lambda *t: rules.body(*hidden, *t), list(map(type_of, xs)), names, subject, "arguments")

            def push_linear(*tangents: Any) -> list[Any | None]:
                it = iter(tangents)
                return list(self(*hidden, *[next(it) if a else zeros(type_of(x)) for x, a in zip(xs, active, strict=True)]))

            return outs, push_linear
        if rules.fwd is None:
            return self.linearize_by_jvp(hidden, xs, active)
        assert rules.bwd is not None
        outs, residuals = rules.fwd(hidden, xs)
        held = [*hidden, *residuals]
        tangent = CustomTangent(
            rules, len(hidden), len(residuals), tuple(map(bool, active)), tuple(map(type_of, xs)), tuple(map(type_of, outs))
        )
        if rules.jvp is None:
            return outs, lambda *tangents: list(tangent(*held, *tangents))
        # Both rules are given: the primals become operands, since forward mode runs the jvp rule.
        both = replace(tangent, primals=len(xs))
        return outs, lambda *tangents: list(both(*held, *xs, *tangents))

    def outputs(self, hidden: list[Any], xs: list[Any]) -> Sequence[ArrayType]:
        return self.type_rule(*map(type_of, [*hidden, *xs]))

    def linearize_by_jvp(
        self, hidden: list[Any], xs: list[Any], active: list[Any]
    ) -> tuple[Sequence[Any], Callable[..., list[Any | None]]]:
        outs, equations, inputs, outputs = record_jvp_rule(self.rules, hidden, xs, active)
        return outs, lambda *tangents: replay(equations, inputs, tangents, outputs)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        hidden, xs = self.split(operands)
        assert self.rules.transpose is not None
        types = self.outputs(hidden, xs)
        bars = [zeros(t) if bar is None else bar for bar, t in zip(y_bar, types, strict=True)]
        x_bars = self.rules.transpose(hidden, bars)
        return [None] * len(hidden) + [x_bar if type(x) is Var else None for x_bar, x in zip(x_bars, xs, strict=True)]

    # ---- batching ------------------------------------------------------------------------------------------------------
    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        hidden_flags, x_flags = self.split(batched)
        outs = CustomCall(batched_rules(self.rules, size, hidden_flags, x_flags))(*operands)
        return outs, [True] * len(outs)


def with_derivatives(rules: FlatRules) -> FlatRules:
    """The rules of a function that has only a vmap rule, with derivative rules made from its body.

    So its derivative stays an op, and on a batch it is the derivative of the vmap rule.
    """
    names = replace(rules.names, jvp="derived", bwd="derived")

    def jvp(hidden: Sequence[Any], xs: Sequence[Any], dxs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        active = [type_of(x).inexact for x in xs]
        outs, douts = jvp_flat(
            rules.body, [*hidden, *xs], [*[None] * len(hidden), *[dx if a else None for dx, a in zip(dxs, active, strict=True)]]
        )
        return outs, [zeros(type_of(y)) if dy is None else dy for y, dy in zip(outs, douts, strict=True)]

    def fwd(hidden: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return list(CustomCall(rules)(*hidden, *xs)), list(xs)

    def bwd(hidden: Sequence[Any], xs: Sequence[Any], bars: Sequence[Any]) -> list[Any | None]:
        active = [type_of(x).inexact for x in xs]
        outs, tape, inputs, outputs = linearize_flat(lambda *x: rules.body(*hidden, *x), list(xs), active)
        cotangents: dict[Var, Any] = {}
        for y, v, bar in zip(outs, outputs, bars, strict=True):
            if v is not None and type_of(y).inexact:
                accumulate(cotangents, v, bar)
        return filled(backward_pass(tape.equations, cotangents, inputs, last=True), active)

    return replace(rules, names=names, jvp=jvp, fwd=fwd, bwd=bwd, derived=True)


def record_jvp_rule(
    rules: FlatRules, hidden: list[Any], xs: list[Any], active: list[Any]
) -> tuple[Sequence[Any], Any, Any, list[Var | None]]:
    """Run a jvp rule once with symbolic active tangents: (values, equations, input Vars, output Vars or None)."""
    assert rules.jvp is not None
    found: dict[str, Any] = {}
    jvp = rules.jvp

    def run(*tangents: Any) -> Sequence[Any]:
        it = iter(tangents)
        dx = [next(it) if a else zeros(type_of(x)) for x, a in zip(xs, active, strict=True)]
        found["outs"], douts = jvp(hidden, xs, dx)
        return douts

    names = [name for name, a in zip(rules.names.arguments, active, strict=True) if a]
    subject = f"the JVP rule {rules.names.jvp} of {rules.names.function}"
    tape, inputs, outputs = record_linear(run, [type_of(x) for x, a in zip(xs, active, strict=True) if a], names, subject)
    for y in found["outs"]:
        if getattr(y, "owner", None) is tape:
            raise teach(
                NonlinearTangentError,
                f"{subject} returns a primal output that depends on the tangents.",
                do="return (primal_out, tangent_out), the first computed from the primals alone.",
            )
    results: list[Var | None] = []
    for dy in outputs:
        if type(dy) is Var:
            results.append(dy)
        elif concrete_zero(dy):
            results.append(None)
        else:
            raise teach(
                NonlinearTangentError,
                f"{subject} is not linear in its tangents.",
                detail="the tangent output is a nonzero constant: at tangent zero it is not zero",
                do="compute the tangent output from the tangents; return zeros if the derivative is zero.",
            )
    return found["outs"], tape.equations, inputs, results


@op
class CustomTangent(ControlOp):
    """The derivative of a function at a point, with a known transpose: ``bwd``.

    Operands: hidden values, residuals, the primals if there is a jvp rule too, and the active tangents, in which it is linear. Forward, it
    runs the jvp rule or, without one, the transpose of ``bwd``, which must then be linear in the cotangent.
    """

    rules: FlatRules
    hidden: int
    residuals: int
    active: tuple[bool, ...]
    input_types: tuple[ArrayType, ...]
    output_types: tuple[ArrayType, ...]
    primals: int = 0

    def __str__(self) -> str:
        return f"custom_tangent[{self.rules.names.function}]"

    def formula(self, *operands: Formula) -> Formula:
        return called(f"tangent[{self.rules.names.function.partition(' (')[0]}]", *operands)

    @property
    def known(self) -> int:
        return self.hidden + self.residuals + self.primals

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return (((1 << count) - 1) & ~((1 << self.known) - 1),)

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return tuple(t.with_shape(t.shape) for t in self.output_types)

    def impl(self, *operands: Any) -> Sequence[Any]:
        return tuple(self.expand(*operands))

    def expand(self, *operands: Any) -> Sequence[Any]:
        hidden, rest = list(operands[: self.hidden]), operands[self.hidden :]
        residuals, rest = list(rest[: self.residuals]), rest[self.residuals :]
        xs, tangents = list(rest[: self.primals]), rest[self.primals :]
        if self.rules.jvp is not None:
            _, equations, inputs, outputs = record_jvp_rule(self.rules, hidden, xs, list(self.active))
            dys = replay(equations, inputs, tangents, outputs)
        else:
            dys = self.transposed_bwd(hidden, residuals, tangents)
        return [zeros(t) if dy is None else dy for dy, t in zip(dys, self.output_types, strict=True)]

    written_out = expand

    def chosen(self, values: Sequence[Any]) -> None:
        """None: the op is itself a rule."""

    def transposed_bwd(self, hidden: list[Any], residuals: list[Any], tangents: Sequence[Any]) -> list[Any | None]:
        """y' such that <y_bar, y'> = <bwd(y_bar), x'> for every cotangent y_bar: bwd, recorded as linear in y_bar and transposed."""
        bwd, names = self.rules.bwd, self.rules.names
        assert bwd is not None
        inexact = [t.inexact for t in self.output_types]

        def pull(*bars: Any) -> list[Any]:
            it = iter(bars)
            x_bars = bwd(hidden, residuals, [next(it) if f else zeros(t) for f, t in zip(inexact, self.output_types, strict=True)])
            return [zeros(t) if x is None else x for x, t, a in zip(x_bars, self.input_types, self.active, strict=True) if a]

        subject = f"the backward rule {names.bwd} of {names.function}, which forward mode transposes,"
        types = [t for t, f in zip(self.output_types, inexact, strict=True) if f]
        tape, inputs, outputs = record_linear(pull, types, ["the cotangent"] * len(types), subject, "cotangent")
        cotangents: dict[Var, Any] = {}
        for v, dx in zip(outputs, tangents, strict=True):
            if type(v) is not Var and not concrete_zero(v):
                raise teach(
                    NonlinearTangentError,
                    f"{subject} is not linear in its cotangent: it returns a nonzero constant.",
                    do="compute the result from the cotangent; return None for a zero cotangent.",
                )
            accumulate(cotangents, v, dx)
        return filled(backward_pass(tape.equations, cotangents, inputs, last=True), inexact)

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        if not any(active[: self.known]):  # only tangents are active, and the op is linear in them
            known = list(primals[: self.known])

            def push(*tangents: Any) -> list[Any]:
                it = iter(tangents)
                moved = [next(it) if a else zeros(type_of(x)) for x, a in zip(primals[self.known :], active[self.known :], strict=True)]
                return list(self(*known, *moved))

            return self(*primals), push
        return linearize_function(self.expand, primals, active)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        hidden, residuals = list(operands[: self.hidden]), list(operands[self.hidden : self.hidden + self.residuals])
        bars = [zeros(t) if bar is None else bar for bar, t in zip(y_bar, self.output_types, strict=True)]
        assert self.rules.bwd is not None
        x_bars = self.rules.bwd(hidden, residuals, bars)
        chosen = [x for x, a in zip(x_bars, self.active, strict=True) if a]
        return [None] * self.known + [x if type(v) is Var else None for x, v in zip(chosen, operands[self.known :], strict=True)]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        a, b = self.hidden, self.hidden + self.residuals
        # Every explicit input counts as batched: unbatched primals and tangents are broadcast.
        operands = (*operands[:b], *[x if flag else spread(x, size) for x, flag in zip(operands[b:], batched[b:], strict=True)])
        every = [True] * len(self.active)
        rules = batched_rules(self.rules, size, list(batched[:a]), every, list(batched[a:b]))
        batch_types = tuple(t.batched(size) for t in self.output_types)
        op = replace(self, rules=rules, input_types=tuple(t.batched(size) for t in self.input_types), output_types=batch_types)
        outs = op(*operands)
        return outs, [True] * len(outs)


def run_on_batch(size: int, function: Flat, flags: Sequence[bool], operands: Sequence[Any]) -> list[Any]:
    """The results of a function on a batch; each of them has the batch axis."""
    outs, out_flags = batch_flat(function, size, flags, operands)
    return [y if flag else spread(y, size) for y, flag in zip(outs, out_flags, strict=True)]


def batched_rules(
    rules: FlatRules, size: int, hidden: Sequence[bool], xs: Sequence[bool], residuals: Sequence[bool] | None = None
) -> FlatRules:
    """The rules of the function on a batch in which the flagged operands have a leading axis; every result has one.

    The cotangent of an unbatched operand is summed over the batch. ``residuals`` flags batched residuals that were made before batching;
    the residuals that the batched ``fwd`` returns are all batched.
    """
    hidden, xs = list(hidden), list(xs)

    on_batch = partial(run_on_batch, size)

    def body(*operands: Any) -> list[Any]:
        if rules.vmap is not None:
            return list(rules.vmap(size, xs, list(operands[: rules.hidden]), list(operands[rules.hidden :])))
        return on_batch(rules.body, [*hidden, *xs], operands)

    if rules.derived:
        return with_derivatives(replace(rules, body=body, vmap=None, jvp=None, fwd=None, bwd=None, derived=False))

    def jvp(h: list[Any], x: list[Any], dx: list[Any]) -> tuple[list[Any], list[Any]]:
        counts: list[int] = []

        def run(*operands: Any) -> list[Any]:
            a, b = len(h), len(h) + len(x)
            outs, douts = rules.jvp(list(operands[:a]), list(operands[a:b]), list(operands[b:]))  # type: ignore[misc]
            counts.append(len(outs))
            return [*outs, *douts]

        results = on_batch(run, [*hidden, *xs, *xs], [*h, *x, *dx])
        return results[: counts[0]], results[counts[0] :]

    def fwd(h: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        counts: list[int] = []

        def run(*operands: Any) -> list[Any]:
            outs, saved = rules.fwd(list(operands[: len(h)]), list(operands[len(h) :]))  # type: ignore[misc]
            counts.append(len(outs))
            return [*outs, *saved]

        results = on_batch(run, [*hidden, *xs], [*h, *x])
        return results[: counts[0]], results[counts[0] :]

    def bwd(h: list[Any], r: list[Any], bars: list[Any]) -> list[Any | None]:
        present: list[bool] = []

        def run(*operands: Any) -> list[Any]:
            a, b = len(h), len(h) + len(r)
            x_bars = rules.bwd(list(operands[:a]), list(operands[a:b]), list(operands[b:]))  # type: ignore[misc]
            present.extend(x is not None for x in x_bars)
            return [x for x in x_bars if x is not None]

        flags = [*hidden, *(residuals if residuals is not None else [True] * len(r)), *[True] * len(bars)]
        found = filled(on_batch(run, flags, [*h, *r, *bars]), present)
        return [x if x is None or flag else reduce_sum(x, (0,)) for x, flag in zip(found, xs, strict=True)]

    def transpose(h: list[Any], bars: list[Any]) -> list[Any | None]:
        present: list[bool] = []

        def run(*operands: Any) -> list[Any]:
            x_bars = rules.transpose(list(operands[: len(h)]), list(operands[len(h) :]))  # type: ignore[misc]
            present.extend(x is not None for x in x_bars)
            return [x for x in x_bars if x is not None]

        found = filled(on_batch(run, [*hidden, *[True] * len(bars)], [*h, *bars]), present)
        return [x if x is None or flag else reduce_sum(x, (0,)) for x, flag in zip(found, xs, strict=True)]

    return replace(
        rules,
        body=body,
        vmap=None,
        jvp=None if rules.jvp is None else jvp,
        fwd=None if rules.fwd is None else fwd,
        bwd=None if rules.bwd is None else bwd,
        transpose=None if rules.transpose is None else transpose,
    )

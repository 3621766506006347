"""Linearize: the values of a function now, and its derivative as a linear program of the tangents.

Linearize is forward mode whose tangents are not numbers but variables of a `LinearTape`. A derivative rule runs unchanged: its operations
on primal values run at once (in the parent), and its operations on tangents are recorded on the tape. So the tape holds only linear
equations. Each is checked when it is recorded: an equation whose tangent operands lie in none of the operand sets in which its op is linear
is refused immediately, while the user's line is still on the stack.

Reverse mode needs no other partial evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from ..core.borrowing import copies_of_shared
from ..core.errors import NonlinearTangentError, teach
from ..core.op import Op
from ..core.origin import Origin, evaluating, here, inherited, observer
from ..core.program import Equation, Literal, Program, Var, evaluate
from ..core.sizes import Size
from ..core.staging import StagingTrace, stage_flat
from ..core.tracing import EVAL, Tracer, concrete_zero, current_trace, reset_trace, running, set_trace, type_of
from ..core.types import ArrayType
from ..ops.families import BroadcastInDim, ScaledSum, ScaleSpread, add, fill_shape, scale
from .jvp import JVPTrace

__all__ = ["LinearTape", "LinearizeTrace", "detach", "linearize_flat", "linearize_program", "record_linear", "replay"]


class LinearTape(StagingTrace):
    """Runs rules: operations on its Vars are recorded as linear equations, all others run in ``parent``, the trace in which it was made.

    Operands of its equations that are not Vars are known values (residuals). In messages, ``subject`` is the linear function ("the JVP rule
    f_jvp"), ``variables`` the arguments in which it has to be linear, and ``names`` the names of the input Vars (``tangents[0]``).
    """

    __slots__ = ("names", "parent", "spread", "subject", "variables")

    def __init__(self, subject: str = "", variables: str = "tangents"):
        super().__init__("linearize")
        self.parent = current_trace()
        self.recording = self.parent.recording
        self.subject, self.variables = subject, variables
        self.names: dict[Var, str] = {}
        self.spread: dict[Var, tuple[Var, tuple[int, ...]]] = {}
        """Tangents that are broadcast: of what, and to which axes. Products with them are recorded as products of what was broadcast."""

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        plain = self.parent is EVAL
        for x in operands:
            if type(x) is Tracer:
                if x.owner is self:
                    if op.expand is not None and not self.takes(op, operands):
                        return op.expand(*operands)
                    return self.record_checked(op, operands)
                plain = False
        if plain and not op.holds_programs:  # as EvalTrace does, without a change of the current trace
            results = op.impl(*operands)
            return results if op.multiple else (results,)
        token = set_trace(self.parent)
        try:
            return self.parent.process(op, operands)
        finally:
            reset_trace(token)

    def record_checked(self, op: Op, operands: Sequence[Any]) -> Sequence[Tracer]:
        """Record an equation, if the op is linear in the operands that are tangents."""
        inputs: list[Any] = []
        types: list[Any] = []
        mask, bit = 0, 1
        for x in operands:
            kind = type(x)
            if kind is Tracer and x.owner is self:
                x = x.payload
                mask |= bit
                types.append(x.type)
            else:
                if kind is not np.float64:
                    x = self.operand(x)
                types.append(type_of(x))
            inputs.append(x)
            bit += bit
        for members in op.linear_sets(len(inputs)):
            if mask == members or (mask & ~members == 0 and self.others_are_zero(inputs, members & ~mask)):
                break
        else:
            if not op.effect:
                self.refuse(op, inputs, mask)
        result = op.type_rule(*types)
        if not op.multiple:
            return (Tracer(self, self.record(op, inputs, result)),)
        outputs = [Var(t) for t in result]
        self.equations.append(Equation(op, inputs, outputs, self.origin()))
        return [Tracer(self, v) for v in outputs]

    def record(self, op: Op, inputs: Sequence[Any], type: ArrayType) -> Var:
        """Record an equation that is known to be linear and to have a result of this type, which it returns."""
        v = Var(type)
        self.equations.append(Equation(op, inputs, (v,), self.origin()))
        return v

    def origin(self) -> Origin | None:
        return here() if self.recording else inherited()

    def takes(self, op: Op, operands: Sequence[Any]) -> bool:
        """Whether ``op`` is declared linear in the operands that are tangents."""
        mask = sum(1 << k for k, x in enumerate(operands) if type(x) is Tracer and x.owner is self)
        return any(mask & ~members == 0 for members in op.linear_sets(len(operands)))

    def others_are_zero(self, inputs: Sequence[Any], others: int) -> bool:
        """Whether the known operands in the set ``others`` are zero, so that an op linear in all of the set jointly is linear here."""
        return all(concrete_zero(x) for k, x in enumerate(inputs) if others >> k & 1)

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        asked = {"bool": "branches on", "array": "makes a NumPy array of"}.get(conversion, f"takes {conversion}() of")
        self.refuse_use(
            f"{asked} {self.describe(tracer.payload)}",
            "It has no value here: the function is run once, on symbols, for all values.",
        )

    @property
    def label(self) -> str:
        return f"linearization of {self.subject}" if self.subject else "linearization"

    # ---- the error of nonlinear tangents ---------------------------------------------------------------------
    def describe(self, v: Var) -> str:
        """``tangents[0]``, or ``a value computed from tangents[0]``."""
        if v in self.names:
            return self.names[v]
        sources = {v}
        for equation in reversed(self.equations):
            if not sources.isdisjoint(equation.outputs):
                sources.update(x for x in equation.inputs if type(x) is Var)
        found = [name for w, name in self.names.items() if w in sources]
        return f"a value computed from {' and '.join(found)}" if found else "a tangent"

    def refuse(self, op: Op, inputs: Sequence[Any], mask: int) -> NoReturn:
        touched = [k for k in range(len(inputs)) if mask >> k & 1]
        sets = op.linear_sets(len(inputs))
        title = op.verb if op.verb == op.name else f"{op.verb} (here {op})"
        rows = [f"{title} of {', '.join(type_of(x).long_name() for x in inputs)}"]
        rows += [f"operand {k} is {self.describe(inputs[k])}" for k in touched]
        affine = any(mask & ~members == 0 for members in sets)
        if affine:
            rows.append("the other operand is a nonzero constant, so this is affine, not linear")
            advice = f"leave out the constant term: at {self.variables} zero the result must be zero."
        elif len(touched) > 1 and all(any(members >> k & 1 for members in sets) for k in touched):
            rows.append(f"{op.verb} is linear in each of these operands alone, not in both together: such a product is quadratic")
            advice = f"multiply each of the {self.variables} by known values only, and add the products."
        else:
            alone = sorted({k for members in sets for k in range(len(inputs)) if members >> k & 1})
            rows.append(
                f"{op.verb} is nonlinear in operand {touched[0]}"
                + (f"; it is linear in operand {', '.join(map(str, alone))} only" if alone else "")
            )
            advice = ""
        self.refuse_use("\n".join(rows), "", advice)

    def refuse_use(self, detail: str, reason: str, advice: str = "") -> NoReturn:
        what = f"{self.subject or 'a derivative rule'} is not linear in its {self.variables}."
        detail += f"\n{reason}" if reason else ""
        raise teach(NonlinearTangentError, what, detail=detail, do=advice or ADVICE[self.variables], origin=inherited())


ADVICE = {
    "tangents": "multiply the tangent by a derivative that is computed from the primals alone, as in `2 * x * t`.",
    "cotangent": "make the rule linear in the cotangent; one that is not (it clips, say) can be used in reverse mode only.",
    "arguments": "use the arguments only in sums, products with constants, and in what moves or adds up elements (reshape, sum).",
}


TOLD = (Tracer, float, int, bool, complex, Size)
"""Classes of operands that can be compared by identity: an array may change in between."""


FIRST_ALONE = 1
"""The set, as a bit mask, of the first operand."""


class LinearizeTrace(JVPTrace):
    """Forward mode whose tangents are Vars of ``tape``. A rule that computes with tangents gets tracers of these, and runs under ``tape``.

    While staging, an operation that is computed twice is recorded once: its cotangents are then added before they are pulled back through
    it, and not after. (No later pass can merge the two: it would have to know that two linear equations with different operands are applied
    to a sum.)
    """

    __slots__ = ("done", "tape")

    def __init__(self, tape: LinearTape, verb: str = "linearize", function: Any = None):
        super().__init__(tape.parent, verb, function)
        self.tape = tape
        self.done: dict[Hashable, tuple[Sequence[Any], Sequence[Any]]] | None = None if tape.parent is EVAL else {}

    def close(self) -> None:
        super().close()
        self.done = None  # its tracers refer to this trace

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        if self.done is None or op.multiple or not op.compare_by_value:
            return JVPTrace.process(self, op, operands)
        key: list[Any] = [op]
        for x in operands:
            kind = type(x)
            if kind is Tracer:
                key.append(id(x))
            elif kind in TOLD:
                key.append((kind, x.text if kind is Size else repr(x)))
            else:
                return JVPTrace.process(self, op, operands)
        known = tuple(key)
        found = self.done.get(known)
        if found is None:
            found = self.done[known] = JVPTrace.process(self, op, operands), operands  # stored, so that no other tracer gets their ids
        return found[0]

    def type_of(self, payload: Any) -> ArrayType:
        y, v = payload
        t: ArrayType = v.type  # most often
        return t if type(y) is np.ndarray and y.dtype is t.dtype and y.shape == t.shape and not t.weak else type_of(y)

    def is_zero(self, payload: Any) -> bool:
        return concrete_zero(payload[0]) and self.tape.is_zero(payload[1])

    def tangent(self, payload: Any) -> Any:
        return Tracer(self.tape, payload[1])

    def differentiate(self, op: Op, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        kind, tape = op.tangent, self.tape
        if kind == "local":  # most often
            return self.differentiate_locally(op, primals, tangents)
        if kind == "itself" and (len(tangents) == 1 or FIRST_ALONE in op.linear_sets(len(tangents))):
            y, v = op(*primals), tangents[0]
            dy = tape.record(op, (v,) if len(tangents) == 1 else (v, *map(tape.operand, primals[1:])), type_of(y))
            if type(op) is BroadcastInDim and self.parent is EVAL:
                tape.spread[dy] = v, op.dims
            return y, dy
        if kind == "weighted":
            return self.differentiate_weighted(op, primals[0], tangents[0])
        if kind == "termwise":
            return self.differentiate_termwise(op, primals, tangents)
        if kind == "none":
            return op(*primals), None
        if op.linearize is not None:
            outs, push = op.linearize(primals, [v is not None for v in tangents])
            set_trace(tape)  # until the end of `process`
            return outs, recorded(op, push(*[Tracer(tape, v) for v in tangents if v is not None]))
        set_trace(tape)
        outs, douts = op.jvp(primals, [None if v is None else Tracer(tape, v) for v in tangents])
        return outs, recorded(op, douts)

    def differentiate_weighted(self, op: Any, x: Any, v: Var) -> tuple[Any, Var]:
        """The result of the jvp rule of reductions with weights, with the sum recorded directly."""
        y, weights, factor = op.weighted(x)
        t = type_of(y)
        total = self.tape.record(ScaledSum(op.summed(x)), (self.tape.operand(x) if weights is x else weights, v), t)
        return y, total if factor is None else self.tape.record(scale, (factor, total), t)

    def differentiate_termwise(self, op: Op, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Var | None]:
        """The result of the jvp rule of multilinear ops, with each term recorded directly."""
        y, dy = op(*primals), None
        t = type_of(y)
        for k, v in enumerate(tangents):
            if v is not None:
                inputs = [v if j == k else self.tape.operand(x) for j, x in enumerate(primals)]
                term = self.tape.record(op, inputs, t)
                dy = term if dy is None else self.tape.record(add, (dy, term), t)
        return y, dy

    def differentiate_locally(self, op: Any, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Var | None]:
        """The result of the jvp rule of the elementwise family, with each product of a local derivative and a tangent recorded directly."""
        y, tape = op(*primals), self.tape
        shape = y.shape if type(y) is np.ndarray else type_of(y).shape
        dy = None
        for k, v in enumerate(tangents):
            if v is not None:
                d = op.local_derivative(k, y, primals)
                if d is not None:
                    for x in primals:
                        if d is x:  # not made by the rule: possibly an array that the user holds
                            tape.operand(d)
                            break
                    t = v.type
                    if v in tape.spread and type_of(d).shape == shape:
                        small, dims = tape.spread[v]
                        term = tape.record(ScaleSpread(dims), (d, small), t)
                    elif t.shape == shape:
                        term = tape.record(scale, (d, v), t)
                    else:
                        with running(tape):
                            term = fill_shape(scale(d, Tracer(tape, v)), y).payload
                    if dy is None:
                        dy = term
                    elif dy.type is term.type:
                        dy = tape.record(add, (dy, term), dy.type)
                    else:
                        (total,) = tape.record_checked(add, (Tracer(tape, dy), Tracer(tape, term)))
                        dy = total.payload
        return y, dy


def recorded(op: Op, tangents: Any) -> Any:
    """The Vars of the tangents of the results of an op, made by its rule."""
    if op.multiple:
        return [None if dy is None else dy.payload for dy in tangents]
    return None if tangents is None else tangents.payload


def linearize_flat(
    function: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    active: Sequence[bool],
    *,
    verb: str = "linearize",
    of: Any = None,
    by: type[LinearizeTrace] = LinearizeTrace,
    origins: bool = False,
) -> tuple[list[Any], LinearTape, list[Var], list[Var | None]]:
    """Run a flat function at ``primals`` and record its derivative in the active ones: on values only with ``origins`` with their origin.

    Returns:
        the values; the tape; its input Vars (one for each active primal); for each output the Var of its tangent, or None (zero).
    """
    tape = LinearTape()
    trace = by(tape, verb, of)
    trace.recording = tape.recording = tape.recording or origins
    arguments: list[Any] = []
    inputs: list[Var] = []
    for x, a in zip(primals, active, strict=True):
        if a:
            v = Var(type_of(x))
            inputs.append(v)
            x = trace.join(x, v)
        arguments.append(x)
    values: list[Any] = []
    outputs: list[Var | None] = []
    token = set_trace(trace)
    try:
        for y in function(*arguments):
            value, v = trace.split(y)
            values.append(value)
            outputs.append(v)
    finally:
        reset_trace(token)
        trace.close()
        tape.close()
    return values, tape, inputs, outputs


def detach(tape: LinearTape) -> None:
    """Replace the arrays on a closed tape that are referenced elsewhere by copies, so that they may change while the tape exists."""
    copies = copies_of_shared(x for equation in tape.equations for x in equation.inputs)
    if copies:
        for equation in tape.equations:
            equation.inputs = [copies.get(id(x), x) for x in equation.inputs]


def replay(equations: Sequence[Equation], inputs: Sequence[Var], values: Sequence[Any], outputs: Sequence[Var | None]) -> list[Any | None]:
    """Run recorded equations under the current trace on these values of their inputs; None stays None."""
    environment: dict[Any, Any] = dict(zip(inputs, values, strict=True))
    trace = current_trace()
    for equation in equations:
        operands = [environment[v] if type(v) is Var else v for v in equation.inputs]
        if trace.recording:
            with evaluating(equation):
                results = trace.process(equation.op, operands)
        else:
            results = trace.process(equation.op, operands)
        environment.update(zip(equation.outputs, results, strict=True))
    return [environment[v] if v is not None else None for v in outputs]


def record_linear(
    function: Callable[..., Sequence[Any]], inputs: Sequence[Any], names: Sequence[str], subject: str, variables: str = "tangents"
) -> tuple[LinearTape, list[Var], list[Any]]:
    """Record ``function``, which must be linear in all its arguments, on a tape: (tape, input Vars, outputs).

    ``inputs`` are ArrayTypes. An output is a Var of the tape, or a value if it does not depend on the inputs.
    """
    tape = LinearTape(subject, variables)
    arguments = [tape.new_input(t) for t in inputs]
    tape.names.update(zip([a.payload for a in arguments], names, strict=True))
    try:
        with running(tape):
            outs = function(*arguments)
        return tape, [a.payload for a in arguments], [tape.operand(y) for y in outs]
    finally:
        tape.close()


def linearize_program(program: Program, active: tuple[bool, ...]) -> tuple[Program, Program, list[bool], int]:
    """Split the derivative of a Program in two Programs.

    Returns:
        the primal program (outputs, then residuals), with the arrays that rules brought in as its constants;
        the linear program over (residuals, active tangents), with an output for each active output of the original;
        which outputs are active; the number of residuals.
    """
    found: dict[str, Any] = {}

    def primal(*arguments: Any) -> list[Any]:
        outs, tape, inputs, outputs = linearize_flat(lambda *xs: evaluate(program, *xs), arguments, active)
        linear, residuals = tape.finish(inputs, [Tracer(tape, v) for v in outputs if v is not None], f"{program.name}_tangent")
        found.update(linear=linear, active=[v is not None for v in outputs], count=len(residuals))
        return [*outs, *residuals]

    forward, constants = stage_flat(primal, program.input_types, name=f"{program.name}_primal")
    forward, linear = without_constant_residuals(forward, found["linear"], found["count"])
    count = len(linear.inputs) - sum(active)
    if (watching := observer()) is not None:
        watching.residuals(forward, linear, count)
    return replace(forward, constants=tuple(constants)), linear, found["active"], count


def without_constant_residuals(forward: Program, linear: Program, count: int) -> tuple[Program, Program]:
    """The two Programs without the residuals that depend on nothing, such as zeros: the linear one makes them itself."""
    makers: dict[Var | Literal, Equation] = {}
    for e in forward.equations:
        if not e.op.multiple and all(isinstance(v, Literal) or v in makers for v in e.inputs):
            makers[e.outputs[0]] = e
    first = len(forward.outputs) - count
    residuals = list(zip(forward.outputs[first:], linear.inputs[:count], strict=True))
    if not any(made in makers for made, _ in residuals):
        return forward, linear
    equations: list[Equation] = []
    new: dict[Var | Literal, Var] = {}

    def make(v: Var | Literal) -> Var | Literal:
        if isinstance(v, Var) and v not in new:
            e = makers[v]
            inputs = [make(x) for x in e.inputs]
            new[v] = Var(v.type)
            equations.append(Equation(e.op, inputs, [new[v]], e.origin))
        return new.get(v, v)

    taken: dict[Var | Literal, Var | Literal] = {given: make(made) for made, given in residuals if made in makers}
    kept = [(made, given) for made, given in residuals if made not in makers]
    rest = [Equation(e.op, [taken.get(v, v) for v in e.inputs], e.outputs, e.origin) for e in linear.equations]
    inputs, outputs = [*[given for _, given in kept], *linear.inputs[count:]], [taken.get(v, v) for v in linear.outputs]
    return (
        replace(forward, outputs=[*forward.outputs[:first], *[made for made, _ in kept]]),
        replace(linear, inputs=inputs, equations=[*equations, *rest], outputs=outputs),
    )

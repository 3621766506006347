"""`Tag`: the identity, which gives a value a name; and Programs that return what is tagged in them as well.

A tag of a value also names its tangent and its cotangent: the rules of `Tag` apply tags of these kinds. All have the ``site`` of the tag:
a number that is its own each time that the user's code runs `tag`. `CaptureTrace` sees the tags of what runs on values, and `collected`
those in Programs: in calls, loops and branches. What is tagged in the steps of a scan is stacked; of a while loop there is the step that
ran last; a branch that is not taken gives nan (0 for integers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import UnsupportedFunctionError, teach
from ..core.formula import Formula
from ..core.op import Op, op
from ..core.origin import here, is_capturing
from ..core.program import Equation, Literal, Program, Var, evaluate, holds
from ..core.staging import stage_flat
from ..core.tracing import EVAL, Trace, Tracer, running, type_of
from ..core.types import ArrayType, array_type
from ..ops.families import BroadcastInDim, Structural, default_rng
from .call import Call
from .cond import Cond
from .custom_rules import CustomCall
from .linear_solve import LinearSolve
from .residuals import extract
from .scan import Scan
from .stacks import either
from .while_loop import While

__all__ = ["CaptureTrace", "Key", "Tag", "collected"]


BOOLEAN = array_type((), np.dtype(np.bool_))


class Key(NamedTuple):
    """What a tag names: the ``kind`` of a value, "value", "tangent" or "cotangent", of the ``label``, at the ``site``."""

    label: str
    kind: str
    site: int


@op
class Tag(Structural):
    """The identity, which names a value for `capture`."""

    observed = True
    tangent = "rule"
    label: str
    kind: str = "value"
    site: int = 0
    """Its number, if what is tagged is captured."""

    @property
    def key(self) -> Key:
        return Key(self.label, self.kind, self.site)

    def type_rule(self, x: ArrayType) -> ArrayType:
        return x

    def impl(self, x: Any) -> Any:
        return x

    def element(self, e: Any, i: Sequence[Any], x: Any) -> Any:
        return x(i)

    def written_out(self, x: Any) -> Sequence[Any]:  # type: ignore[override]
        return [x]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (x,), (dx,) = primals, tangents
        return self(x), Tag(self.label, "tangent", self.site)(dx) if self.kind == "value" else dx

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [y_bar if self.kind == "cotangent" else Tag(self.label, "cotangent", self.site)(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return self(x), True

    def formula(self, x: Formula) -> Formula:
        return x

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls("hidden"), (default_rng().normal(size=(2, 3)),)


def has_tags(program: Program) -> bool:
    """Whether something is tagged in a Program, or in one that an op in it holds."""
    return holds(program, "tags", is_tagged)


def is_tagged(op: Op) -> bool:
    """Whether something is tagged by ``op``, or in a Program that it holds or in the body of a custom function."""
    programs = op.staged.values() if isinstance(op, CustomCall) else [region.program for region in op.regions()]
    return type(op) is Tag or any(map(has_tags, programs))


class CaptureTrace(Trace):
    """Runs each op in ``parent``, and keeps what is tagged. It has no tracers, so a function runs in it as it does without."""

    __slots__ = ("found", "parent")

    def __init__(self, parent: Trace, function: Any = None):
        super().__init__("capture", function, recording=parent.recording)
        self.parent = parent
        self.found: list[tuple[Key, Any]] = []

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:  # type: ignore[override]
        if is_capturing():
            if type(op) is Tag:
                (x,) = operands
                self.found.append((op.key, x.copy() if isinstance(x, np.ndarray) else x))  # the user may change his own
                return operands
            if op.holds_programs and op.regions():
                if any(has_tags(region.program) for region in op.regions()):
                    return self.collect(op, operands)
            elif op.holds_programs and op.written_out is not None:
                if any(type(x) is Tracer for x in operands):
                    return self.collect(op, operands)
                with running(self):
                    return op.written_out(*operands)
        with running(self.parent):
            return self.parent.process(op, operands)

    def collect(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        """The results of an op in whose programs something may be tagged."""
        inputs = [Var(type_of(x)) for x in operands]
        types = op.type_rule(*[v.type for v in inputs])
        outputs = [Var(t) for t in types] if op.multiple else [Var(types)]
        program, keys, captured = collected(Program(inputs, [Equation(op, inputs, outputs, here())], outputs), self.parent is not EVAL)
        with running(self.parent):
            results = evaluate(program, *captured, *operands)
        self.found += zip(keys, results[len(outputs) :], strict=True)
        return results[: len(outputs)]


def collected(program: Program, transformed: bool = True) -> tuple[Program, list[Key], list[Any]]:
    """The Program with what is tagged in it as further outputs, the keys of these, and the values of further inputs that come first.

    Args:
        program: the Program.
        transformed: whether the result may be transformed: a custom function then has its own rule.

    Raises:
        UnsupportedFunctionError: something is tagged inside of an op that cannot give it out.
    """
    collector = Collector(transformed)
    outputs = collector.write(program, list(program.inputs))
    result = Program([*collector.captured, *program.inputs], collector.equations, [*outputs, *collector.values], (), program.name)
    return result, collector.keys, list(collector.captured.values())


class Collector:
    """The equations of a Program, with calls inlined, and what is tagged."""

    def __init__(self, transformed: bool) -> None:
        self.transformed = transformed
        self.equations: list[Equation] = []
        self.keys: list[Key] = []
        self.values: list[Any] = []
        self.captured: dict[Var, Any] = {}

    def write(self, program: Program, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a Program on these inputs."""
        environment: dict[Any, Any] = dict(zip(program.inputs, inputs, strict=True))

        def value(v: Var | Literal) -> Any:
            return environment[v] if isinstance(v, Var) else v

        for e in program.equations:
            operands = [value(v) for v in e.inputs]
            if type(e.op) is Tag:
                self.add([e.op.key], operands)
                environment[e.outputs[0]] = operands[0]
            else:
                environment.update(zip(e.outputs, self.results(e, operands), strict=True))
        return [value(v) for v in program.outputs]

    def add(self, keys: Sequence[Key], values: Sequence[Any]) -> None:
        self.keys += keys
        self.values += values

    def results(self, e: Equation, operands: list[Any]) -> Sequence[Any]:
        """The results of an equation. What is tagged in its programs is added."""
        op = e.op
        if isinstance(op, Call) and has_tags(op.program):
            return self.write(op.program, operands)
        if op.holds_programs and op.written_out is not None and not op.regions():
            inner, constants = stage_flat(op.written_out, [v.type for v in operands], name=op.name)
            if has_tags(inner):
                has_rule = isinstance(op, CustomCall) and (op.rules.has_derivative or op.rules.vmap is not None)
                return (self.beside if has_rule else self.inlined)(e, inner, constants, operands)
        if not any(has_tags(region.program) for region in op.regions()):
            return self.record(op, operands, [v.type for v in e.outputs], e)
        if isinstance(op, Scan):
            return self.scan(e, op, operands)
        if isinstance(op, While):
            return self.while_loop(e, op, operands)
        if isinstance(op, Cond):
            return self.cond(e, op, operands)
        if isinstance(op, LinearSolve) and has_tags(op.forward.matvec):
            raise teach(
                UnsupportedFunctionError,
                f"capture: something is tagged in the matvec of {op}, which runs as often as the solver likes.",
                do="tag it in the solver, or outside of the solve. (The matvec of custom_root is the derivative of its function.)",
                origin=e.origin,
            )
        if op.written_out is not None:
            inner, constants = stage_flat(op.written_out, [v.type for v in operands], name=op.name)
            return (self.beside if isinstance(op, LinearSolve) else self.inlined)(e, inner, constants, operands)
        raise teach(
            UnsupportedFunctionError,
            f"capture: something is tagged in {op}, which cannot give it out.",
            do="tag it outside of that loop, or leave out checkpoint= while you look.",
            origin=e.origin,
        )

    def beside(self, e: Equation, inner: Program, constants: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
        """The results of an op that has rules of its own. If these may be asked for, what is tagged in it is computed beside it."""
        if not self.transformed:
            return self.inlined(e, inner, constants, operands)
        program, keys, held = collected(inner)
        tagged = extract(program, program.inputs, program.outputs[len(inner.outputs) :])
        self.add(keys, self.inlined(e, tagged, [*held, *constants], operands))
        return list(self.record(e.op, operands, [v.type for v in e.outputs], e))

    def inlined(self, e: Equation, inner: Program, constants: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
        """The results of an op as a Program of other ops."""
        own = [Var(v.type) for v in inner.inputs[: len(constants)]]
        self.captured.update(zip(own, constants, strict=True))
        return self.write(inner, [*own, *operands])

    def inner(self, programs: Sequence[Program]) -> tuple[list[Program], list[list[Key]], list[Var]]:
        """Programs that an op holds, with what is tagged as further outputs, the keys of these, and the values that custom functions in
        them hold: these are the first inputs of each program.
        """
        made = [collected(program, self.transformed) for program in programs]
        captured = [x for _, _, values in made for x in values]
        own = [Var(type_of(x)) for x in captured]
        self.captured.update(zip(own, captured, strict=True))
        found: list[Program] = []
        start = 0
        for program, _, values in made:
            count = len(values)
            inputs = [Var(v.type) for v in own]
            inputs[start : start + count] = program.inputs[:count]
            found.append(replace(program, inputs=[*inputs, *program.inputs[count:]]))
            start += count
        return found, [keys for _, keys, _ in made], own

    def record(self, op: Op, operands: Sequence[Any], types: Sequence[Any], e: Equation) -> list[Var]:
        outputs = [Var(t) for t in types]
        self.equations.append(Equation(op, list(operands), outputs, e.origin))
        return outputs

    def extended(self, e: Equation, op: Op, operands: Sequence[Any], keys: Sequence[Key], types: Sequence[ArrayType]) -> list[Var]:
        """The results of ``op`` in place of ``e``, whose further results, of these types, are tagged."""
        results = self.record(op, operands, [*[v.type for v in e.outputs], *types], e)
        count = len(e.outputs)
        self.add(keys, results[count:])
        return results[:count]

    def scan(self, e: Equation, op: Scan, operands: Sequence[Any]) -> list[Var]:
        """Stacked; in a loop of unknown length, which is the derivative of a while loop, the values of the last step are carried: of the
        first one that runs, if it goes backwards.
        """
        (body,), (keys,), own = self.inner([op.body])
        op, operands = with_held(op, [body], operands, own)
        types, n = further(body, keys), op.carry
        if op.length is not None:
            return self.extended(e, replace(op, body=body), operands, keys, [t.with_shape((op.length, *t.shape)) for t in types])
        first, count = op.constants + n, len(body.outputs) - len(keys)
        kept = [BOOLEAN, *types]
        """Whether a step has run, and what was tagged."""

        def step(*values: Any) -> list[Any]:
            has_run, *old = values[first : first + len(kept)]
            results = evaluate(body, *values[:first], *values[first + len(kept) :])
            new = [either(has_run, a, b) for a, b in zip(old, results[count:], strict=True)] if op.backwards else results[count:]
            return [*results[:n], np.bool_(True), *new, *results[n:count]]

        program, held = stage_flat(step, [*body.input_types[:first], *kept, *body.input_types[first:]], name=body.name)
        assert not held
        linear = op.linear_operands and (*op.linear_operands[: first + 1], *[False] * len(kept), *op.linear_operands[first + 1 :])
        loop = replace(op, body=program, carry=n + len(kept), linear_operands=linear)
        given = [*operands[: first + 1], Literal(np.bool_(False)), *map(self.absent, types), *operands[first + 1 :]]
        made = [v.type for v in e.outputs]
        results = self.record(loop, given, [*made[:n], *kept, *made[n:]], e)
        self.add(keys, results[n + 1 : n + len(kept)])
        return [*results[:n], *results[n + len(kept) :]]

    def while_loop(self, e: Equation, op: While, operands: Sequence[Any]) -> list[Var]:
        """The values of the last step are carried. Those of the condition are what it computes from the last carry."""
        (condition, body), (asked, keys), own = self.inner([op.condition, op.body])
        op, operands = with_held(op, [condition, body], operands, own)
        types = further(body, keys)
        body = replace(body, inputs=[*body.inputs, *map(Var, types)])
        going = replace(condition, inputs=[*condition.inputs, *map(Var, types)], outputs=condition.outputs[:1])
        start = [self.absent(t) for t in types]
        results = self.extended(e, replace(op, condition=going, body=body), [*operands, *start], keys, types)
        if asked:
            last = extract(condition, condition.inputs, condition.outputs[1:])
            self.add(asked, self.write(last, [*operands[: op.constants], *results]))
        return results

    def cond(self, e: Equation, op: Cond, operands: Sequence[Any]) -> list[Var]:
        """Each branch gives what is tagged in it, and nothing for what is tagged in others."""
        programs, found_keys, own = self.inner(op.branches)
        op, operands = with_held(op, programs, operands, own)
        made = list(zip(programs, found_keys, strict=True))
        keys = [key for _, found in made for key in found]
        types = [t for branch, found in made for t in further(branch, found)]
        branches: list[Program] = []
        for k, (branch, found) in enumerate(made):
            count = len(branch.outputs) - len(found)
            before = sum(len(other) for _, other in made[:k])
            others = Collector(self.transformed)
            extra: list[Any] = [others.absent(t) for t in types]
            extra[before : before + len(found)] = branch.outputs[count:]
            equations = [*branch.equations, *others.equations]
            branches.append(replace(branch, equations=equations, outputs=[*branch.outputs[:count], *extra]))
        return self.extended(e, replace(op, branches=tuple(branches)), operands, keys, types)

    def absent(self, t: ArrayType) -> Var:
        """A value of this type that was not computed."""
        number = Literal(t.dtype.type(np.nan if t.inexact else 0))
        v = Var(t)
        self.equations.append(Equation(BroadcastInDim(t.shape, ()), [number], [v], None))
        return v


def with_held(op: Any, programs: Sequence[Program], operands: Sequence[Any], held: Sequence[Var]) -> tuple[Any, list[Any]]:
    """``op`` with these programs, which take further constants, and its operands with them."""
    first = op.regions()[0].first
    return op.with_regions(programs, len(held)), [*operands[:first], *held, *operands[first:]]


def further(program: Program, keys: Sequence[Key]) -> list[ArrayType]:
    """The types of the last outputs, as many as there are keys."""
    return list(program.output_types[len(program.outputs) - len(keys) :])

"""`Tag`: the identity, which gives a value a name; and Programs that return what is tagged in them as well.

A tag of a value also names its tangent and its cotangent: the rules of `Tag` apply tags of these kinds. `collected` looks into calls,
loops and branches. What is tagged in the steps of a scan is stacked; of a while loop there is the step that ran last; a branch that is not
taken gives nan (0 for integers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import UnsupportedFunctionError, teach
from ..core.formula import Formula
from ..core.op import Op, op
from ..core.program import Equation, Literal, Program, Var, holds
from ..core.staging import stage_flat
from ..core.types import ArrayType
from ..ops.families import BroadcastInDim, Structural, default_rng
from .call import Call
from .cond import Cond
from .custom_rules import CustomCall
from .scan import Scan
from .while_loop import While

__all__ = ["Key", "Tag", "collected"]


class Key(NamedTuple):
    """What a tag names: the ``kind`` of a value, "value", "tangent" or "cotangent", of the ``label``."""

    label: str
    kind: str


@op
class Tag(Structural):
    """The identity, which names a value for `capture`."""

    observed = True
    tangent = "rule"
    label: str
    kind: str = "value"

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
        return self(x), Tag(self.label, "tangent")(dx) if self.kind == "value" else dx

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [y_bar if self.kind == "cotangent" else Tag(self.label, "cotangent")(y_bar)]

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


def collected(program: Program) -> tuple[Program, list[Key]]:
    """The Program with what is tagged in it as further outputs, and the keys of these; its constants come before its inputs.

    Raises:
        UnsupportedFunctionError: something is tagged inside of an op that cannot give it out.
    """
    collector = Collector()
    outputs = collector.write(program, list(program.inputs))
    result = Program([*collector.captured, *program.inputs], collector.equations, [*outputs, *collector.values], (), program.name)
    return replace(result, constants=(*collector.captured.values(), *program.constants)), collector.keys


class Collector:
    """The equations of a Program, with calls inlined, and what is tagged."""

    def __init__(self) -> None:
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
                self.add([Key(e.op.label, e.op.kind)], operands)
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
                return self.inlined(inner, constants, operands)
        if not any(has_tags(region.program) for region in op.regions()):
            return self.record(op, operands, [v.type for v in e.outputs], e)
        if isinstance(op, Scan):
            return self.scan(e, op, operands)
        if isinstance(op, While):
            return self.while_loop(e, op, operands)
        if isinstance(op, Cond):
            return self.cond(e, op, operands)
        if op.written_out is not None:
            inner, constants = stage_flat(op.written_out, [v.type for v in operands], name=op.name)
            return self.inlined(inner, constants, operands)
        raise teach(
            UnsupportedFunctionError,
            f"capture: something is tagged in {op}, which cannot give it out.",
            do="tag it outside of that loop, or leave out checkpoint= while you look.",
            origin=e.origin,
        )

    def inlined(self, inner: Program, constants: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
        own = [Var(v.type) for v in inner.inputs[: len(constants)]]
        self.captured.update(zip(own, constants, strict=True))
        return self.write(inner, [*own, *operands])

    def inner(self, program: Program) -> tuple[Program, list[Key]]:
        """A program that an op holds, with what is tagged as further outputs."""
        result, keys = collected(program)
        if result.constants:
            raise teach(
                UnsupportedFunctionError,
                "capture: something is tagged in a custom function that holds arrays and is called in a loop or branch.",
                do="hand these arrays to the function as arguments, or tag its result outside of it.",
                locate=False,
            )
        return result, keys

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
        """Stacked; in a loop of unknown length, which is the derivative of a while loop, the values of the last step are carried."""
        body, keys = self.inner(op.body)
        types, n = further(body, keys), op.carry
        if op.length is not None:
            return self.extended(e, replace(op, body=body), operands, keys, [t.with_shape((op.length, *t.shape)) for t in types])
        first, count = op.constants + n, len(body.outputs) - len(keys)
        inputs = [*body.inputs[:first], *map(Var, types), *body.inputs[first:]]
        body = replace(body, inputs=inputs, outputs=[*body.outputs[:n], *body.outputs[count:], *body.outputs[n:count]])
        linear = op.linear_operands and (*op.linear_operands[: first + 1], *[False] * len(types), *op.linear_operands[first + 1 :])
        loop = replace(op, body=body, carry=n + len(types), linear_operands=linear)
        given = [*operands[: first + 1], *map(self.absent, types), *operands[first + 1 :]]
        made = [v.type for v in e.outputs]
        results = self.record(loop, given, [*made[:n], *types, *made[n:]], e)
        self.add(keys, results[n : n + len(types)])
        return [*results[:n], *results[n + len(types) :]]

    def while_loop(self, e: Equation, op: While, operands: Sequence[Any]) -> list[Var]:
        """The values of the last step are carried."""
        body, keys = self.inner(op.body)
        types = further(body, keys)
        body = replace(body, inputs=[*body.inputs, *map(Var, types)])
        condition = replace(op.condition, inputs=[*op.condition.inputs, *map(Var, types)])
        start = [self.absent(t) for t in types]
        return self.extended(e, replace(op, condition=condition, body=body), [*operands, *start], keys, types)

    def cond(self, e: Equation, op: Cond, operands: Sequence[Any]) -> list[Var]:
        """Each branch gives what is tagged in it, and nothing for what is tagged in others."""
        made = [self.inner(branch) for branch in op.branches]
        keys = [key for _, found in made for key in found]
        types = [t for branch, found in made for t in further(branch, found)]
        branches: list[Program] = []
        for k, (branch, found) in enumerate(made):
            count = len(branch.outputs) - len(found)
            before = sum(len(other) for _, other in made[:k])
            inside = Collector()
            outputs = inside.write(replace(branch, outputs=branch.outputs), branch.inputs)
            extra = [inside.absent(t) for t in types]
            extra[before : before + len(found)] = outputs[count:]
            branches.append(replace(branch, equations=inside.equations, outputs=[*outputs[:count], *extra]))
        return self.extended(e, replace(op, branches=tuple(branches)), operands, keys, types)

    def absent(self, t: ArrayType) -> Var:
        """A value of this type that was not computed."""
        number = Literal(t.dtype.type(np.nan if t.inexact else 0))
        v = Var(t)
        self.equations.append(Equation(BroadcastInDim(t.shape, ()), [number], [v], None))
        return v


def further(program: Program, keys: Sequence[Key]) -> list[ArrayType]:
    """The types of the last outputs, as many as there are keys."""
    return list(program.output_types[len(program.outputs) - len(keys) :])

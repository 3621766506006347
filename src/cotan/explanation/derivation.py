"""The making of a story: the transformation, run step by step, each step a stage.

Each stage is a Program that the transformation itself makes: the function staged; its values and tangents (forward mode); the values and
residuals that reverse mode computes first; the linear Program on the tangents; the same run backwards; the derivative as one Program; and
what is left of that when it is simplified. Each line of a stage knows the equation of the function from which it was derived, by the chain
of origins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial, wraps
from itertools import compress
from types import CodeType
from typing import Any, NamedTuple, NoReturn

from ..api.differentiate import grad, private_copy
from ..api.jacobians import hessian, jacfwd, jacrev
from ..api.signature import Staged, abstract
from ..api.stage import stage_arguments
from ..api.vectorize import vmap
from ..core import tree
from ..core.errors import ArgumentError, teach
from ..core.formula import Symbol
from ..core.origin import Origin, describe_function, following, observing, source_line
from ..core.program import Equation, Program, Var, evaluate
from ..core.staging import stage_flat
from ..engines.native.passes.simplify import simplify
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_program
from ..transforms.transpose import transpose_program_rule
from .formulas import Definition, Observed, Rule, Statement, Writer, known_rule_of, residual_formulas
from .names import Follower
from .story import Line, SourceLine, Stage, chain, provenance
from .templates import Filled, formula_of, template_of

__all__ = ["NAMED", "Derivation"]

FORWARD = ("jvp", "jacfwd", "linearize")
REVERSE = ("grad", "vjp", "jacrev", "hessian")
NAMED = (*FORWARD, *REVERSE, "vmap")


class Chain(NamedTuple):
    """From where the equations of an origin come."""

    origin: Origin
    """The origin itself, so that no other gets its id."""
    op: Any
    """The op of the application from which they were derived."""
    row: str
    """The number of the equation of the function that this is."""
    provenance: str
    once: bool
    """Whether forward mode alone derived them: it computes values of the function again."""


class Derivation:
    """The derivation of one function."""

    def __init__(self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any], transform: Any, argnums: list[int]):
        self.f, self.args, self.kwargs, self.transform, self.argnums = f, args, kwargs, transform, argnums
        self.name = transform if isinstance(transform, str) else describe_function(transform)
        self.names = Observed()
        self.stages: list[Stage] = []
        self.staged: dict[Any, Staged] = {}
        """The function as a Program, by the structure and the types of its arguments; the first one is explained."""
        self.chains: dict[int, Chain] = {}
        """By the ids of origins."""
        self.provenances: dict[tuple[tuple[str, ...], str], str] = {}
        self.decisions: list[int] = []
        """The numbers of the Programs whose course depends on the values of the arguments, so that they are not used again."""

    def function(self) -> Callable[..., Any]:
        """The function, as the Program that it is for the arguments with which the transformation calls it."""

        @wraps(self.f)
        def evaluated(*args: Any, **kwargs: Any) -> Any:
            found = self.stage_function(args, kwargs)
            return tree.unflatten(found.out_spec, evaluate(found.program, *found.constants, *tree.leaves((args, kwargs))))

        return evaluated

    def stage_function(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Staged:
        leaves, spec = tree.flatten((args, kwargs))
        key = (spec, *[abstract(x, "an argument") for x in leaves])
        if key not in self.staged:
            code = getattr(inspect.unwrap(self.f), "__code__", None)
            follower = Follower(Derivation.stage_function.__code__, code if isinstance(code, CodeType) else None)
            with following(follower):
                found = stage_arguments(self.f, args, kwargs, "explain", lambda: self.decisions.append(len(self.staged)))
            follower.finish()
            program, count = found.program, len(found.constants)
            follower.name_constants(program.inputs, found.constants)
            found = found._replace(constants=[private_copy(x) for x in found.constants])
            for v, name in zip(program.inputs[count:], argument_names(self.f, args, kwargs), strict=True):
                follower.found[v] = self.names.give(v, name).name
            self.names.name_program(program, follower.found)
            self.staged[(key, len(self.staged)) if len(self.staged) in self.decisions else key] = found
            return found
        return self.staged[key]

    @property
    def primal(self) -> Program:
        return next(iter(self.staged.values())).program

    @property
    def captured(self) -> tuple[Any, ...]:
        """The arrays that the function holds, which are its leading inputs."""
        return tuple(next(iter(self.staged.values())).constants)

    @cached_property
    def numbered(self) -> list[tuple[Equation, str]]:
        """The equations of the function, and of the programs that these hold, with their numbers: "3", or "3.0" in the program of 3."""
        return list(numbered(self.primal))

    @cached_property
    def row(self) -> dict[int, str]:
        return {id(e): number for e, number in self.numbered}

    @cached_property
    def by_origin(self) -> dict[int, list[tuple[Equation, str]]]:
        """The numbered equations by the ids of their origins, which those of one rule share."""
        found: dict[int, list[tuple[Equation, str]]] = {}
        for e, number in self.numbered:
            if e.origin is not None and e.origin.code is not None:
                found.setdefault(id(e.origin), []).append((e, number))
        return found

    @cached_property
    def flags(self) -> list[bool]:
        """Which inputs of the Program are differentiated."""
        leaves = [k in self.argnums for k, arg in enumerate(self.args) for _ in tree.leaves(arg)]
        constants = len(self.primal.inputs) - len(tree.leaves((self.args, self.kwargs)))
        flags = [*[False] * constants, *leaves, *[False] * (len(self.primal.inputs) - constants - len(leaves))]
        return [a and t.inexact for a, t in zip(flags, self.primal.input_types, strict=True)]

    # ---- the stages --------------------------------------------------------------------------------------------------------
    def run(self) -> Callable[[], Sequence[Stage]]:
        """Run the transformation, which may refuse the function. The result makes the stages of what it did."""
        whole = self.whole()
        if whole is not None:
            return partial(self.made, whole)
        stages = self.made(None)
        return lambda: stages

    def made(self, whole: Program | None) -> list[Stage]:
        name = self.name
        about = "What it computes, one operation a line."
        if 0 in self.decisions:
            about += " Decisions of Python on values, as by if and while, are those at these arguments."
        self.add("primal", "The function", about, replace(self.primal, constants=self.captured))
        with observing(self.names):
            if name in FORWARD or name in REVERSE:
                self.forward()
            if name == "linearize" or name in REVERSE:
                self.reverse(backwards=name != "linearize")
        if whole is not None:
            self.add("whole", f"The result: {name}", "What the transformation makes of the function, as one program.", whole)
            self.add("simplified", "Simplified", "Without what is computed twice, is known, or is not needed.", self.simplified(whole))
        stages, self.stages, self.chains = self.stages, [], {}  # traces of the stages refer to this derivation
        return stages

    def whole(self) -> Program | None:
        """The transformed function as a Program; None for the transformations of which a stage is the result."""
        argnums = self.argnums[0] if len(self.argnums) == 1 else tuple(self.argnums)
        f = self.function()
        made: dict[str, Callable[[], Any]] = {
            "grad": lambda: grad(f, argnums),
            "hessian": lambda: hessian(f, argnums),
            "jacfwd": lambda: jacfwd(f, argnums),
            "jacrev": lambda: jacrev(f, argnums),
            "vmap": lambda: vmap(f),
        }
        with observing(self.names):
            if not isinstance(self.transform, str):
                transformed = self.transform(f)
                if not callable(transformed):
                    refuse_transform(f"explain: transform returns {transformed!r}, not a function.")
            elif self.transform in made:
                transformed = made[self.transform]()
            else:
                self.stage_function(self.args, self.kwargs)
                return None
            whole = stage_arguments(transformed, self.args, self.kwargs, "explain", lambda: None)
            program = replace(whole.program, constants=tuple(whole.constants))
            held = {id(x): v for found in self.staged.values() for v, x in zip(found.program.inputs, found.constants, strict=False)}
            for v, x in zip(program.inputs, program.constants, strict=False):
                if id(x) in held:
                    self.names.share(v, held[id(x)])
        if not self.staged:
            refuse_transform(f"explain: what transform made of {describe_function(self.f)} does not call it.")
        return program

    def forward(self) -> None:
        count = len(self.primal.inputs)

        def run(*values: Any) -> list[Any]:
            tangents = iter(values[count:])
            dxs = [next(tangents) if a else None for a in self.flags]
            outs, douts = jvp_flat(lambda *xs: evaluate(self.primal, *xs), values[:count], dxs)
            return [*outs, *[dy for dy in douts if dy is not None]]

        program, captured = stage_flat(run, [*self.primal.input_types, *compress(self.primal.input_types, self.flags)])
        self.add(
            "jvp",
            "Forward mode",
            "Each value, and beside it its tangent, by the rule of the operation.",
            replace(program, constants=(*captured, *self.captured)),
        )

    def reverse(self, *, backwards: bool) -> None:
        forward, linear, active, count = linearize_program(self.primal, tuple(self.flags))
        about = "Reverse mode runs the same rules, but takes them apart: these are the operations on values."
        residuals = (
            f" It keeps {count} value{'s' * (count != 1)} for the linear program." if count else " The linear program needs none of them."
        )
        forward = replace(forward, constants=(*forward.constants, *self.captured))
        written = self.add("values", "Values and residuals", about + residuals, forward)
        known = residual_formulas(written, linear, count)
        about = "The operations on tangents: linear, with the residuals as constants."
        self.add("linear", "The linear program", about, linear, known)
        if not backwards:
            return
        flags = [k >= count for k in range(len(linear.inputs))]

        def run(*values: Any) -> list[Any]:
            return [x for x in transpose_program_rule(linear, flags, values[:count], values[count:]) if x is not None]

        bars = list(compress(self.primal.output_types, active))
        transposed, captured = stage_flat(run, [*linear.input_types[:count], *bars])
        given = transposed.inputs[len(captured) :]
        again = dict(zip(given, known.values(), strict=False))
        outputs = [v for v, a in zip(self.primal.outputs, active, strict=True) if a]
        for v, y in zip(given[count:], outputs, strict=True):
            name = self.names.symbols[y].name if isinstance(y, Var) else "y"
            self.names.give(v, self.names.cotangent_of(name), "cotangent", own=False)
        about = "The linear program from its last line to its first, each line transposed: from cotangents of results to arguments."
        self.add("transpose", "Reverse mode", about, replace(transposed, constants=tuple(captured)), again)

    def simplified(self, program: Program) -> Program:
        result, captured = simplify(program)
        result = replace(result, constants=(*captured, *program.constants))
        for v, old in zip(result.inputs[len(result.inputs) - len(program.inputs) :], program.inputs, strict=True):
            self.names.share(v, old)
        before, after = self.by_identity(program.equations), self.by_identity(result.equations)
        for key, equations in after.items():
            if len(equations) == len(before.get(key, ())):
                for new, old in zip(equations, before[key], strict=True):
                    for v, w in zip(new.outputs, old.outputs, strict=True):
                        self.names.share(v, w)
        return result

    def by_identity(self, equations: Sequence[Equation]) -> dict[Any, list[Equation]]:
        """Equations by where they come from and what they compute."""
        found: dict[Any, list[Equation]] = {}
        one_of_equal = self.names.templates.one_of_equal
        for e in equations:
            op = type(e.op) if e.op.holds_programs else one_of_equal(e.op)  # what it holds is simplified, too
            key = (id(e.origin), id(op), e.outputs[0].type) if len(e.outputs) == 1 else (id(e.origin), id(op), *[v.type for v in e.outputs])
            known = found.get(key)
            if known is None:
                found[key] = [e]
            else:
                known.append(e)
        return found

    # ---- lines ---------------------------------------------------------------------------------------------------------------
    def add(self, key: str, title: str, about: str, program: Program, known: Mapping[Var, Filled] | None = None) -> Writer:
        writer, stage = self.stage(key, title, about, program, known)
        self.stages.append(replace(stage, same=self.same_values(key)) if key in ("jvp", "linear", "transpose") else stage)
        return writer

    def same_values(self, key: str) -> dict[str, Statement]:
        """The tangents, or cotangents, that are those of other values, by the numbers of the equations of these."""
        found: dict[str, Statement] = {}
        for e, row in self.numbered:
            other = self.names.tangents.get(e.outputs[0]) if e.outputs else None
            if other is not None:
                name = self.names.symbols[e.outputs[0]].name
                pair = Symbol(self.names.tangent(name), "tangent"), other
                if key == "transpose":
                    bars = self.names.cotangent_of(name), self.names.cotangent_of_tangent(other.name)
                    pair = Symbol(bars[0], "cotangent"), Symbol(bars[1], "cotangent")
                found[row] = Statement(pair[:1], template_of(pair[1]))
        return found

    def stage(self, key: str, title: str, about: str, program: Program, known: Mapping[Var, Filled] | None = None) -> tuple[Writer, Stage]:
        writer = self.names.written(program, known)
        lines = tuple([self.line(key, definition) for definition in writer.lines])
        given = tuple(v for v in program.inputs if v not in (known or {}))
        inputs = tuple(str(formula_of(writer.filled(v))) for v in given)
        return writer, Stage(key, title, about, program, given, inputs, lines, tuple(writer.results))

    def line(self, key: str, definition: Definition) -> Line:
        equation = definition.equations[-1]
        op, origin = equation.op, equation.origin
        row, origin_text = self.row.get(id(equation), ""), ""
        again = "" if row else self.again(equation)
        if again:
            row = again
        elif origin is not None and origin.rule:
            known = self.chains.get(id(origin)) or self.chained(equation, origin)
            _, root, derived_from, origin_text, once = known
            row = row or derived_from
            if once and (op is root or op == root) and definition.role == "value":
                origin_text = ""
        if not op.holds_programs:
            return Line(definition, row, origin_text)
        programs = [region.program for region in op.regions()]
        inner = tuple([self.stage(key, p.name, f"A program that {op.name} holds.", p)[1] for p in programs])
        return Line(definition, row, origin_text, inner)

    def again(self, source: Any) -> str:
        """The number of the equation of the function that another one evaluates once more; empty if there is none."""
        found = [it for it in self.by_origin.get(id(source.origin), ()) if type(it[0].op) is type(source.op)]
        if len(found) > 1:
            names = self.names_of(source)
            found = [it for it in found if self.names_of(it[0]) == names]
        return found[0][1] if found else ""

    def names_of(self, source: Any) -> list[str]:
        """The names of the results of an equation."""
        symbols = self.names.symbols
        return [symbols[v].name for v in getattr(source, "outputs", ()) if v in symbols]

    def chained(self, equation: Equation, origin: Origin) -> Chain:
        """From where an equation that was derived comes."""
        rules, root = chain(equation, self.row)
        text = self.provenances.get((rules, root.op.verb))
        if text is None:
            text = self.provenances[rules, root.op.verb] = provenance(rules, root.op.verb)
        found = self.chains[id(origin)] = Chain(origin, root.op, self.row.get(id(root)) or self.again(root), text, rules == ("jvp",))
        return found

    # ---- rules and source ----------------------------------------------------------------------------------------------------
    def rules(self) -> list[Rule]:
        """The rules of the ops of the function, each once."""
        found: dict[Any, Rule] = {}
        todo = [self.primal]
        while todo:
            program = todo.pop(0)
            for e in program.equations:
                held = [region.program for region in e.op.regions()]
                todo += held
                key = (type(e.op), *[v.type.inexact for v in e.inputs])
                if not held and not e.op.holds_programs and key not in found:
                    found[key] = known_rule_of(e.op, [v.type for v in e.inputs])
        return list(found.values())

    def source(self) -> list[SourceLine]:
        """The lines of the functions of the user that take part."""
        codes: dict[CodeType, None] = {}
        function = inspect.unwrap(self.f)
        if isinstance(getattr(function, "__code__", None), CodeType):
            codes[function.__code__] = None
        todo = [self.primal]
        while todo:
            program = todo.pop(0)
            for e in program.equations:
                todo += [region.program for region in e.op.regions()]
                origin = e.origin
                while origin is not None:
                    if isinstance(origin.code, CodeType):
                        codes[origin.code] = None
                    origin = origin.caller
        lines: dict[tuple[str, int], SourceLine] = {}
        for code in codes:
            for number in sorted({n for _, _, n in code.co_lines() if n}):
                text = source_line(code.co_filename, number).rstrip("\n")
                if text.strip():
                    lines.setdefault((code.co_filename, number), SourceLine(code.co_filename, number, text, code.co_name))
        return sorted(lines.values(), key=lambda line: ([*dict.fromkeys(x.file for x in lines.values())].index(line.file), line.number))


def numbered(program: Program, before: str = "", first: int = 0) -> Iterator[tuple[Equation, str]]:
    """The equations of a Program, from the number ``first`` on, and of those that its ops hold: of all programs of one op one after the
    other.
    """
    for k, e in enumerate(program.equations, first):
        yield e, f"{before}{k}"
        if e.op.holds_programs:
            count = 0
            for region in e.op.regions():
                yield from numbered(region.program, f"{before}{k}.", count)
                count += len(region.program.equations)


def refuse_transform(problem: str) -> NoReturn:
    """Raise: the transformation is none."""
    raise teach(ArgumentError, problem, do="give a function that takes a function and returns one that calls it.", locate=False)


def argument_names(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """A name for each leaf of the arguments: ``params['w']``."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    found: list[str] = []
    for k, arg in enumerate(args):
        root = named[k] if k < len(named) else f"{rest}[{k - len(named)}]"
        found += tree.leaf_names(tree.structure(arg), root)
    for name in sorted(kwargs):
        found += tree.leaf_names(tree.structure(kwargs[name]), name)
    return found

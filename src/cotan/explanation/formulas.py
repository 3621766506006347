"""Formulas of Programs and of rules, written by the ops themselves.

`Writer` turns equations into definitions: what is used once goes into the formula that uses it, what has a name gets a line of its own.
`rule_of` runs the rules of an op on symbols, and writes down what they record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..core.errors import MissingRuleError
from ..core.formula import APPLIED, Formula, Piece, Symbol
from ..core.op import Op
from ..core.printing import Printed
from ..core.program import Equation, Literal, Program, Var
from ..core.staging import stage_flat
from ..core.tracing import current_trace
from ..core.types import ArrayType
from ..ops.failing import of_regular_matrices
from ..transforms.linearize import linearize_program
from ..transforms.transpose import transpose_program_rule
from .names import Names, variables
from .templates import Filled, Template, Templates, formula_of, template_of

__all__ = ["Definition", "Observed", "Rule", "Statement", "Writer", "known_rule_of", "residual_formulas", "rule_of"]

LONGEST = 24
"""A formula of more symbols and signs is taken apart."""
NO_SYMBOLS: tuple[Symbol, ...] = ()
NO_EQUATIONS: tuple[Equation, ...] = ()
Known: TypeAlias = tuple[Template, tuple[Symbol, ...], tuple[Equation, ...]]
"""The formula of a variable, and the equations from which it is written, if it has no line of its own."""


@dataclass(slots=True)
class Statement:
    """``symbols = formula``."""

    symbols: tuple[Symbol, ...]
    filled: Filled

    @property
    def formula(self) -> Formula:
        return formula_of(self.filled)

    @property
    def left(self) -> str:
        return ", ".join(s.name for s in self.symbols)

    @property
    def role(self) -> str:
        """What it is in the derivation."""
        return self.symbols[0].role if self.symbols else "effect"

    def __str__(self) -> str:
        text = "".join([text for text, _ in self.pieces()])
        return f"{self.left} = {text}" if self.symbols else text

    def pieces(self) -> list[Piece]:
        """The pieces of the formula."""
        return self.filled[0].pieces(self.filled[1])


@dataclass(slots=True)
class Definition(Statement):
    """A statement, and the equations from which it is written, the last of which gives the symbols."""

    equations: tuple[Equation, ...]

    @property
    def equation(self) -> Equation:
        return self.equations[-1]


class Writer:
    """Writes the equations of a Program as definitions. ``known`` has formulas for variables that are given."""

    def __init__(self, program: Program, names: Observed, known: Mapping[Var, Filled] | None = None):
        self.program, self.names, self.templates = program, names, names.templates
        self.known: dict[Var, Known] = {v: (*it, NO_EQUATIONS) for v, it in (known or {}).items()}
        self.uses = Counter([v for e in program.equations for v in e.inputs])
        self.uses.update(program.outputs)
        self.lines: list[Definition] = []
        self.symbols = self.unlike()
        for v in program.inputs:
            if v not in self.known:
                self.known[v] = self.templates.symbol(v.type), (self.symbol(v),), NO_EQUATIONS
        for e in program.equations:
            self.write(e)

    def unlike(self) -> dict[Var, Symbol]:
        """The known symbols of the variables of the Program, each name once: of an input, else of the last variable that has it."""
        inputs = [v for v in self.program.inputs if v not in self.known]
        symbols = self.names.symbols
        self.used: set[str] = set()
        found: dict[Var, Symbol] = {}
        for v in [*inputs, *[v for e in reversed(self.program.equations) for v in e.outputs]]:
            symbol = symbols.get(v)
            if symbol is not None and symbol.name not in self.used:
                self.used.add(symbol.name)
                found[v] = symbol
        return found

    def symbol(self, v: Var) -> Symbol:
        """The symbol of a variable, a new one if it has none."""
        symbol = self.symbols.get(v)
        if symbol is None:
            name = self.names.further()
            while name in self.used:
                name = self.names.further()
            symbol = self.symbols[v] = Symbol(name, type=v.type)
            if v not in self.names.symbols:
                self.names.symbols[v] = symbol
        return symbol

    def filled(self, v: Var | Literal) -> Filled:
        return self.known[v][:2] if isinstance(v, Var) else (self.templates.number(v), ())

    @property
    def results(self) -> list[Filled]:
        return [self.filled(v) for v in self.program.outputs]

    def results_as(self, symbols: Sequence[Symbol]) -> tuple[list[Statement], list[Statement]]:
        """The results as statements about ``symbols``, and the other definitions, which these use."""
        own, names = {line.left: line for line in self.lines}, {s.name for s in symbols}
        found = [own.get(s.name) or Statement((s,), it) for s, it in zip(symbols, self.results, strict=True)]
        return found, [line for line in self.lines if line.left not in names]

    def write(self, e: Equation) -> None:
        known, templates = self.known, self.templates
        parts: list[Template] = []
        symbols, before = NO_SYMBOLS, NO_EQUATIONS
        for x in e.inputs:
            if type(x) is Var:
                part, filling, within = known[x]
                parts.append(part)
                symbols += filling
                if within:
                    before += within
            else:
                parts.append(templates.number(x))
        if len(e.outputs) == 1:
            v = e.outputs[0]
            template = templates.applied(e.op, parts, v.type)
            named = self.symbols.get(v)
            if named is None:
                if not e.op.holds_programs and self.fits(v, template):
                    known[v] = template, symbols, (*before, e)
                    return
                named = self.symbol(v)
            elif template.is_hole and named == symbols[0]:
                known[v] = templates.symbol(v.type), (named,), NO_EQUATIONS
                return
            made: tuple[Symbol, ...] = (named,)
            known[v] = templates.symbol(v.type), made, NO_EQUATIONS
        else:
            template = templates.applied(e.op, parts, None)
            made = tuple([self.symbol(v) for v in e.outputs])
            known.update((v, (templates.symbol(v.type), (s,), NO_EQUATIONS)) for v, s in zip(e.outputs, made, strict=True))
        self.lines.append(Definition(made, (template, symbols), (*before, e) if before else (e,)))

    def fits(self, v: Var, template: Template) -> bool:
        """Whether the formula of ``v`` goes into the one that uses it."""
        return template.shortest or (template.size <= LONGEST and (template.size <= 2 or self.uses[v] <= 1))


class Observed(Names):
    """Names that follow residuals, too: in the programs of loops they are called by their formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.templates = Templates()
        self.last: Writer | None = None
        """The Writer of the last Program whose residuals were seen."""

    def written(self, program: Program, known: Mapping[Var, Filled] | None = None) -> Writer:
        """The Writer of a Program."""
        last, self.last = self.last, None
        same = last is not None and last.program.equations is program.equations and last.program.outputs is program.outputs
        return last if last is not None and same else Writer(program, self, known)

    def residuals(self, forward: Program, linear: Program, count: int) -> None:
        self.last = Writer(forward, self)
        results = self.last.results
        for v, it in zip(linear.inputs, results[len(results) - count :], strict=False):
            if v not in self.symbols and it[0].size <= LONGEST:
                formula = formula_of(it)
                self.symbols[v] = Symbol(str(formula) if formula.level >= APPLIED else f"({formula})", "residual", type=v.type)


def residual_formulas(forward: Writer, linear: Program, count: int) -> dict[Var, Filled]:
    """The formulas of the residuals, which are the last outputs of the forward Program and the first inputs of the linear one."""
    given = forward.results[len(forward.results) - count :] if count else []
    residual = forward.templates.residual
    return {v: (residual(template, v.type), symbols) for v, (template, symbols) in zip(linear.inputs, given, strict=False)}


@dataclass(frozen=True, repr=False)
class Rule(Printed):
    """What the rules of an op are, written by running them on symbols."""

    op: Op
    value: Statement
    forward: tuple[Statement, ...] = ()
    """The tangents of its results, ``dy = cos(x) dx``; none if it is piecewise constant."""
    backward: tuple[Statement, ...] = ()
    """The cotangents of its operands, ``x_bar = cos(x) y_bar``."""
    where: tuple[Statement, ...] = ()
    """Values that these use."""
    residuals: tuple[Formula, ...] = ()
    """The values that reverse mode keeps from the forward pass."""
    linear: str = ""
    """The operands in which it is linear."""
    written_with: tuple[str, ...] = ()
    """The linear ops in which its tangent is written: their transposes make its backward pass."""
    own: bool = False
    """Whether it is linear in all its operands, together or each alone."""
    missing: bool = False
    """Whether it lacks a rule, in every operand."""

    def __str__(self) -> str:
        return "\n".join([str(self.value), *[f"    {line}" for line in (*self.forward, *self.backward, self.why)]])

    @property
    def keeps(self) -> str:
        """The sentence that says what reverse mode keeps from the forward pass; empty if it is nothing."""
        return f"It keeps {', '.join(map(str, self.residuals))}." if self.residuals else ""

    @property
    def why(self) -> str:
        """The sentence that says from where its backward pass comes."""
        name, others = self.op.verb, [verb for verb in self.written_with if verb != self.op.verb]
        if self.missing:
            return f"{name} has no derivative rule."
        if not self.forward:
            return f"{name} is piecewise constant: it has no tangent, and nothing to transpose."
        if self.own:
            return f"{name} is linear in {self.linear}, so it has a transpose rule of its own."
        if not self.written_with:
            return f"{name} hands its tangent on: there is nothing to transpose."
        joined = f"{', '.join(others[:-1])} and {others[-1]}" if len(others) > 1 else "".join(others) or name
        sentence = f"its JVP is written with {joined}, which {'have' if len(others) > 1 else 'has'} one"
        if self.linear:
            return f"{name} has a transpose rule where it is linear, in {self.linear}; for the other operands, {sentence}."
        return f"{name} needs no transpose rule: {sentence}."


def rule_of(op: Op, types: Sequence[ArrayType], active: Sequence[bool] | None = None) -> Rule:
    """The rules of ``op`` at operands of these types. ``active`` says by which operands it is differentiated; by default by all that
    can be.
    """
    with of_regular_matrices():
        return written_rule(op, types, tuple(t.inexact for t in types) if active is None else tuple(active))


def written_rule(op: Op, types: Sequence[ArrayType], flags: tuple[bool, ...]) -> Rule:
    """`rule_of`, in the context that says of which matrices."""
    program, constants = stage_flat(lambda *xs: current_trace().process(op, xs), types)
    assert not constants
    operands, results = symbols_for(len(types), len(program.outputs))
    names = Observed()
    names.name_inputs(program, operands)
    for v, name in zip(variables(program.outputs), results, strict=True):
        names.give(v, name)
    value = Statement(tuple(map(Symbol, results)), template_of(op.formula(*[names.symbols[v] for v in program.inputs])))
    linear_in = described_sets(op, operands)
    if not any(flags):
        return Rule(op, value, linear=linear_in)
    forward, linear, outputs, count = linearize_program(program, flags)
    for v, name in zip(forward.inputs[len(forward.constants) :], operands, strict=True):
        names.give(v, name, own=False)
    for v, name in zip(forward.outputs, results, strict=False):
        if isinstance(v, Var):
            names.give(v, name, own=False)
    tangents = [f"d{name}" for name, flag in zip(operands, flags, strict=True) if flag]
    dys = [f"d{name}" for name, flag in zip(results, outputs, strict=True) if flag]
    if not dys:
        return Rule(op, value, linear=linear_in)
    written = Writer(forward, names)
    residuals = residual_formulas(written, linear, count)
    for v, name in zip([*linear.inputs[count:], *linear.outputs], [*tangents, *dys], strict=True):
        if isinstance(v, Var):
            names.give(v, name, "tangent")
    tangent = Writer(linear, names, residuals)
    bars = [t for t, flag in zip(program.output_types, outputs, strict=True) if flag]

    def transposed(*values: object) -> list[object]:
        x_bars = transpose_program_rule(linear, [k >= count for k in range(len(linear.inputs))], values[:count], values[count:])
        found.extend(k for k, x in enumerate(x_bars) if x is not None)
        return [x for x in x_bars if x is not None]

    found: list[int] = []
    backward, captured = stage_flat(transposed, [*linear.input_types[:count], *bars])
    given = backward.inputs[len(captured) :]
    known = dict(zip(given, residuals.values(), strict=False))
    x_bars = [f"{tangents[k][1:]}_bar" for k in found]
    for v, name in zip([*given[count:], *backward.outputs], [*[f"{name[1:]}_bar" for name in dys], *x_bars], strict=True):
        if isinstance(v, Var):
            names.give(v, name, "cotangent")
    pulled = Writer(backward, names, known)
    forwards, among = tangent.results_as([Symbol(name, "tangent") for name in dys])
    backwards, others = pulled.results_as([Symbol(name, "cotangent") for name in x_bars])
    reached, known_names = op.linear_sets(len(types)), {*results, ", ".join(results)}
    return Rule(
        op,
        value,
        forward=tuple(forwards),
        backward=tuple(backwards),
        where=tuple(line for line in [*written.lines, *among, *others] if line.left not in known_names),
        residuals=tuple({str(r): r for r in map(formula_of, residuals.values())}.values()),
        linear=linear_in,
        written_with=tuple(dict.fromkeys(e.op.verb for e in linear.equations)),
        own=all(any(members >> k & 1 for members in reached) for k, flag in enumerate(flags) if flag),
    )


def known_rule_of(op: Op, types: Sequence[ArrayType]) -> Rule:
    """The rules of ``op`` in those operands in which it has any."""
    try:
        return rule_of(op, types)
    except MissingRuleError:
        flags = [t.inexact and has_rule(op, types, k) for k, t in enumerate(types)]
    rule = rule_of(op, types, flags)
    return rule if any(flags) else replace(rule, missing=True)


def has_rule(op: Op, types: Sequence[ArrayType], k: int) -> bool:
    """Whether ``op`` can be differentiated in operand ``k``."""
    try:
        rule_of(op, types, [j == k for j in range(len(types))])
    except MissingRuleError:
        return False
    return True


def symbols_for(operands: int, results: int) -> tuple[list[str], list[str]]:
    """Names for the operands and the results of an op."""
    letters = ["x", "y", "z", "w"]
    first = letters[:operands] if operands < len(letters) else [f"x{k}" for k in range(operands)]
    if results == 1:
        return first, [letters[operands] if operands < len(letters) else "y"]
    return first, [f"y{k}" for k in range(results)]


def described_sets(op: Op, operands: Iterable[str]) -> str:
    """The operand sets in which an op is linear: ``x and y together``, ``x alone, y alone``."""
    names = list(operands)
    sets = [[name for k, name in enumerate(names) if members >> k & 1] for members in op.linear_sets(len(names))]
    if len(sets) == 1:
        return f"{' and '.join(sets[0])} together" if len(sets[0]) > 1 else sets[0][0]
    return ", ".join(f"{' and '.join(members)} alone" for members in sets)

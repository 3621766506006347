"""Rules as formulas: what is printed is what the rules compute, for every op of the registry."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import scipy.special

import cotan
from cotan.core.errors import MissingRuleError
from cotan.core.formula import Formula, Infix, Juxtaposed, Number, Power, Residual, Symbol, called
from cotan.core.op import REGISTRY
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.explanation.formulas import rule_of
from cotan.ops import arithmetic, contraction, ordering, transcendental

EXAMPLES = [
    pytest.param(op, operands, id=f"{name}-{k}")
    for name, cls in REGISTRY.items()
    for k, (op, operands) in enumerate(cls.examples())
    if all(np.size(x) for x in operands)
]


def rule_at(op, operands):
    types = [type_of(x) for x in operands]
    try:
        return rule_of(op, types)
    except MissingRuleError:
        pytest.skip("a rule is missing, and said to be")


# ---- every op has a formula of its rules -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("op", "operands"), EXAMPLES)
def test_every_rule_can_be_written(op, operands):
    rule = rule_at(op, operands)
    assert str(rule.value).count("=") >= 1
    assert rule.why.startswith(op.verb)
    if rule.forward:
        assert rule.backward
        symbols = {s.name for s in (*map(symbol_of, rule.forward), *map(symbol_of, rule.backward))}
        assert all(name.startswith("d") or name.endswith("_bar") for name in symbols)


def symbol_of(statement):
    return statement.symbols[0]


# ---- formulas that NumPy can compute are right -----------------------------------------------------------------------------
def tril(x, k=0):
    return np.tril(x, k)


NAMESPACE = {
    **{name: getattr(np, name) for name in np.__all__ if not name.startswith("_")},
    **{name: getattr(scipy.special, name) for name in ("digamma", "polygamma", "erf", "betaln", "beta", "xlogy", "logit", "expit")},
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "solve": np.linalg.solve,
    "zeros": None,
    "tril": tril,
    "max": np.max,
    "min": np.min,
    "sum": np.sum,
    "reshape": np.reshape,
    "abs": np.abs,
}


def python(formula):
    """The formula with signs of products written out, so that Python reads it."""
    if isinstance(formula, Residual):
        return python(formula.formula)
    changed = {
        f.name: tuple(map(python, value)) if isinstance(value, tuple) and value and isinstance(value[0], Formula) else python(value)
        for f in fields(formula)
        if isinstance(value := getattr(formula, f.name), Formula) or (isinstance(value, tuple) and value and isinstance(value[0], Formula))
    }
    formula = replace(formula, **changed) if changed and is_dataclass(formula) else formula
    if isinstance(formula, Juxtaposed):
        return Infix("*", formula.left, formula.right)
    return replace(formula, value=Exactly(formula.value)) if isinstance(formula, Number) else formula


class Exactly(float):
    """A number that prints with all its digits."""

    def __str__(self):
        return repr(float(self))

    def item(self):
        return self

    def __format__(self, spec):
        return repr(float(self))


def evaluate(statements, values):
    for s in statements:
        (symbol,) = s.symbols
        values[symbol.name] = eval(str(python(s.formula)).replace("…", ""), dict(NAMESPACE), values)


EVALUATED = [
    p
    for p in EXAMPLES
    if p.values[0].family in ("elementwise", "contraction", "reduction", "movement")
    and all(np.asarray(x).dtype.kind == "f" for x in p.values[1])
]
FEWEST = 70
"""Of the ops, so many can be computed from their text at least; the others use functions that NumPy and SciPy do not have."""


def computed(op, operands):
    """The tangents by the printed rule, and by the rule; None if NumPy cannot compute the text."""
    try:
        rule = rule_of(op, [type_of(x) for x in operands])
    except MissingRuleError:
        return None
    if not rule.forward or len(rule.value.symbols) > 1:
        return None
    names = ["x", "y", "z", "w"][: len(operands)]
    rng = np.random.default_rng(0)
    values = dict(zip(names, map(np.asarray, operands), strict=True))
    tangents = {f"d{name}": rng.normal(size=x.shape) for name, x in values.items()}
    output = rule.value.symbols[0].name
    primals = list(values.values())
    y, dy = cotan.jvp(lambda *xs: op(*xs), tuple(primals), tuple(tangents.values()))
    values |= {**tangents, output: np.asarray(y), f"{output}_bar": rng.normal(size=np.shape(y)).astype(np.asarray(y).dtype)}
    y_bar = values[f"{output}_bar"]
    _, pull = cotan.vjp(lambda *xs: op(*xs), *primals)
    try:
        evaluate([s for s in rule.where if s.symbols[0].role == "value"], values)
        evaluate([*rule.forward, *rule.backward], values)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None
    wanted = {f"d{output}": dy} | {f"{n}_bar": b for n, b in zip(names, pull(y_bar), strict=True) if f"{n}_bar" in values}
    return {name: (values[name], value) for name, value in wanted.items()}


def test_the_printed_formulas_compute_what_the_rules_compute():
    done = set()
    for p in EVALUATED:
        op, operands = p.values
        with np.errstate(all="ignore"):
            found = computed(op, operands)
        for name, (printed, wanted) in (found or {}).items():
            assert np.size(printed) == 1 or np.shape(printed) == np.shape(wanted), (p.id, name)
            np.testing.assert_allclose(
                printed, wanted, rtol=1e-9 if np.asarray(wanted).dtype == np.float64 else 1e-4, atol=1e-12, err_msg=f"{p.id}: {name}"
            )
        if found is not None:
            done.add(op.name)
    assert len(done) >= FEWEST, sorted({p.values[0].name for p in EVALUATED} - done)


# ---- texts -------------------------------------------------------------------------------------------------------------------
def texts(op, *shapes):
    rule = rule_of(op, [array_type(s, np.dtype(float)) for s in shapes])
    return [*map(str, rule.forward), *map(str, rule.backward)]


@pytest.mark.parametrize(
    ("op", "shapes", "expected"),
    [
        (transcendental.Sin(), [()], ["dy = cos(x) dx", "x_bar = cos(x) y_bar"]),
        (transcendental.Exp(), [()], ["dy = y dx", "x_bar = y y_bar"]),
        (arithmetic.Mul(), [(), ()], ["dz = y dx + x dy", "x_bar = y z_bar", "y_bar = x z_bar"]),
        (arithmetic.Div(), [(), ()], ["dz = (1 / y) dx - (z / y) dy", "x_bar = (1 / y) z_bar", "y_bar = -((z / y) z_bar)"]),
        (
            contraction.DotGeneral(((1,), (0,))),
            [(2, 3), (3, 4)],
            ["dz = dx @ y + x @ dy", "x_bar = z_bar @ y.T", "y_bar = x.T @ z_bar"],
        ),
        (ordering.Abs(), [()], ["dy = sign(x) dx", "x_bar = sign(x) y_bar"]),
    ],
)
def test_texts(op, shapes, expected):
    assert texts(op, *shapes) == expected


def test_the_sentence_of_an_op_without_a_transpose_rule():
    assert rule_of(transcendental.Sin(), [array_type((), np.dtype(float))]).why == (
        "sin needs no transpose rule: its JVP is written with scale, which has one."
    )
    svd = REGISTRY["svd"]()
    sentence = rule_of(svd, [array_type((3, 3), np.dtype(float))]).why
    assert sentence.startswith("svd needs no transpose rule: its JVP is written with")
    assert "matmul" in sentence


x, y, z = map(Symbol, "xyz")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (-(x + y) * z, "-(x + y) * z"),
        (x - (y - z), "x - (y - z)"),
        ((x - y) - z, "x - y - z"),
        (x / (y * z), "x / (y * z)"),
        ((-x) ** 2, "(-x)**2"),
        (-(x**2), "-x**2"),
        ((x + y).times(z), "(x + y) z"),
        (Juxtaposed(x, -y), "x (-y)"),
        (Juxtaposed(x, Juxtaposed(Number(2), y)), "x (2 y)"),
        (x + (-y), "x - y"),
        (-(x // y), "-(x // y)"),
        (x @ (y @ z), "x @ (y @ z)"),
        (x.T.T, "x"),
        (x[y], "x[y]"),
        (x * (y @ z), "x * (y @ z)"),
        (x * (y % z), "x * (y % z)"),
        (x * (y * z), "x * y * z"),
        (x.times(-y), "x (-y)"),
        (x.times(y) @ z, "(x y) @ z"),
        (x + x.times(y), "x + x y"),
        (called("sum", x, axis=0), "sum(x, axis=0)"),
        (Power(x, Number(-1)), "x**-1"),
    ],
)
def test_brackets(formula, text):
    assert str(formula) == text

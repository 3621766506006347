"""Which rules an op has: given in its class, derived by its family, absent; and whether an absent one is needed.

This is the answer to "why does grad(svd) work though svd has no transpose rule?", computed from the op classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import ArgumentError, teach
from ..core.op import REGISTRY, Op
from ..core.printing import Printed

__all__ = ["Audit", "Rule", "audit", "rule_matrix"]


@dataclass(frozen=True)
class Rule:
    """One rule of an op: ``status`` is given, derived, not needed or missing; ``note`` says from what, or why."""

    name: str
    status: str
    note: str = ""


@dataclass(frozen=True, repr=False)
class Audit(Printed):
    """The rules of one op. Prints as a table."""

    op: str
    summary: str
    linear_in: str
    rules: tuple[Rule, ...]

    def __getitem__(self, name: str) -> Rule:
        return next(rule for rule in self.rules if rule.name == name)

    def __str__(self) -> str:
        rows = [f"  {rule.name:<10} {rule.status:<11} {rule.note}".rstrip() for rule in self.rules]
        return "\n".join([f"{self.op}: {self.summary}", f"  linear in: {self.linear_in}", *rows])


def audit(op: Any) -> Audit:
    """Which rules ``op`` has, and which it needs.

    Args:
        op: an op, an op class, its name, or a function of cotan.numpy or cotan.lax that is one op (``cotan.numpy.sin``, ``np.sin``).

    Raises:
        ArgumentError: no op is known by that name.
    """
    cls = find_op(op)
    linear = linear_in(cls)
    rules = [type_rule(cls), meaning(cls), lowering(cls), forward(cls, linear), backward(cls, linear), batching(cls)]
    return Audit(cls.name, (cls.__doc__ or "").strip().partition("\n")[0], linear or "no operand: it is nonlinear", tuple(rules))


def rule_matrix() -> Iterator[Audit]:
    """The audit of every op, in order of definition."""
    return (audit(cls) for cls in REGISTRY.values())


def find_op(op: Any) -> type[Op]:
    """The op class that ``op`` means."""
    if isinstance(op, Op):
        return type(op)
    if isinstance(op, type) and issubclass(op, Op):
        return op
    primitive = getattr(op, "op", None)
    if isinstance(primitive, Op):
        return type(primitive)
    name = op if isinstance(op, str) else getattr(op, "__name__", repr(op)).replace("<lambda>", "lambda")
    if name in REGISTRY:
        return REGISTRY[name]
    for cls in REGISTRY.values():
        if name in (cls.verb, cls.__name__, getattr(getattr(cls, "numpy", None), "__name__", None)):
            return cls
    raise teach(
        ArgumentError,
        f"no op is known as {name!r}.",
        do="`cotan rules` lists all ops; a function made of several ops has no rules of its own: stage it.",
    )


def owner(cls: type[Op], name: str) -> type:
    """The class in which ``cls`` finds the attribute ``name``."""
    return next(c for c in cls.__mro__ if name in c.__dict__)


def stated(cls: type[Op], *names: str) -> Rule | None:
    """The first of these rules that the class or its family states."""
    for name in names:
        where = owner(cls, name) if any(name in c.__dict__ for c in cls.__mro__) else Op
        if where is cls and getattr(cls, name, None) is not None:
            return Rule(name, "given")
        if where is not Op and getattr(cls, name, None) is not None:
            return Rule(name, "derived", f"by the family {where.__name__}")
    return None


def linear_in(cls: type[Op]) -> str:
    """The operand sets in which the op is linear, in words; empty if there is none."""
    if cls.linear == "all":
        return "all operands together"
    if cls.linear:
        return ", ".join(f"operand {s[0]}" if len(s) == 1 else f"operands {' and '.join(map(str, s))} together" for s in cls.linear)
    if owner(cls, "linear_sets") is not Op:
        return LINEAR_BY_PARAMETER.get(cls.name, "its linear operands, as its parameters say")
    return ""


LINEAR_BY_PARAMETER = {"select_n": "the cases together", "gather": "operand 0"}


def type_rule(cls: type[Op]) -> Rule:
    found = stated(cls, "type_rule")
    return Rule("type", found.status, found.note) if found else Rule("type", "missing")


def meaning(cls: type[Op]) -> Rule:
    if owner(cls, "impl") is cls or "numpy" in cls.__dict__:
        return Rule("impl", "given")
    found = stated(cls, "impl")
    return Rule("impl", found.status, found.note) if found else Rule("impl", "missing")


def lowering(cls: type[Op]) -> Rule:
    if getattr(cls, "library", None):
        return Rule("lowering", "given", f"the routine {cls.library}")  # type: ignore[attr-defined]
    if cls.has_element():
        found = stated(cls, "element")
        assert found
        return Rule("lowering", "given" if found.status == "given" or getattr(cls, "machine", "") else "derived", "its defining equation")
    return (
        Rule("lowering", "derived", "from the programs it holds")
        if cls.holds_programs
        else Rule("lowering", "not needed", "it runs in Python")
    )


def forward(cls: type[Op], linear: str) -> Rule:
    if cls.family == "creation":
        return Rule("jvp", "not needed", "it has no operands")
    given = stated(cls, "linearize", "jvp")
    if given is None:
        return Rule("jvp", "missing", "it cannot be differentiated")
    if (
        given.status == "derived"
        and any("derivative" in c.__dict__ for c in cls.__mro__[:-2])
        and owner(cls, "derivative").__name__ not in ("Elementwise", "Unary")
    ):
        return Rule("jvp", "derived", "from its local derivative")
    if given.status == "derived" and linear:
        return Rule("jvp", "derived", f"it is linear in {linear}")
    if cls.family == "flat":
        return Rule("jvp", "derived", "its tangent is zero")
    return Rule("jvp", given.status, given.note)


def backward(cls: type[Op], linear: str) -> Rule:
    given = stated(cls, "transpose")
    if linear:
        return (
            Rule("transpose", given.status, given.note)
            if given
            else Rule("transpose", "missing", "it is linear and may appear in a linear program")
        )
    if cls.family in ("flat", "creation"):
        return Rule("transpose", "not needed", f"{cls.name} has no tangent: no transpose rule")
    if cls.holds_programs and given is None:
        return Rule("transpose", "not needed", "its derivative is another op")
    return Rule(
        "transpose", "not needed", f"{cls.name}: nonlinear, needs no transpose rule: its derivative is written with ops that have one"
    )


def batching(cls: type[Op]) -> Rule:
    if cls.family == "creation":
        return Rule("batch", "not needed", "it has no operands")
    found = stated(cls, "batch")
    return Rule("batch", found.status, found.note) if found else Rule("batch", "missing")


def describe(rules: Callable[[], Iterator[Audit]] = rule_matrix) -> str:
    """The rule matrix as text: a row for each op."""
    head = f"{'op':<24}{'linear in':<28}{'lowering':<12}{'jvp':<12}{'transpose':<12}{'batch':<12}"
    rows = [
        f"{a.op:<24}{a.linear_in.replace('no operand: it is nonlinear', '-')[:26]:<28}"
        + "".join(f"{a[rule].status:<12}" for rule in ("lowering", "jvp", "transpose", "batch"))
        for a in rules()
    ]
    return "\n".join([head, "-" * len(head), *(row.rstrip() for row in rows)])

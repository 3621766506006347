"""Every op of the registry has a docstring, examples, a defining equation or the name of a routine, and a transpose if it declares itself
linear.
"""

from __future__ import annotations

import pytest

import cotan  # noqa: F401 - defines every op
from cotan.core.op import REGISTRY, Op

from .cases import FIRST_ORDER_OPS, examples

EVERY_OP = [pytest.param(cls, id=name) for name, cls in REGISTRY.items() if cls.__module__.startswith("cotan.")]
FIRST_ORDER = [pytest.param(cls, id=cls.name) for cls in FIRST_ORDER_OPS]


@pytest.mark.parametrize("cls", EVERY_OP)
def test_every_op_has_a_docstring_of_its_own(cls):
    text = cls.__dict__.get("__doc__") or ""
    assert text, "write what the op computes"
    assert not text.startswith(f"{cls.__name__}("), "write what the op computes: this is the signature that dataclass fills in"


@pytest.mark.parametrize("cls", FIRST_ORDER)
def test_every_op_has_examples(cls):
    cases = examples(cls)
    assert cases, f"{cls.__name__}.examples() gives nothing to test"
    assert all(type(case.op) is cls for case in cases)


@pytest.mark.parametrize("cls", FIRST_ORDER)
def test_every_op_has_a_defining_equation_or_names_its_routine(cls):
    assert cls.has_element() or getattr(cls, "library", ""), "give `element`, or `library` with the name of the routine"


@pytest.mark.parametrize("cls", FIRST_ORDER)
def test_every_op_has_its_rules(cls):
    for rule in ("type_rule", "impl"):
        assert getattr(cls, rule) is not getattr(Op, rule), f"{cls.__name__} has no {rule}"
    if any(case.operands for case in examples(cls)):
        assert cls.batch is not Op.batch, f"{cls.__name__} has no batching rule"
        assert cls.jvp is not Op.jvp, f"{cls.__name__} has no derivative rule"
    if any(case.op.linear_sets(len(case.operands)) for case in examples(cls)):
        assert cls.transpose is not Op.transpose, f"{cls.__name__} is declared linear but has no transpose"


@pytest.mark.parametrize("cls", FIRST_ORDER)
def test_ops_with_equal_parameters_are_equal_and_hash_alike(cls):
    for op, _ in examples(cls):
        again = cls(**op.parameters())
        assert op == again
        assert hash(op) == hash(again)
        assert str(op).startswith(op.name)

"""The command line, and the audit that it prints."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.cli import main
from cotan.core.op import REGISTRY
from cotan.errors import ArgumentError
from cotan.extend import audit


def test_info_names_what_a_bug_report_needs(capsys):
    assert main(["info"]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["cotan"] == cotan.__version__
    assert rows["numpy"] == np.__version__
    assert {"Python", "platform", "processor", "cores", "threads", "engines"} <= set(rows)


def test_rules_has_a_row_for_every_op(capsys):
    assert main(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(REGISTRY)
    row = next(line for line in lines if line.startswith("svd "))
    assert "not needed" in row


def test_rules_of_one_op(capsys):
    assert main(["rules", "svd", "power"]) == 0
    out = capsys.readouterr().out
    assert "svd: nonlinear, needs no transpose rule" in out
    assert main(["rules", "no_such_op"]) == 1
    assert "no op is known as 'no_such_op'" in capsys.readouterr().out


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "cotan", "info"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", REGISTRY)
def test_no_rule_that_is_needed_is_missing(name):
    missing = [rule.name for rule in audit(name).rules if rule.status == "missing"]
    assert missing == [] or (name, missing) in KNOWN_GAPS


KNOWN_GAPS: list[tuple[str, list[str]]] = []


def test_audit_finds_an_op_by_whatever_names_it():
    assert audit("sin").op == audit(cnp.sin).op == audit(np.sin).op == audit(REGISTRY["sin"]()).op == audit(REGISTRY["sin"]).op == "sin"
    assert audit(cnp.multiply).op == "mul"
    assert audit(cotan.lax.mul).op == "mul"
    with pytest.raises(ArgumentError):
        audit(lambda x: x)


@pytest.mark.parametrize(
    ("op", "transpose", "linear"),
    [
        ("mul", "given", "operand 0, operand 1"),
        ("add", "given", "operands 0 and 1 together"),
        ("div", "given", "operand 0"),
        ("dot_general", "given", "operand 0, operand 1"),
        ("sin", "not needed", "no operand: it is nonlinear"),
        ("svd", "not needed", "no operand: it is nonlinear"),
        ("floor", "not needed", "no operand: it is nonlinear"),
        ("reduce_sum", "given", "all operands together"),
    ],
)
def test_audit_says_which_rules_are_given_and_which_needed(op, transpose, linear):
    found = audit(op)
    assert found["transpose"].status == transpose
    assert found.linear_in == linear
    assert str(found).startswith(f"{op}: ")


def test_audit_of_a_primitive_of_ones_own():
    linear = cotan.extend.primitive("audited_double", lambda x: 2 * x, linear_in=(0,))
    assert audit(linear).linear_in == "operand 0"
    assert audit(linear)["transpose"].status == "derived"
    nonlinear = cotan.extend.primitive("audited_square", lambda x: x * x, jvp=lambda p, t: (nonlinear(*p), 2 * p[0] * t[0]))
    assert audit(nonlinear)["transpose"].status == "not needed"
    assert audit(nonlinear)["batch"].status == "derived"

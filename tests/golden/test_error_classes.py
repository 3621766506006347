"""Every public class of error and of warning is raised by a mistake here, and its text names the user's line, a remedy and a page.

The classes are those of `cotan.errors` and `cotan.testing`, and the warnings those of `cotan` and `cotan.testing`: a new one without a
mistake fails. `workflows` has what newcomers write, and what the texts say to write instead, which is run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import cotan
import cotan.numpy as cnp
from cotan import errors
from cotan.core.checking import check_program
from cotan.core.op import Op, op
from cotan.core.origin import PACKAGE
from cotan.core.program import Program, Var
from cotan.core.types import array_type
from cotan.ops.families import Structural

from . import mistakes, workflows

ROOT = Path(__file__).resolve().parents[2]
ANCHORS = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
PUBLIC = {name: found for module in (cotan, cotan.testing) for name in module.__all__ if isinstance(found := getattr(module, name), type)}
CLASSES = {name: getattr(errors, name) for name in errors.__all__} | {k: v for k, v in PUBLIC.items() if issubclass(v, errors.CotanError)}
WARNINGS = {name: found for name, found in PUBLIC.items() if issubclass(found, Warning)}
MISTAKES: list[Callable[[], Any]] = []


def mistake(f: Callable[[], Any]) -> Callable[[], Any]:
    MISTAKES.append(f)
    return f


# ---- inside SciPy ---------------------------------------------------------------------------------------------------------------
@mistake
def minimize_a_vector():
    scipy.optimize.minimize(cotan.value_and_grad(lambda p: p**2), np.ones(2), jac=True)


@mistake
def minimize_with_a_gradient_that_does_not_fit():
    scipy.optimize.minimize(lambda p: np.sum(p**2), np.ones(2), jac=cotan.grad(lambda p: np.sum(p + np.ones(3))))


@mistake
def minimize_with_float_in_the_loss():
    scipy.optimize.minimize(cotan.value_and_grad(lambda p: float(p[0]) ** 2), np.ones(2), jac=True)


@mistake
def minimize_a_jitted_if():
    scipy.optimize.minimize(cotan.jit(mistakes_branch), np.ones(2))


def mistakes_branch(p):
    return p[0] if p[0] > 0 else p[1]


@mistake
def minimize_by_a_traced_parameter():
    cotan.grad(lambda a: scipy.optimize.minimize(lambda p: np.sum((p - a) ** 2), np.ones(2)).fun)(1.0)


@mistake
def solve_ivp_from_a_traced_state():
    cotan.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), [k]).y[0, -1])(2.0)


@mistake
def solve_ivp_with_a_list_of_traced_values():
    cotan.grad(lambda k: scipy.integrate.solve_ivp(lambda t, y: [y[1], -k * y[0]], (0, 1), [1.0, 0.0]).y[0, -1])(2.0)


@mistake
def solve_ivp_assigns_inside_jit():
    scipy.integrate.solve_ivp(cotan.jit(assigning), (0, 1), np.ones(2))


def assigning(t, y):
    dy = cnp.zeros(2) * y
    dy[0] = y[1]
    return dy


@mistake
def root_of_a_residual_with_a_wrong_jacobian():
    scipy.optimize.root(lambda x: x**2 - 2, np.ones(2), jac=cotan.jacobian(lambda x: np.ones((3, 3)) @ x))


@mistake
def root_of_a_traced_residual():
    cotan.grad(lambda a: scipy.optimize.root(lambda x: x**2 - a, np.ones(1)).x[0])(2.0)


# ---- pandas ---------------------------------------------------------------------------------------------------------------------
@mistake
def gradient_by_a_table():
    pandas = pytest.importorskip("pandas")
    cotan.grad(lambda x: np.sum(x))(pandas.Series([1.0, 2.0]))


@mistake
def table_times_traced():
    table = pytest.importorskip("pandas").DataFrame(np.eye(2))
    cotan.grad(lambda p: np.sum(table @ (p * np.ones(2))))(1.0)


@mistake
def table_applied_to_traced():
    table = pytest.importorskip("pandas").Series([1.0, 2.0])
    cotan.grad(lambda p: table.apply(lambda v: float(v * p)).sum())(1.0)


# ---- classes that few mistakes raise ------------------------------------------------------------------------------------------------
@mistake
def integer_beyond_64_bits():
    cotan.jit(lambda x: x + 2**70)(np.array([1, 2]))


@mistake
def outside_code_without_a_rule():
    cotan.grad(lambda x: cotan.external(np.sin)(x))(1.0)


@op
class WithoutRules(Op):
    """An op of which only the name is given."""


@mistake
def op_without_a_meaning():
    WithoutRules()(1.0)


@mistake
def op_without_a_type():
    cotan.jit(lambda x: WithoutRules()(x))(1.0)


@mistake
def program_with_a_variable_that_is_never_defined():
    x, y = (Var(array_type((), np.dtype(float))) for _ in range(2))
    check_program(Program([x], [], [y]))


@op
class Beyond(Structural):
    """Its defining equation reads one element too far."""

    def type_rule(self, x: Any) -> Any:
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        return np.roll(x, -1)

    def element(self, e: Any, i: Any, x: Any) -> Any:
        return x((i[0] + 1,))


def read_too_far():
    cotan.jit(lambda x: Beyond()(x) * 2.0, engine="native")(np.arange(5.0))


PROGRAM = """
from tests.golden.messages import message_of
from tests.golden.test_error_classes import read_too_far
print(message_of(read_too_far), end="")
"""


# ---- the laws ---------------------------------------------------------------------------------------------------------------------
def raised_by(f: Callable[[], Any]) -> BaseException | None:
    try:
        f()
    except Exception as error:
        return error
    return None


FILES = {Path(file).name for file in (__file__, mistakes.__file__, workflows.__file__)}


def check_text(text: str, name: str) -> None:
    """The text names a line of this file or of `mistakes`, a remedy, and the page of its class."""
    places = re.findall(r"^  ([\w.\-]+\.py):\d+, in ", text, re.MULTILINE)
    assert places, text
    assert places[0] in FILES, text
    assert "site-packages" not in text, text
    assert "\nWhat to do: " in text, text
    assert text.rstrip().endswith(f"See docs/errors.md#{name.lower()}"), text
    assert name.lower() in ANCHORS


@pytest.mark.parametrize("f", [*MISTAKES, *mistakes.MISTAKES, *workflows.SAYINGS], ids=lambda f: f.__name__)
def test_a_mistake_is_told_with_the_users_line_a_remedy_and_a_page(f):
    error = raised_by(f)
    assert isinstance(error, errors.CotanError), repr(error)
    check_text(str(error), type(error).__name__)


@pytest.mark.parametrize("f", workflows.SAYINGS, ids=lambda f: f.__name__)
def test_a_newcomer_is_told_what_went_wrong_and_what_to_write(f):
    parts, never = workflows.SAYINGS[f]
    text = str(raised_by(f))
    assert all(part in text for part in parts), text
    assert not any(part in text for part in never), text


@pytest.mark.parametrize("f", workflows.REMEDIES, ids=lambda f: f.__name__)
def test_what_a_text_says_to_write_runs(f):
    assert f in workflows.SAYINGS
    workflows.REMEDIES[f]()


CALLS = [f for f in workflows.SAYINGS if f is not workflows.values_appended_in_a_body]  # raised outside of any call of a transformation


@pytest.mark.parametrize("f", CALLS, ids=lambda f: f.__name__)
def test_the_traceback_of_a_mistake_has_no_frame_of_cotan(f):
    tb, files = raised_by(f).__traceback__, []
    while tb is not None:
        files.append(tb.tb_frame.f_code.co_filename)
        tb = tb.tb_next
    assert not [file for file in files if file.startswith(PACKAGE)]
    assert workflows.__file__ in files


def test_compiled_code_that_reads_too_far_is_told_so():
    """Only a checked build sees it, which is a process of its own."""
    environment = {**os.environ, "COTAN_CHECK": "1", "COTAN_CACHE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.stdout.startswith("EngineError: "), run.stderr
    check_text(run.stdout, "EngineError")


def test_every_class_of_error_is_raised_by_a_mistake():
    raised = {type(raised_by(f)).__name__ for f in [*MISTAKES, *mistakes.MISTAKES, *workflows.SAYINGS]}
    elsewhere = {"EngineError"}  # above
    assert raised | elsewhere == set(CLASSES) - {"CotanError"}
    assert {name.lower() for name in CLASSES if name != "CotanError"} <= ANCHORS


# ---- warnings -------------------------------------------------------------------------------------------------------------------
def donate_for_nothing():
    cotan.jit(lambda x: np.sum(x), donate_argnums=0)(np.ones(100))


def stage_at_each_call():
    f = cotan.jit(lambda x, n: x * n, static_argnums=1)
    for n in range(60):
        f(1.0, n)


def solve_to_no_solution():
    wrong = cotan.implicit(lambda x, a: x**2 - a)(lambda a: a)
    cotan.grad(wrong)(4.0)


def check_at_a_kink():
    cotan.testing.check_grads(lambda x: np.sum(np.abs(x)), (np.zeros(2),), 1)


def take_a_vector_of_equal_eigenvalues():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COTAN_DEBUG_SPECTRA", "1")
        cotan.grad(lambda a: np.linalg.eigh(a)[1][0, 1])(np.eye(2))


OCCASIONS = {
    "DonationWarning": donate_for_nothing,
    "RecompilationWarning": stage_at_each_call,
    "ResidualWarning": solve_to_no_solution,
    "EqualValuesWarning": take_a_vector_of_equal_eigenvalues,
    "NotSmoothWarning": check_at_a_kink,
}


def test_every_class_of_warning_has_an_occasion():
    assert set(OCCASIONS) == set(WARNINGS)


@pytest.mark.parametrize("name", OCCASIONS)
def test_a_warning_is_given_at_the_users_line_with_a_remedy(name):
    with pytest.warns(WARNINGS[name]) as caught:
        OCCASIONS[name]()
    assert {w.filename for w in caught} == {__file__}
    assert all("What to do: " in str(w.message) for w in caught)

"""How does reverse mode work when most operations have no transpose rule? Every question of the thread that cotan began with, run.

A user of JAX asked why `grad(svd)` works though svd has no transpose rule, why one custom rule fails and another does not, and what a
transpose rule is for (the thread is the first chapter of the documentation). Each question is answered here by running code: what is
computed is compared with what it should be, errors are caught and shown, and a wrong answer makes the exit code 1.

Run it with `python3 dev.py demo`, or alone with the project's Python.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

import cotan.numpy as cnp
from cotan import custom_jvp, custom_vjp, extend, grad, hessian, jacfwd, jacrev, jvp, linear_transpose, linearize, stage, vmap
from cotan.errors import NonlinearTangentError

WRONG: list[str] = []


def show(text: object) -> None:
    """Print something indented under its question."""
    print(textwrap.indent(str(text).strip("\n"), "    "))


def answer(text: str) -> None:
    """Print an answer in words."""
    print(textwrap.fill(text, 116, initial_indent="  ", subsequent_indent="  "))


def computes(label: str, found: Any, wanted: Any) -> None:
    """Print a result, and remember it where it is not what it should be."""
    right = bool(np.allclose(np.asarray(found), np.asarray(wanted), rtol=1e-12, atol=1e-12))
    numbers = np.array2string(np.asarray(found), precision=6, prefix=" " * (len(label) + 7))
    print(f"    {label} = {numbers}{'' if right else f'   WRONG, should be {wanted}'}")
    if not right:
        WRONG.append(label)


def refuses(label: str, error: type[Exception], run: Callable[[], object]) -> None:
    """Run what must be refused, and print the error's text."""
    print(f"    {label}")
    try:
        result = run()
    except error as refusal:
        show(f"    {type(refusal).__name__}: " + textwrap.indent(str(refusal), "    ").strip())
    else:
        print(f"      WRONG: this gave {result}")
        WRONG.append(label)


# ----------------------------------------------------------------------------------------------------------------------- the questions


def question_svd() -> None:
    """Most operations, svd among them, have no transpose rule. How can they be differentiated in reverse?"""
    matrix = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])

    def nuclear_norm(x: Any) -> Any:
        return cnp.sum(cnp.linalg.svd(x, full_matrices=False)[1])

    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    computes("grad(sum of singular values)(x)", grad(nuclear_norm)(matrix), left @ right)
    show(extend.audit("svd"))
    answer(
        "Only operations that a tangent passes through are transposed. The JVP rule of svd computes its tangents with products and sums "
        "whose coefficients are known numbers, so the tangent never meets svd itself, and products and sums have transposes."
    )


def question_transpose_or_vjp() -> None:
    """Is a transpose rule a VJP rule by another name?"""
    x = np.array([0.3, 1.2])
    _, tangent_of = linearize(lambda x: cnp.sin(x) * x, x)
    print("    the linear program of sin(x) * x, and its transpose:")
    show(stage(tangent_of)(x))
    show(stage(linear_transpose(tangent_of, x))(x))
    (cotangent,) = linear_transpose(tangent_of, x)(np.ones(2))
    computes("transposed at 1", cotangent, np.cos(x) * x + np.sin(x))
    answer(
        "A VJP rule belongs to any function and a transpose rule to a linear one: it answers for y = A x what A^T does. A VJP is what "
        "comes out when the linear program of a JVP is transposed, so one JVP rule per operation serves both modes, and only the "
        "handful of linear operations need a second rule."
    )


def question_cubed_tangent() -> None:
    """What does this custom rule do, and why does reverse mode fail?  return 0., tangents[0]**3."""

    @custom_jvp
    def f(x: Any) -> Any:
        return 0.0

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        return 0.0, tangents[0] ** 3.0

    refuses("grad(f)(2.)", NonlinearTangentError, lambda: grad(f)(2.0))
    refuses("jvp(f, (2.,), (2.,))", NonlinearTangentError, lambda: jvp(f, (2.0,), (2.0,)))
    answer("A derivative is linear in its tangent, and this rule is not: it is no derivative at all, so both modes refuse it.")


def question_linear_rule() -> None:
    """And why does this one work?  return 0., tangents[0]"""

    @custom_jvp
    def f1(x: Any) -> Any:
        return 0.0

    @f1.defjvp
    def f1_jvp(primals: Any, tangents: Any) -> Any:
        return 0.0, tangents[0]

    computes("grad(f1)(2.)", grad(f1)(2.0), 1.0)
    answer("The rule is linear in the tangent (it is the identity), so it can be transposed, whatever the function's value is.")


def question_power() -> None:
    """If pow has no transpose rule, how does reverse mode differentiate x**3?"""
    computes("grad(x**3)(2.)", grad(lambda x: x**3.0)(2.0), 12.0)
    print("    its linear program:")
    show(stage(linearize(lambda x: x**3.0, 2.0)[1])(1.0))
    show(extend.audit("power"))
    answer("Its JVP rule multiplies the tangent by 3 x^2, a known number: what is transposed is that product, not the power.")


def question_new_primitive() -> None:
    """Does a new primitive need a transpose rule, if its JVP rule is written with * and + ?"""

    def softplus_jvp(primals: Any, tangents: Any) -> Any:
        (x,), (dx,) = primals, tangents
        return softplus(x), dx / (1.0 + cnp.exp(-x))

    softplus = extend.primitive("softplus", impl=lambda x: np.logaddexp(0.0, x), jvp=softplus_jvp)
    computes("grad(softplus)(0.5)", grad(softplus)(0.5), 1.0 / (1.0 + np.exp(-0.5)))
    sigmoid = 1.0 / (1.0 + np.exp(-0.5))
    computes("grad(grad(softplus))(0.5)", grad(grad(softplus))(0.5), sigmoid * (1.0 - sigmoid))
    show(extend.audit(softplus))
    answer("It does not: the implementation and the JVP rule are all that was given, and reverse mode works, twice.")


def question_both_modes() -> None:
    """Reverse mode comes free with a custom JVP. Does forward mode come with a custom VJP?"""

    @custom_jvp
    def pushed(x: Any) -> Any:
        return x

    @pushed.defjvp
    def pushed_jvp(primals: Any, tangents: Any) -> Any:
        return pushed(primals[0]), tangents[0]

    computes("custom_jvp: jacrev(f)(2.)", jacrev(pushed)(2.0), 1.0)
    computes("custom_jvp: jacfwd(f)(2.)", jacfwd(pushed)(2.0), 1.0)

    @custom_vjp
    def pulled(x: Any) -> Any:
        return x

    def forward(x: Any) -> Any:
        return pulled(x), None

    def backward(residuals: Any, y_bar: Any) -> Any:
        return (y_bar,)

    pulled.defvjp(forward, backward)
    computes("custom_vjp: jacrev(f)(2.)", jacrev(pulled)(2.0), 1.0)
    computes("custom_vjp: jacfwd(f)(2.)", jacfwd(pulled)(2.0), 1.0)
    computes("custom_vjp: jvp(f, (2.,), (3.,))", jvp(pulled, (2.0,), (3.0,)), (2.0, 3.0))
    computes("custom_vjp: linearize(f, 2.)[1](3.)", linearize(pulled, 2.0)[1](3.0), 3.0)
    computes("custom_vjp: hessian(f)(2.)", hessian(pulled)(2.0), 0.0)
    computes("custom_vjp: vmap(grad(f))", vmap(grad(pulled))(np.arange(3.0)), np.ones(3))
    answer("It does: the pullback is linear in its cotangent, so its transpose is the JVP. Both directions are one rule, transposed.")


def question_division() -> None:
    """Division is linear in one operand and not in the other. What can be transposed?"""
    computes("linear_transpose(x / 3.)(1.)", linear_transpose(lambda x: x / 3.0, 1.0)(1.0)[0], 1.0 / 3.0)
    refuses("linear_transpose(3. / x)", NonlinearTangentError, lambda: linear_transpose(lambda x: 3.0 / x, 1.0)(1.0))
    answer("Each operation declares in which operands it is linear: division in its numerator only.")


def question_matmul() -> None:
    """Tangents in linear algebra go through matmul. Where is its transpose rule?"""
    a, x = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    tangent_of = linearize(lambda x: a @ x, x)[1]
    print("    the linear program of a @ x, and its transpose:")
    show(stage(tangent_of)(x))
    show(stage(linear_transpose(tangent_of, x))(np.ones(2)))
    computes("transposed at (1, 1)", linear_transpose(tangent_of, x)(np.ones(2))[0], a.T @ np.ones(2))
    answer("matmul is dot_general, one multilinear operation: linear in each operand alone, and its transposes are dot_general again.")


def question_linear_function_in_a_rule() -> None:
    """Reverse mode is free for a function with a JVP rule unless it is linear and used in another's rule, said the thread. And here?"""

    @custom_jvp
    def double(x: Any) -> Any:
        return 2.0 * x

    @double.defjvp
    def double_jvp(primals: Any, tangents: Any) -> Any:
        return double(primals[0]), double(tangents[0])

    @custom_jvp
    def square(x: Any) -> Any:
        return x * x

    @square.defjvp
    def square_jvp(primals: Any, tangents: Any) -> Any:
        return square(primals[0]), double(primals[0] * tangents[0])

    computes("grad(square)(5.)", grad(square)(5.0), 10.0)
    computes("hessian(square)(5.)", hessian(square)(5.0), 2.0)
    answer("It works: a function with a custom rule that meets a tangent is replaced by its body, whose operations have transposes.")


QUESTIONS = (
    question_svd,
    question_transpose_or_vjp,
    question_cubed_tangent,
    question_linear_rule,
    question_power,
    question_new_primitive,
    question_both_modes,
    question_division,
    question_matmul,
    question_linear_function_in_a_rule,
)


def main() -> int:
    """Ask every question in turn; an answer that breaks down does not keep the others from being given."""
    for number, question in enumerate(QUESTIONS, 1):
        print(f"\n{number}. {question.__doc__}")
        try:
            question()
        except Exception as failure:  # the demo goes on, and says so at its end
            WRONG.append(question.__name__)
            show(f"FAILED with {type(failure).__name__}: {failure}")
    print(f"\n{len(QUESTIONS)} questions, " + (f"WRONG: {', '.join(WRONG)}" if WRONG else "every answer as it should be"))
    return 1 if WRONG else 0


if __name__ == "__main__":
    sys.exit(main())

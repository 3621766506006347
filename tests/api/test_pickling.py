"""Pickling: functions by their name in a module, else by the call that makes them; Programs and reports as values."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax

X = np.array([0.5, 1.5, 2.5])


def plain(x):
    return cnp.sum(cnp.sin(x) ** 2)


@cotan.jit
def jitted(x):
    return cnp.sum(x**2)


@cotan.custom_jvp
def with_rule(x):
    return cnp.sum(x**3)


@with_rule.defjvp
def with_rule_jvp(primals, tangents):
    return with_rule(*primals), cnp.sum(3 * primals[0] ** 2 * tangents[0])


@cotan.custom_vjp
def with_vjp(x):
    return cnp.sum(x**3)


with_vjp.defvjp(lambda x: (cnp.sum(x**3), x), lambda x, g: (3 * x**2 * g,))


@cotan.external
def outside(x):
    return np.sum(x)


@cotan.grad
def decorated(x):
    return cnp.sum(x**2)


MADE = {
    "jitted": jitted,
    "grad": cotan.grad(plain),
    "value_and_grad": cotan.value_and_grad(plain, argnums=(0,)),
    "vmap of grad": cotan.vmap(cotan.grad(np.sin)),
    "jit of grad": cotan.jit(cotan.grad(plain)),
    "jit with options": cotan.jit(cotan.hessian(plain), engine="numpy"),
    "grad of jit": cotan.grad(jitted),
    "jacobians": cotan.jacfwd(cotan.jacrev(plain)),
    "Laplacian": cotan.laplacian(plain),
    "checkpoint": cotan.grad(cotan.checkpoint(plain)),
    "custom rule": with_rule,
    "grad of a custom rule": cotan.grad(with_rule),
    "jit of grad of a custom rule": cotan.jit(cotan.grad(with_vjp)),
    "decorated by grad": decorated,
    "by keyword": cotan.grad(fun=plain, has_aux=False),
    "plan": cotan.memory_plan(plain),
    "outside code": cotan.jit(outside),
}


@pytest.mark.parametrize("name", MADE)
def test_a_transformed_function_pickles(name):
    f = MADE[name]
    again = pickle.loads(pickle.dumps(f))
    assert repr(again) == repr(f)
    found, wanted = again(X), f(X)
    for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(wanted), strict=True):
        assert str(a) == str(b) if name == "plan" else np.array_equal(a, b)


def test_what_a_module_has_is_pickled_by_its_name():
    for f in (jitted, with_rule, decorated, outside):
        assert pickle.loads(pickle.dumps(f)) is f


@pytest.mark.parametrize("name", MADE)
def test_cloudpickle_sends_functions_by_value(name):
    cloudpickle = pytest.importorskip("cloudpickle")
    f = MADE[name]
    assert str(cotan.tree.leaves(pickle.loads(cloudpickle.dumps(f))(X))) == str(cotan.tree.leaves(f(X)))
    again = pickle.loads(cloudpickle.dumps(cotan.jit(cotan.grad(lambda x: f(x)[0] if name == "value_and_grad" else cnp.sum(x)))))
    assert again(X).shape == X.shape


PROGRAMS = {
    "elementwise": lambda x: cnp.sin(x) * 2.0,
    "gradient": cotan.grad(plain),
    "loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c * 1.5 + x, x),
    "gradient of a while loop": cotan.grad(lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * c[1]), (0, x[0]))[1]),
    "branches": lambda x: lax.cond(x[0] > 0, cnp.sin, cnp.cos, x),
    "linear algebra": lambda x: cnp.linalg.solve(cnp.eye(3) + cnp.outer(x, x), x),
    "a call": cotan.jit(plain),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_pickles(name):
    program = cotan.stage(PROGRAMS[name])(X)
    again = pickle.loads(pickle.dumps(program))
    assert str(again) == str(program)  # with its source lines
    for a, b in zip(again(X), program(X), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [v.type for v in again.inputs] == [v.type for v in program.inputs]
    assert all(a.type is b.type for a, b in zip(again.inputs, program.inputs, strict=True))
    derivative = cotan.stage(cotan.jacfwd(lambda x: again(x)))(X)
    assert str(pickle.loads(pickle.dumps(derivative))) == str(derivative)


def show(x, text):
    sys.stdout.write(f"{text} {x.sum():.1f}\n")


def with_callback(x):
    cotan.debug.callback(show, x, text="the sum is")
    return cnp.sum(x**2)


def with_print(x):
    cotan.debug.print("{n} numbers, the first is {x}", n="3", x=x[0])
    return cnp.sum(x**2)


@pytest.mark.parametrize("f", [with_callback, with_print])
@pytest.mark.parametrize("transform", [lambda f: f, cotan.grad, cotan.jit, lambda f: lambda x: cotan.vmap(f)(x[None])])
def test_a_program_with_an_effect_pickles(f, transform, capsys):
    program = cotan.stage(transform(f))(X)
    again = pickle.loads(pickle.dumps(program))
    assert str(again) == str(program)
    np.testing.assert_array_equal(again(X)[0], program(X)[0])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["the sum is 4.5" if f is with_callback else "3 numbers, the first is 0.5"] * 2


@pytest.mark.parametrize("f", [with_rule, with_vjp, cotan.grad(with_vjp), lambda x: cotan.pure_callback(plain_sine, X, x)])
def test_a_program_with_functions_of_a_module_pickles(f):
    program = cotan.stage(f)(X)
    again = pickle.loads(pickle.dumps(program))
    np.testing.assert_array_equal(again(X)[0], program(X)[0])
    jacobian = cotan.jacrev(lambda x: again(x)[0]) if f is with_rule else None
    assert jacobian is None or np.array_equal(jacobian(X), cotan.grad(with_rule)(X))


def plain_sine(x):
    return np.sin(x)


def callback_by_lambda(x):
    cotan.debug.callback(lambda x: None, x)
    return x


@pytest.mark.parametrize(
    "f",
    [
        callback_by_lambda,
        lambda x: lax.scan(lambda c, _: (callback_by_lambda(c), None), x, None, length=2)[0],
        lambda x: cotan.pure_callback(lambda x: np.sin(x), X, x),
        cotan.external(lambda x: np.sin(x)),
    ],
)
def test_a_program_that_calls_a_lambda_says_why_it_does_not_pickle(f):
    program = cotan.stage(f)(X)
    with pytest.raises(cotan.errors.ArgumentTypeError, match=r"a Program that calls .*<lambda>.* cannot be pickled") as caught:
        pickle.dumps(program)
    assert "What to do: define the functions by def at the top of a module" in str(caught.value)
    cloudpickle = pytest.importorskip("cloudpickle")
    np.testing.assert_array_equal(pickle.loads(cloudpickle.dumps(program))(X)[0], program(X)[0])


def test_reports_pickle():
    for report in (cotan.compile_report(plain)(X), cotan.memory_plan(plain)(X), cotan.testing.check_rule(plain, (X,))):
        assert str(pickle.loads(pickle.dumps(report))) == str(report)


SCRIPT = """
    import multiprocessing, cotan
    weight = 2.0

    @cotan.jit
    def f(x):
        return weight * x**2

    @cotan.custom_jvp
    def g(x):
        return f(x)

    @g.defjvp
    def g_jvp(primals, tangents):
        return g(*primals), 2 * weight * primals[0] * tangents[0]

    class Model:
        def __init__(self, w):
            self.w = w
        @cotan.jit
        def f(self, x):
            return self.w * x

    if __name__ == "__main__":
        work = [f, cotan.grad(f), cotan.grad(g), cotan.jit(cotan.vmap(cotan.grad(g))), cotan.grad(Model(3.0).f)]
        inputs = [1.5, 1.5, 1.5, cotan.numpy.ones(2), 1.5]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print([str(pool.apply(h, (x,))) for h, x in zip(work, inputs)])
        try:
            import joblib
        except ImportError:
            print("no joblib")
        else:
            work.append(cotan.grad(lambda x: weight * x**3))
            inputs.append(1.0)
            print([str(y) for y in joblib.Parallel(n_jobs=2)(joblib.delayed(h)(x) for h, x in zip(work, inputs))])
"""


def test_functions_of_a_script_reach_other_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    by_spawn, by_joblib = done.stdout.splitlines()
    assert by_spawn == str(["4.5", "6.0", "6.0", "[4. 4.]", "3.0"])
    assert by_joblib in ("no joblib", str(["4.5", "6.0", "6.0", "[4. 4.]", "3.0", "6.0"]))


@pytest.mark.parametrize("module", [cotan.numpy, cotan.special, cotan.numpy.linalg, cotan.lax])
def test_every_public_function_pickles_by_its_name(module):
    for name in module.__all__:
        function = getattr(module, name)
        if callable(function) and not isinstance(function, type):
            assert pickle.loads(pickle.dumps(function)) is function, name

"""Stories: the stages of a derivative, with the user's names and lines, and what each line depends on."""

import copy
import functools
import gc
import inspect
import pickle
import threading
import time
import weakref

import numpy as np
import pytest

import cotan
from cotan import explain
from cotan.core.formula import Call, Infix, Juxtaposed, Negative, Number, Residual
from cotan.errors import ArgumentError, ArgumentTypeError, TracerConversionError
from cotan.explanation.page import flattened, page_of


def sigmoid(z):
    e = np.exp(-z)
    return 1 / (1 + e)


def loss(w, x, y):
    z = x @ w
    p = sigmoid(z)
    r = p - y
    return np.mean(r**2)


W, X, Y = np.ones(3), np.ones((5, 3)), np.ones(5)


def lines(stage):
    return list(map(str, stage.lines))


def test_the_stages_of_a_gradient():
    e = explain(loss, W, X, Y)
    assert [s.key for s in e.stages] == ["primal", "jvp", "values", "linear", "transpose", "whole", "simplified"]
    assert lines(e["primal"]) == [
        "z = x @ w",
        "t1 = -z",
        "e = exp(t1)",
        "t2 = 1 + e",
        "p = 1 / t2",
        "r = p - y",
        "t3 = r**2",
        "loss = mean(t3)",
    ]
    assert lines(e["linear"]) == ["dz = x @ dw", "dt1 = -dz", "de = e dt1", "dp = -((p / t2) de)", "dt3 = 2 * r dp", "dloss = mean(dt3)"]
    assert lines(e["transpose"]) == [
        "t3_bar = broadcast_to(loss_bar / 5, 5)",
        "p_bar = 2 * r t3_bar",
        "e_bar = -((p / t2) p_bar)",
        "t1_bar = e e_bar",
        "z_bar = -t1_bar",
        "w_bar = z_bar @ x",
    ]
    assert str(e["primal"].same) == "{}"
    assert str(e["linear"].same["5"]) == "dr = dp"
    assert str(e["transpose"].same["5"]) == "r_bar = p_bar"


def test_each_line_names_the_line_of_the_function_that_it_comes_from():
    first = inspect.getsourcelines(sigmoid)[1]
    e = explain(loss, W, X, Y)
    for stage in e.stages:
        for line in stage.lines:
            if str(line).startswith(("e = ", "de = ", "t1_bar = ")):
                assert line.origin.line == first + 1, (stage.key, str(line))
                assert line.row == "2"
    assert {line.provenance for line in e["transpose"].lines} >= {"jvp of exp, transposed", "jvp of matmul, transposed"}


def test_a_value_has_the_name_that_a_caller_gives_it():
    names = [s.name for line in explain(loss, W, X, Y)["primal"].lines for s in line.definition.symbols]
    assert "p" in names  # the result of sigmoid, which calls it nothing


def test_the_residuals_of_each_line_are_marked():
    e = explain(lambda x: np.sin(x) * x, 1.0)
    pieces = list(e["linear"].lines[0].definition.formula.pieces())
    assert pieces[0][1] == "residual begins"
    assert str(e["linear"].lines[0]) == "dt1 = cos(x) dx"


@pytest.mark.parametrize("transform", ["grad", "jvp", "vjp", "linearize", "vmap", "hessian", "jacfwd", "jacrev"])
def test_every_named_transform(transform):
    e = explain(lambda x: np.sum(np.sin(x) * x), np.ones((2, 3)) if transform == "vmap" else np.ones(3), transform=transform)
    assert e.transform == transform
    assert len(e.stages) >= 2
    assert str(e)


def test_a_function_as_transform():
    e = explain(loss, np.ones((2, 3)), X, Y, transform=lambda f: cotan.vmap(cotan.grad(f), in_axes=(0, None, None)))
    assert [s.key for s in e.stages] == ["primal", "whole", "simplified"]
    assert "jvp of exp, transposed, batched" in {line.provenance for line in e["whole"].lines}
    assert "w_bar" in str(e["whole"].lines[-1])


def test_loops_are_programs_of_their_own_also_when_the_loop_is_known():
    def step(c, x):
        c = c * np.cos(x)
        return c, c

    def loop(x0, xs):
        final, out = cotan.lax.scan(step, x0, xs)
        return final + np.sum(out)

    for _ in range(2):  # the second time, the body would be recalled
        e = explain(loop, 1.0, np.ones(4), argnums=(0, 1))
        (inner,) = e["linear"].lines[0].inner
        assert lines(inner) == ["dt1 = -sin(x) dx", "dc2 = t1 dc + c dt1"]
        (backwards,) = next(line.inner for line in e["transpose"].lines if line.inner)
        assert "x_bar = -sin(x) t1_bar" in lines(backwards)
        assert {line.row for line in inner.lines} == {"1.0", "1.1"}


def test_jit_conditions_and_custom_rules():
    @cotan.custom_jvp
    def clipped(x):
        return np.clip(x, -1, 1)

    @clipped.defjvp
    def rule(primals, tangents):
        return clipped(primals[0]), tangents[0] * 2.0

    inner = cotan.jit(lambda x: np.sin(x) * 2)

    def f(x, flag):
        u = inner(x)
        v = cotan.lax.cond(flag, np.cos, np.exp, u)
        return clipped(v)

    e = explain(f, 1.0, True)
    text = str(e)
    assert "clipped(v)" in text
    assert "v_bar = 2 f_bar" in text
    assert any(line.inner for line in e["primal"].lines)
    assert [s.title for line in e["primal"].lines for s in line.inner]


def test_a_jitted_function_is_explained_itself():
    e = explain(cotan.jit(loss), W, X, Y)
    assert "z = x @ w" in lines(e["primal"])


def test_loops_of_python_number_the_names():
    def f(x):
        for _ in range(3):
            x = np.sin(x)
        return x

    assert lines(explain(f, 1.0)["primal"]) == ["x2 = sin(x)", "x3 = sin(x2)", "x4 = sin(x3)"]


def test_trees_of_arguments():
    def f(params, scale=2.0):
        return np.sum(params["w"] @ params["b"]) * scale

    e = explain(f, {"w": np.ones((2, 3)), "b": np.ones(3)}, scale=3.0)
    assert e["primal"].inputs == ("params['b']", "params['w']", "scale")
    assert "params['w']_bar" in str(e["transpose"])


def test_the_slice_of_a_value():
    e = explain(loss, W, X, Y)
    found = e.depends("e_bar")
    assert [str(line).partition(" ")[0] for line in found["transpose"]] == ["t3_bar", "p_bar", "e_bar"]
    with pytest.raises(ArgumentError, match="no line of the stage"):
        e["linear"].slice_of("nothing")
    with pytest.raises(ArgumentError, match="no line defines"):
        e.depends("nothing")


def test_the_slice_of_a_value_has_what_its_line_names_alone():
    """Not the other lines in which a part of its formula is written, too."""

    def f(x):
        a = np.sort(x) * 2
        return np.sum(a * np.cumsum(x))

    e = explain(f, np.ones(4))
    for stage in e.stages:
        lines = {s.name: line for line in stage.lines for s in line.definition.symbols}
        for name in lines:
            found = stage.slice_of(name)
            assert found[-1] is lines[name]
            used = {s.name for line in found for s in line.definition.filled[1]} & lines.keys()
            assert {id(line) for line in found} == {id(lines[other]) for other in (name, *used)}


def inner_gradient(x):
    g = cotan.grad(lambda v: np.sum(np.sin(v) * v))(x)
    return np.sum(g * g)


def inner_batch(x):
    return np.sum(cotan.vmap(cotan.grad(lambda v: np.tanh(v * x[0]) * v))(x))


def branches(x):
    def yes(c):
        d = np.sin(c)
        return d * c

    def no(c):
        d = np.cos(c)
        return d + c

    y = cotan.lax.cond(x[0] > 0, yes, no, x)
    return np.sum(cotan.lax.switch(1, [np.sin, np.sin, np.tanh], y))


def loops(x):
    def step(c, u):
        a = np.sin(c)
        return cotan.lax.scan(lambda c, u: (c * u, None), a, np.ones(2))[0] * (u * 2 + 1), None

    c = cotan.lax.scan(step, x, np.ones(3))[0]
    return np.sum(cotan.lax.while_loop(lambda c: c[0] < 3.0, lambda c: c * 2.0, c) * np.where(np.ones(3) > 0, 1.0, 2.0))


def recomputed(x):
    layer = cotan.checkpoint(lambda v: np.tanh(v) * v)
    return np.sum(layer(layer(x)))


@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap", "jacrev"])
@pytest.mark.parametrize("f", [inner_gradient, inner_batch, branches, loops, recomputed])
def test_each_line_has_the_row_of_one_equation_of_the_function(f, transform):
    """Also where the function differentiates, and where an equation has no tangent."""
    x = np.ones((2, 3)) if transform == "vmap" else np.ones(3)
    e = explain(f, x, transform=transform)
    rows = {line.row: line for line in flattened(e["primal"].lines)}
    assert len(rows) == sum(1 for _ in flattened(e["primal"].lines))
    for stage in e.stages:
        for line in flattened(stage.lines):
            assert line.row in rows, (stage.key, str(line))
    if "jvp" in [stage.key for stage in e.stages]:
        for line in flattened(e["jvp"].lines):
            names = {s.name.removeprefix("d" * (s.role == "tangent")) for s in line.definition.symbols}
            assert names <= {s.name for s in rows[line.row].definition.symbols}


def test_the_rows_of_branches_are_told_apart():
    e = explain(branches, np.ones(3))
    held = {line.row: str(line) for line in flattened(e["primal"].lines) if "." in line.row}
    assert [*held.values()][:4] == ["d = cos(c)", "no = d + c", "d = sin(c)", "yes = d * c"]
    assert len({row.partition(".")[0] for row in [*held][:4]}) == 1


def test_negative_zero_has_its_sign():
    assert lines(explain(lambda x: x * -0.0, 1.0, transform="jvp")["primal"]) == ["y = x * -0"]


def test_what_is_printed_is_what_runs():
    """The stages are Programs: the last one computes the gradient."""
    e = explain(loss, W, X, Y)
    (g,) = e["whole"].program(W, X, Y)
    np.testing.assert_allclose(g, cotan.grad(loss)(W, X, Y))
    forward, linear, transposed = (e[key].program for key in ("values", "linear", "transpose"))
    values = forward(W, X, Y)
    dy = linear(*values[1:], np.ones(3))
    (x_bar,) = transposed(*values[1:], 1.0)
    np.testing.assert_allclose(dy[0], x_bar @ np.ones(3))


def test_the_rules_of_the_ops():
    e = explain(loss, W, X, Y)
    rules = {rule.op.name: rule for rule in e.rules}
    assert list(map(str, rules["exp"].forward)) == ["dy = y dx"]
    assert set(rules) == {"dot_general", "neg", "exp", "add", "div", "sub", "integer_pow", "mean"}


def test_text_fits_in_80_columns():
    text = str(explain(loss, W, X, Y))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_colour_only_where_it_is_wanted(monkeypatch):
    from cotan.explanation import terminal

    story = explain(loss, W, X, Y)
    assert "\x1b[" in terminal.text_of(story, width=80, colour=True)

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(terminal.sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.wants_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.wants_colour()


def test_refusals():
    with pytest.raises(ArgumentError, match="transform is 'gradient'"):
        explain(loss, W, X, Y, transform="gradient")
    with pytest.raises(ArgumentTypeError, match="scalar output"):
        explain(np.sin, np.ones(3))
    with pytest.raises(ArgumentError, match="argnums"):
        explain(loss, W, X, Y, argnums=3)
    with pytest.raises(ArgumentError, match="does not call it"):
        explain(loss, W, X, Y, transform=lambda f: lambda w, x, y: w)


def test_partials_and_callables():
    class Model:
        def __call__(self, w):
            h = w * 2
            return np.sum(h**2)

    assert explain(Model(), W)["primal"].inputs == ("w",)
    assert explain(functools.partial(loss, x=X, y=Y), W)["primal"].lines
    assert explain(np.sin, 1.0)["transpose"].lines


def test_a_function_without_code_of_its_own_has_no_names_of_who_asks():
    found = explain(np.sin, 1.0)
    assert found["primal"].lines[0].origin.code is None
    assert "found" not in str(found)

    @cotan.custom_jvp
    def g(x):
        return x * 2.0

    g.defjvp(lambda p, t: (g(p[0]), 2.0 * t[0]))
    found = explain(g, 1.0)
    assert "found" not in str(found)
    assert found["primal"].lines[0].origin.function == "g"


def names_of(stage):
    return [s.name for line in stage.lines for s in line.definition.symbols]


def test_a_number_is_not_made_into_a_name_of_the_user():
    def f(x):
        x = np.sin(x)
        x2 = x * x
        return x2 * x

    assert lines(explain(f, 1.0)["primal"]) == ["x3 = sin(x)", "x2 = x3 * x3", "f = x2 * x3"]


def test_a_value_has_no_name_of_another():
    def f(x, y):
        s = [*map(np.cos, (x, y))]
        q = cotan.tree.map(lambda v: v * 2, s)
        first, *rest = np.stack(q)
        return first * rest[0]

    names = names_of(explain(f, 1.0, 2.0)["primal"])
    assert not {"s", "q"} & set(names)
    assert names.count("first") == 1


def test_derived_values_have_no_name_of_the_function_that_is_differentiated():
    def f(x):
        def g(v):
            a = np.sin(v)
            b = a * v
            return b  # noqa: RET504 - the name matters

        return cotan.grad(g)(x) * x

    assert "b" not in names_of(explain(f, 1.0)["primal"])


def euler(x, dx):
    return x * dx + x


def bars(a_bar, f_bar):
    a = a_bar * f_bar
    return np.sin(a) * f_bar


def numbered(x):
    t1 = np.sin(x)
    t2 = t1 * np.cos(x) * np.exp(np.sin(t1))
    dy = t2 * x
    y = dy * t1
    dy = y * y
    y = dy + t2
    return y * dy


def in_checkpoint(x):
    v = np.exp(x)
    return cotan.checkpoint(lambda v: np.sin(v) * v)(v * 2) * v


def twice_in_checkpoint(x):
    again = cotan.checkpoint(lambda v: np.sin(v) * v)
    return x * again(again(x))


def in_a_loop(x, dc):
    def body(c, t):
        dx = c * t
        return dx * dc, dx

    c, ys = cotan.lax.scan(body, x, np.arange(3.0))
    return np.sum(ys) * c


CLASHES = [euler, bars, numbered, in_checkpoint, twice_in_checkpoint, in_a_loop]


@pytest.mark.parametrize("f", CLASHES, ids=lambda f: f.__name__)
def test_names_of_the_user_are_those_of_his_values_alone(f):
    """Evaluated by NumPy, the lines of each stage give what the stage gives: also where the user's names look like those of tangents."""
    point = tuple(0.3 + 0.1 * k for k in range(f.__code__.co_argcount))
    e = explain(f, *point, argnums=tuple(range(len(point))))
    assert set(names_of(e["primal"])) | set(e["primal"].inputs) >= {n for n in f.__code__.co_varnames if not callable(n)} - {
        "again",
        "body",
    }
    for key in ("primal", "jvp", "values", "linear", "transpose", "whole"):
        stage = e[key]
        names = [*stage.inputs, *names_of(stage)]
        assert len(names) == len(set(names)), (key, names)
        if any(line.inner or len(line.definition.symbols) != 1 for line in stage.lines):
            continue
        program = stage.program
        given = [*point, *[0.7] * (len(stage.given) - len(point))] if key in ("primal", "jvp", "values", "whole") else None
        if given is None:
            given = [0.2 + 0.1 * k for k in range(len(program.inputs))]
            known = {}
            for v, x in zip(program.inputs, given, strict=True):
                if v in stage.given:
                    known[stage.inputs[stage.given.index(v)]] = x
            if len(known) < len(given):
                continue  # residuals stand in the formulas
        else:
            known = dict(zip(stage.inputs, given, strict=True))
        for line in stage.lines:
            known[line.definition.left] = eval(python(line.definition.formula), vars(np), known)
        printed = [eval(python(y), vars(np), known) for y in stage.outputs]
        np.testing.assert_allclose(printed, program(*given), rtol=1e-12, err_msg=key)


def python(formula):
    """A formula as an expression of Python, each product with its sign."""
    if isinstance(formula, Residual):
        return python(formula.formula)
    if isinstance(formula, Juxtaposed):
        return f"({python(formula.left)}) * ({python(formula.right)})"
    if isinstance(formula, Infix):
        return f"({python(formula.left)}) {formula.sign} ({python(formula.right)})"
    if isinstance(formula, Negative):
        return f"-({python(formula.operand)})"
    if isinstance(formula, Call):
        return f"{formula.function}({', '.join(map(python, formula.arguments))})"
    return repr(float(formula.value)) if isinstance(formula, Number) else str(formula)


def test_the_result_of_a_lambda_has_no_name_of_an_argument():
    assert lines(explain(lambda x, y: x * y, 1.0, 2.0)["primal"]) == ["z = x * y"]


@pytest.mark.parametrize("transform", ["grad", "hessian", "jvp", "linearize", lambda f: cotan.jacfwd(cotan.grad(f))])
@pytest.mark.parametrize("x", [0.5, 3.0])
def test_decisions_of_python_are_those_at_the_arguments(x, transform):
    def f(x, n):
        y = x
        for _ in range(n):
            if y > 1:
                y = np.sin(y)
            else:
                y = y * y + 1
        while y < 10:
            y = y * 2
        return y

    e = explain(f, x, 3, transform=transform)
    assert "Decisions of Python" in e["primal"].about
    np.testing.assert_allclose(e["primal"].program(x, 3)[0], f(x, 3))
    if transform not in ("jvp", "linearize"):
        transformed = getattr(cotan, transform) if isinstance(transform, str) else transform
        np.testing.assert_allclose(e["whole"].program(x, 3)[0], transformed(f)(x, 3))


def test_a_function_that_decides_is_followed_at_each_of_its_points():
    def f(x):
        return np.sin(x) if x > 0 else x * x

    def both(f):
        return cotan.grad(lambda x: f(x) + f(-x))

    e = explain(f, 0.5, transform=both)
    np.testing.assert_allclose(e["whole"].program(0.5)[0], both(f)(0.5))
    assert "Decisions" not in explain(lambda x: x * x, 1.0)["primal"].about
    with pytest.raises(TracerConversionError):
        explain(f, cotan.ShapeDtypeStruct((), float))
    with pytest.raises(TracerConversionError):
        explain(lambda x: x * float(x), 1.0)
    with pytest.raises(TracerConversionError, match="3 values"):
        explain(f, np.ones(3), transform="vmap")


def test_every_stage_can_be_called_and_keeps_its_arrays():
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])

    def f(x):
        c, ys = cotan.lax.scan(lambda c, u: (c * u + b[0], c), x, a)
        return np.sum(ys * b) + c

    e = explain(f, 1.5)
    value, slope = f(1.5), cotan.grad(f)(1.5)
    assert e["whole"].inputs == e["simplified"].inputs == ("b", "a", "x")
    a[:] = b[:] = 9.0
    for key, args in {"primal": (1.5,), "values": (1.5,), "jvp": (1.5, 1.0)}.items():
        np.testing.assert_allclose(e[key].program(*args)[0], value, err_msg=key)
    for key, args in {"jvp": (1.5, 1.0), "whole": (1.5,), "simplified": (1.5,)}.items():
        np.testing.assert_allclose(e[key].program(*args)[-1], slope, err_msg=key)
    assert str(e["simplified"].outputs[0]) == "x_bar"


def test_formulas_of_complex_values_and_of_constants_for_arrays():
    assert lines(explain(lambda z: np.real(np.exp(1j * z)), 0.5)["transpose"])[-1] == "z_bar = real(1j t2_bar)"
    table = np.arange(12.0).reshape(3, 4)
    e = explain(lambda w: np.mean(w[np.arange(3), [0, 2, 1]]), table, transform="jacfwd")
    assert "moveaxis(t4[:, t1, t2], 1, 0).T" in str(e["whole"].outputs[0])
    whole = explain(lambda r: np.sum(np.tril(np.ones((3, 3))) @ (r * r)), np.ones(3), transform="jacfwd")["whole"]
    assert "@ 1" not in str(whole)
    assert lines(explain(lambda x: 1234567.5 * x, 1.0)["primal"]) == ["y = 1234567.5 * x"]
    assert lines(explain(lambda x: np.pi * x, 1.0)["primal"]) == ["y = 3.14159… * x"]


def test_the_sum_of_an_inverse():
    text = str(explain(lambda a: np.sum(np.linalg.inv(a)), np.eye(2) + 0.1))
    assert "full((2, 2), 1)" in text


def test_the_text_of_many_lines_of_source_takes_time_in_proportion():
    def seconds(count):
        source = "def f(x):\n    v = x\n" + "    v = np.sin(v) * x\n" * count + "    return v\n"
        namespace = {"np": np}
        exec(compile(source, f"lines of {count}", "exec"), namespace)
        e = explain(namespace["f"], 1.0)
        assert e.stages
        start = time.perf_counter()
        str(e)
        return time.perf_counter() - start

    assert min(seconds(1000), seconds(1000)) < 30 * min(seconds(100), seconds(100))  # 100 if it were quadratic


def test_explanations_pickle_and_their_parts_print():
    e = explain(loss, W, X, Y)
    assert str(pickle.loads(pickle.dumps(e))) == str(copy.deepcopy(e)) == str(e)
    assert repr(e["linear"].lines[0]) == "<dz = x @ dw>"
    assert repr(e["linear"]).splitlines()[1:3] == ["  given dw", "  dz = x @ dw"]
    assert repr(e.rules[0]).startswith("z = x @ y\n    dz = ")
    assert e.depends("w")["primal"] == ()
    with pytest.raises(ArgumentError, match=r"no line defines 'nothing'(.|\n)*give one of z,"):
        e.depends("nothing")


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda x: np.sum(np.stack([x, x * x])), (np.ones(2),)),
        (lambda x: cotan.lax.fori_loop(0, 3, lambda i, c: c * x, x), (2.0,)),
        (lambda x, x_bar: x * x_bar, (1.0, 2.0)),
        (lambda a, da: np.sin(a) * da, (1.0, 2.0)),
    ],
)
def test_a_name_is_that_of_one_value_in_a_stage(f, args):
    for stage in explain(f, *args, argnums=tuple(range(len(args)))).stages:
        names = [*stage.inputs, *names_of(stage)]
        assert len(names) == len(set(names)), (stage.key, names)


TABLE = np.array([1.0, 2.0])


def test_arrays_that_the_function_holds_have_their_names():
    weights = np.array([3.0, 4.0])

    def f(x):
        return np.sum(weights * x * TABLE)

    assert explain(f, np.ones(2))["primal"].inputs[:2] == ("weights", "TABLE")


def test_a_loop_calls_what_it_closes_over_by_its_name():
    def f(w, x):
        return cotan.lax.scan(lambda c, k: (c * w, None), x, np.ones(3))[0]

    (inner,) = explain(f, 2.0, 1.0)["primal"].lines[-1].inner
    assert inner.inputs[0] == "w"


def test_static_arguments():
    @functools.partial(cotan.jit, static_argnums=(0,), static_argnames=("mode",))
    def power(n, x, mode="a"):
        for _ in range(n):
            x = x * (2.0 if mode == "b" else 3.0)
        return x

    e = explain(power, 2, 1.5, mode="b", argnums=1)
    assert e["primal"].inputs == ("x",)
    assert lines(e["primal"]) == ["x2 = x * 2", "x3 = x2 * 2"]
    assert lines(e["simplified"]) or str(e["simplified"].outputs[0]) == "4"
    with pytest.raises(ArgumentError, match="argument 0 of power"):
        explain(power, 2, 1.5)
    assert explain(lambda f, x: f(x), np.sin, 1.0, argnums=1)["primal"].inputs == ("x",)


def test_an_op_without_a_rule_in_one_operand_shows_that_of_the_other():
    e = explain(lambda x: cotan.special.gammainc(2.0, x) * x, 1.5)
    (rule,) = [rule for rule in e.rules if rule.op.name == "gammainc"]
    assert [s.left for s in rule.backward] == ["y_bar"]


def test_effects_are_lines_without_a_name():
    def f(x):
        cotan.debug.print("{}", x)
        return x * x

    e = explain(f, 1.0)
    assert "print(x)" in str(e)
    page = page_of(e)
    assert "print(" in page
    assert "<span> = " not in page
    assert "> = print" not in page


@pytest.mark.parametrize("transform", ["grad", "hessian", "jacfwd", "jacrev"])
def test_stages_can_be_called_with_captured_arrays(transform):
    table = np.array([1.0, 2.0])

    def f(x):
        return np.sum(np.sort(table * x) ** 3)

    x = np.array([3.0, 1.0])
    e = explain(f, x, transform=transform)
    for key in ("whole", "simplified"):
        np.testing.assert_allclose(e[key].program(x)[0], getattr(cotan, transform)(f)(x))


def test_long_lines_of_source_are_cut():
    def f(x):
        return x * 1.0 + x * 2.0 + x * 3.0 + x * 4.0 + x * 5.0 + x * 6.0 + x * 7.0 + x * 8.0 + x * 9.0 + x * 10.0 + x

    assert max(map(len, str(explain(f, 1.0)).splitlines())) <= 80


def test_cells_of_notebooks():
    """A line of a cell is named by the number of the cell."""
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_cell("import numpy as np, cotan\nfrom cotan import explain", store_history=True)
    shell.run_cell("def f(x):\n    a = np.sin(x)\n    return a * x", store_history=True)
    result = shell.run_cell("str(explain(f, 1.0)['primal'].lines[0].origin)", store_history=True).result
    InteractiveShell.clear_instance()
    assert result == "In [2], line 2"


def test_many_equations_take_time_in_proportion():
    def seconds(steps):
        def f(x):
            for _ in range(steps):
                x = np.sin(x) * 1.5
            return x

        start = time.perf_counter()
        e = explain(f, 1.0)
        assert len(e["simplified"].lines) > 2 * steps
        return time.perf_counter() - start

    assert min(seconds(1500) for _ in range(3)) < 30 * min(seconds(150) for _ in range(3))  # 100 if it were quadratic


def test_the_text_of_a_large_program_leaves_lines_out_and_says_how_many():
    def f(x):
        for _ in range(200):
            a = np.sin(x)
            x = a * 1.5
        return x

    e = explain(f, 1.0)
    start = inspect.getsourcelines(f)[1]
    text = str(e).splitlines()
    (first, *_) = (k for k, line in enumerate(text) if "lines more" in line)
    assert f"lines more, of lines {start + 2}–{start + 3}" in text[first]
    shown = [line for line in text[: text.index("2. Forward mode")] if " = " in line and "# line" in line]
    left_out = int(text[first].split()[1])
    assert len(shown) + left_out == len(e["primal"].lines) == 400
    assert len(text) < 500


def test_a_formula_is_its_template_with_symbols_in_the_holes():
    def f(a, b):
        x = np.linalg.solve(a, b) * np.arctan2(b, 2.0) - np.pad(b[1:], (1, 0), constant_values=b[0])
        return np.sum(x[[0, 2, 1]] ** 2) + cotan.lax.while_loop(lambda c: c < 3.0, lambda c: c * 2.0, b[0])

    e = explain(f, np.eye(3), np.ones(3), argnums=(0, 1), transform="jvp")
    written = 0
    for line in [line for stage in e.stages for line in flattened(stage.lines)]:
        template, symbols = line.definition.filled
        equations = line.definition.equations
        assert len(symbols) == template.holes
        assert str(line).endswith(str(line.definition.formula))
        assert line.definition.formula.size == template.size
        if len(equations) == 1 and len(symbols) == len(equations[0].inputs):
            assert str(equations[0].op.formula(*symbols)) == str(line.definition.formula)
            written += 1
    assert written > 10


@pytest.mark.parametrize("transform", ["grad", "jvp", "hessian"])
def test_an_explanation_is_freed_when_nobody_holds_it(transform):
    """Not only when the garbage collector next looks through all objects."""
    gc.collect()
    gc.disable()
    try:
        e = explain(loss, W, X, Y, transform=transform)
        assert len(e.stages) > 1
        line = weakref.ref(e.stages[0])
        del e
        assert line() is None
    finally:
        gc.enable()


def test_stages_are_made_once_also_by_threads():
    e = explain(lambda x: np.sin(x) * x, 1.0)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(e.stages)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stages is seen[0] for stages in seen)


def test_what_a_checkpoint_computes_again_has_the_names_of_the_user():
    @cotan.checkpoint
    def layer(x, w):
        a = np.tanh(x @ w)
        return a * a

    def loss(x, w):
        return np.sum(layer(x, w))

    e = explain(loss, np.ones(3), np.eye(3), argnums=1)
    (again,) = [line for line in e["transpose"].lines if line.inner]
    assert lines(again.inner[0]) == ["t1 = x @ w", "a = tanh(t1)"]
    assert list(map(str, again.inner[0].outputs)) == ["x", "1 - a * a", "a"]
    assert {"a_bar", "t1_bar", "w_bar"} <= {s.name for line in e["transpose"].lines for s in line.definition.symbols}


def test_a_tangent_in_a_loop_that_is_that_of_another_value():
    def loss(x, w):
        def body(c, _):
            a = np.tanh(c * w)
            r = a - 1
            return r * r, None

        r = 2 * cotan.lax.scan(body, x, None, length=3)[0]
        return np.sum(r)

    e = explain(loss, np.ones(3), np.ones(3))
    assert {number: str(same) for number, same in e["linear"].same.items()} == {"0.2": "dr = da"}
    assert {number: str(same) for number, same in e["transpose"].same.items()} == {"0.2": "r_bar = a_bar"}


def test_a_callable_object_is_named_by_its_class():
    class Model:
        def __call__(self, x):
            return np.sin(x) * x

    assert lines(explain(Model(), 1.0)["primal"])[-1] == "Model = t1 * x"

"""Ahead-of-time compilation: Lowered, Compiled, C entries, functions for SciPy, object files that a C program links."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import integrate, ndimage

import cotan
import cotan.numpy as cnp
from cotan import ShapeDtypeStruct, lax
from cotan.engines.native.llvm.jit import machine
from cotan.errors import ArgumentError, ArgumentTypeError, UnsupportedFunctionError


def loss(p, x):
    return cnp.sum(cnp.tanh(x @ p["w"] + p["b"]) ** 2)


P = {"w": np.linspace(-1, 1, 6).reshape(3, 2), "b": np.array([0.1, -0.2])}
X = np.linspace(0, 1, 12).reshape(4, 3)


def test_a_compiled_function_gives_what_the_function_gives():
    compiled = cotan.jit(cotan.value_and_grad(loss)).lower(P, X).compile()
    value, gradient = cotan.value_and_grad(loss)(P, X)
    for _ in range(2):
        found, bars = compiled(P, X)
        np.testing.assert_allclose(found, value, rtol=1e-13)
        assert set(bars) == set(gradient)
        for name, bar in bars.items():
            np.testing.assert_allclose(bar, gradient[name], rtol=1e-12)
    strided = {"w": np.asfortranarray(P["w"]), "b": [*P["b"]] and P["b"][::-1].copy()[::-1]}
    np.testing.assert_allclose(compiled(strided, X)[0], value, rtol=1e-13)


def test_lowering_by_types_alone():
    compiled = cotan.jit(lambda x, y: x * y).lower(ShapeDtypeStruct((3,), float), ShapeDtypeStruct((), float)).compile()
    np.testing.assert_array_equal(compiled(np.arange(3.0), 2.0), [0, 2, 4])
    np.testing.assert_array_equal(compiled(np.arange(3.0), np.float64(2.0)), [0, 2, 4])


def test_static_arguments_are_left_out_of_the_call():
    compiled = cotan.jit(lambda x, n: x**n, static_argnums=1).lower(2.0, 3).compile()
    assert compiled(3.0) == 27.0


def test_keywords():
    compiled = cotan.jit(lambda x, *, k: x - k).lower(1.0, k=2.0).compile()
    assert compiled(5.0, k=1.0) == 4.0
    with pytest.raises(ArgumentError, match="another tree"):
        compiled(5.0)


def test_arguments_of_other_types_are_refused_by_name():
    compiled = cotan.jit(loss).lower(P, X).compile()
    with pytest.raises(ArgumentTypeError, match=r"takes float64\[3,2\] as args\[0\]\['w'\], not float64\[2,2\]"):
        compiled({"w": np.ones((2, 2)), "b": P["b"]}, X)
    with pytest.raises(ArgumentTypeError, match=r"float32\[4,3\]"):
        compiled(P, X.astype(np.float32))
    with pytest.raises(ArgumentError, match="another tree"):
        compiled([P["w"], P["b"]], X)
    with pytest.raises(ArgumentTypeError, match="traced value"):
        cotan.grad(lambda x: compiled(P, x))(X)
    with pytest.raises(ArgumentTypeError, match="not a number"):
        compiled({"w": "w", "b": P["b"]}, X)


def test_texts():
    lowered = cotan.jit(lambda x: cnp.exp(x) * 2.0).lower(np.ones(100))
    assert "exp a" in lowered.as_text()
    assert "define i32 @main" in lowered.as_text("llvm")
    compiled = lowered.compile()
    assert "define" in compiled.as_text()
    assert "ret" in compiled.as_text("asm")
    assert "for 100" in str(compiled.report)
    for of in (lowered, compiled):
        with pytest.raises(ArgumentError, match="no dialect"):
            of.as_text("hlo")


def test_the_address_is_a_function_of_c():
    def f(x, n):
        y = cnp.sin(x)
        return cnp.cumsum(y @ y.T), {"n": n + table[1]}

    table = np.array([1, 41])
    x = np.random.default_rng(0).normal(size=(30, 20))
    compiled = cotan.jit(f).lower(x, 1).compile()
    assert compiled.report.workspace > 0
    entry = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(compiled.address)
    y, n, m = np.empty(900), np.array(1), np.array(0)
    for _ in range(3):
        assert entry(x.ctypes.data, n.ctypes.data, y.ctypes.data, m.ctypes.data) == 0
        np.testing.assert_allclose(y, np.cumsum(np.sin(x) @ np.sin(x).T), rtol=1e-10)
        assert m == 42


# ---- SciPy ------------------------------------------------------------------------------------------------------------------------
def lowered(f, *shapes, dtype=float):
    return cotan.jit(f).lower(*[ShapeDtypeStruct(s, dtype) for s in shapes]).compile()


@pytest.mark.parametrize("signature", [None, "double (double)", "double (double, void *)", "double (int, double *)"])
def test_quad_of_one_number(signature):
    f = lowered(lambda x: cnp.exp(-(x**2)), ()).low_level_callable(signature)
    if signature is not None:
        assert f.signature == signature
    np.testing.assert_allclose(integrate.quad(f, -np.inf, np.inf)[0], np.sqrt(np.pi), rtol=1e-12)


def test_a_function_for_scipy_is_compiled_once(monkeypatch):
    f = lowered(lambda x: cnp.exp(-(x**2)), ())
    compiled = []
    compile_ = type(machine()).compile
    monkeypatch.setattr(type(machine()), "compile", lambda self, *a, **k: (compiled.append(a), compile_(self, *a, **k))[1])
    integrals = [integrate.quad(f.low_level_callable("double (double)"), 0.0, 1.0)[0] for _ in range(5)]
    assert len(set(integrals)) == 1
    first = len(compiled)
    assert first <= 2
    f.low_level_callable("double (double, void *)")
    assert len(compiled) == first + 1


@pytest.mark.parametrize("signature", [None, "double (int, double *)", "double (int, double *, void *)"])
def test_quad_of_several_numbers(signature):
    scalars = lowered(lambda x, a, b: a * x**2 + b, (), (), ()).low_level_callable(signature)
    vector = lowered(lambda v: v[1] * v[0] ** 2 + v[2], (3,)).low_level_callable(signature)
    for f in (scalars, vector):
        np.testing.assert_allclose(integrate.quad(f, 0.0, 2.0, args=(3.0, 4.0))[0], 16.0, rtol=1e-12)
        with pytest.warns(integrate.IntegrationWarning):
            assert np.isnan(integrate.quad(f, 0.0, 2.0, args=(3.0,))[0])  # a number is missing


def test_filters():
    x = np.random.default_rng(0).normal(size=(20, 30))
    spread = lowered(lambda w: cnp.max(w) - cnp.min(w), (9,))
    f = spread.low_level_callable("int (double *, npy_intp, double *, void *)")
    np.testing.assert_array_equal(ndimage.generic_filter(x, f, size=3), ndimage.generic_filter(x, np.ptp, size=3))
    lines = lowered(lambda line: line[:-2] + 2 * line[1:-1] + line[2:], (32,))
    g = lines.low_level_callable("int (double *, intptr_t, double *, intptr_t, void *)")
    np.testing.assert_allclose(
        ndimage.generic_filter1d(x, g, 3, axis=1), ndimage.correlate1d(x, [1.0, 2.0, 1.0], axis=1), rtol=1e-12, atol=1e-13
    )
    shift = lowered(lambda i: i - np.array([0.5, 1.5]), (2,), dtype=np.int64)
    h = shift.low_level_callable("int (npy_intp *, double *, int, int, void *)")
    np.testing.assert_allclose(ndimage.geometric_transform(x, h), ndimage.shift(x, [0.5, 1.5]), rtol=1e-9, atol=1e-12)


def test_functions_that_scipy_cannot_call_are_refused():
    for f, shapes in ((lambda x: x, [(2, 3)]), (lambda x: (x, x), [()]), (lambda x, y: cnp.sum(x) * y, [(3,), ()])):
        with pytest.raises(ArgumentError, match="signatures that suit it: none"):
            lowered(f, *shapes).low_level_callable()
    with pytest.raises(ArgumentError, match=r"signatures that suit it: double \(double\)"):
        lowered(lambda x: x, ()).low_level_callable("float (float)")
    with pytest.raises(ArgumentError):
        lowered(lambda x: x * 2, (), dtype=np.float32).low_level_callable()


# ---- object files -----------------------------------------------------------------------------------------------------------------
COMPILER = shutil.which("cc")
with_a_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (cc)")


def run_c(folder, source, names, libraries=()):
    """The output of a C program, linked with the objects in a folder."""
    (folder / "main.c").write_text(source)
    command = [COMPILER, "-Wall", "-Werror", "main.c", *[f"{name}.o" for name in names], "-o", "run", *libraries]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return subprocess.run(["./run"], cwd=folder, capture_output=True, text=True, check=True).stdout


def libraries_of(header):
    """The libraries that a header names for linking."""
    line = next(line for line in header.read_text().splitlines() if "Link with" in line)
    return line.partition("Link with ")[2].rstrip(".").split()


@with_a_compiler
def test_value_gradient_and_hessian_product_in_a_c_program(tmp_path):
    def f(x, a):
        return cnp.sum(a * cnp.sin(x) ** 2) + x[0] * x[1] / x[2]

    n = 50
    x, a, v = (np.random.default_rng(k).normal(size=n) for k in range(3))
    functions = {"value": (f, ()), "gradient": (cotan.grad(f), ()), "product": (lambda x, a, v: cotan.hvp(lambda x: f(x, a), x, v), (v,))}
    libraries = {}
    for name, (g, more) in functions.items():
        _, header = cotan.jit(g).lower(x, a, *more).compile().export_object(tmp_path / f"{name}.o")
        libraries |= dict.fromkeys(libraries_of(header))
    numbers = {name: ", ".join(float(t).hex() for t in array) for name, array in (("x", x), ("a", a), ("v", v))}
    source = f"""
        #include <stdio.h>
        #include "value.h"
        #include "gradient.h"
        #include "product.h"
        double x[] = {{{numbers["x"]}}}, a[] = {{{numbers["a"]}}}, v[] = {{{numbers["v"]}}};
        int main(void) {{
            double y, g[{n}], h[{n}];
            if (value(x, a, &y) != COTAN_OK || gradient(x, a, g) != COTAN_OK || product(x, a, v, h) != COTAN_OK) return 1;
            printf("%a", y);
            for (int k = 0; k < {n}; k++) printf(" %a %a", g[k], h[k]);
            return 0;
        }}"""
    found = [float.fromhex(word) for word in run_c(tmp_path, source, functions, libraries).split()]
    np.testing.assert_allclose(found[0], f(x, a), rtol=1e-13)
    np.testing.assert_allclose(found[1::2], cotan.grad(f)(x, a), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(found[2::2], functions["product"][0](x, a, v), rtol=1e-11, atol=1e-14)


@with_a_compiler
def test_loops_constants_and_workspace_in_a_c_program(tmp_path):
    table = np.arange(30.0).reshape(5, 6)[:, ::-1]

    class State(NamedTuple):
        n: Any
        z: Any

    def f(s, flags):
        count, x = lax.while_loop(lambda c: c[0] < s.n, lambda c: (c[0] + 1, cnp.cos(c[1]) * 0.5), (0, table))
        return {"z": s.z * s.z, "total": cnp.sum(x, axis=0) + cnp.sum(x), "any": cnp.any(flags), "count": count}

    s, flags = State(np.int32(7), np.array([1 + 2j, 3j])), np.array([False, True])
    compiled = cotan.jit(f).lower(s, flags).compile()
    path, header = compiled.export_object(tmp_path / "code.o", tmp_path / "other.h", name="step")
    text = header.read_text()
    assert "int32_t step(const int32_t *args_0_n, const double *args_0_z, const uint8_t *args_1, uint8_t *result_any" in text
    source = """
        #include <stdio.h>
        #include "other.h"
        int main(void) {
            int32_t n = 7; int64_t count; double z[] = {1, 2, 0, 3}, w[4], total[6]; uint8_t flags[] = {0, 1}, any;
            if (step(&n, z, flags, &any, &count, total, w) != COTAN_OK) return 1;
            printf("%d %d", any, (int)count);
            for (int k = 0; k < 6; k++) printf(" %a", total[k]);
            for (int k = 0; k < 4; k++) printf(" %a", w[k]);
            return 0;
        }"""
    words = run_c(tmp_path, source, ["code"], libraries_of(header)).split()
    expected = f(s, flags)
    assert words[:2] == ["1", "7"]
    found = [float.fromhex(word) for word in words[2:]]
    np.testing.assert_allclose(found[:6], expected["total"], rtol=1e-12)
    np.testing.assert_allclose(found[6:], np.asarray(expected["z"]).view(float), rtol=1e-15)
    assert path.name == "code.o"


def test_a_product_of_matrices_declares_its_blas(tmp_path):
    compiled = cotan.jit(lambda x: x @ x).lower(np.ones((40, 40))).compile()
    path, header = compiled.export_object(tmp_path / "f.o")
    assert libraries_of(header) == ["-lblas", "-lm"]
    assert b"dgemm_" in path.read_bytes()
    assert b"cotan_" not in path.read_bytes()


LAPACK = """
    #include <stdint.h>
    void dgetrf_(const int32_t *m, const int32_t *n, double *a, const int32_t *lda, int32_t *pivots, int32_t *info) {
        *info = 0;
        for (int32_t k = 0; k < *n; k++) {
            int32_t p = k;
            for (int32_t i = k + 1; i < *m; i++)
                if (a[i + k * *lda] * a[i + k * *lda] > a[p + k * *lda] * a[p + k * *lda]) p = i;
            pivots[k] = p + 1;
            for (int32_t j = 0; j < *n; j++) {
                double kept = a[k + j * *lda];
                a[k + j * *lda] = a[p + j * *lda];
                a[p + j * *lda] = kept;
            }
            for (int32_t i = k + 1; i < *m; i++) {
                a[i + k * *lda] /= a[k + k * *lda];
                for (int32_t j = k + 1; j < *n; j++) a[i + j * *lda] -= a[i + k * *lda] * a[k + j * *lda];
            }
        }
    }
    void dgetrs_(const char *trans, const int32_t *n, const int32_t *columns, const double *a, const int32_t *lda, const int32_t *pivots,
                 double *b, const int32_t *ldb, int32_t *info) {
        *info = *trans != 'N';
        for (int32_t c = 0; c < *columns; c++, b += *ldb) {
            for (int32_t i = 0; i < *n; i++) {
                double kept = b[i];
                b[i] = b[pivots[i] - 1];
                b[pivots[i] - 1] = kept;
            }
            for (int32_t i = 0; i < *n; i++)
                for (int32_t j = 0; j < i; j++) b[i] -= a[i + j * *lda] * b[j];
            for (int32_t i = *n - 1; i >= 0; i--) {
                for (int32_t j = i + 1; j < *n; j++) b[i] -= a[i + j * *lda] * b[j];
                b[i] /= a[i + i * *lda];
            }
        }
    }
"""


@with_a_compiler
def test_factorizations_in_a_c_program_take_integers_of_32_bits(tmp_path):
    """Whatever width those have that this process calls."""
    n = 12
    a, b = np.random.default_rng(0).normal(size=(3, n, n)), np.random.default_rng(1).normal(size=(3, n, 2))
    _, header = cotan.jit(cnp.linalg.solve).lower(a, b).compile().export_object(tmp_path / "solve.o")
    assert "-llapack" in libraries_of(header)
    numbers = [", ".join(float(t).hex() for t in x.ravel()) for x in (a, b)]
    source = f"""{LAPACK}
        #include <stdio.h>
        #include "solve.h"
        double a[] = {{{numbers[0]}}}, b[] = {{{numbers[1]}}}, x[{b.size}];
        int main(void) {{
            if (solve(a, b, x) != COTAN_OK) return 1;
            for (int k = 0; k < {b.size}; k++) printf("%a ", x[k]);
            return 0;
        }}"""
    found = [float.fromhex(word) for word in run_c(tmp_path, source, ["solve"], ["-lm"]).split()]
    np.testing.assert_allclose(np.reshape(found, b.shape), np.linalg.solve(a, b), rtol=1e-9)


def test_what_cannot_be_exported_is_refused(tmp_path):
    compiled = cotan.jit(lambda x: cotan.pure_callback(np.sin, ShapeDtypeStruct((2,), float), x)).lower(np.ones(2)).compile()
    with pytest.raises(UnsupportedFunctionError, match="call back into Python"):
        compiled.export_object(tmp_path / "f.o")
    simple = cotan.jit(lambda x: x * 2.0).lower(1.0).compile()
    with pytest.raises(ArgumentError, match="not a name of C"):
        simple.export_object(tmp_path / "my-f.o")
    assert not list(tmp_path.iterdir())


def test_a_compiled_function_in_partial_and_threads():
    compiled = functools.partial(cotan.jit(lambda a, x: a * x).lower(1.0, np.ones(3)).compile(), 2.0)
    np.testing.assert_array_equal(compiled(np.arange(3.0)), [0, 2, 4])


def test_methods_are_lowered_with_their_instance():
    class Model:
        @cotan.jit
        def __call__(self, x):
            return x * self.w

        w = 3.0

    model = Model()
    assert Model.__call__.__get__(model).lower(1.0).compile()(2.0) == 6.0


def test_a_function_of_a_traced_value_has_no_code_of_its_own():
    with pytest.raises(ArgumentTypeError, match="closes over a traced value"):
        cotan.grad(lambda a: cotan.jit(lambda x: a * x).lower(1.0) and a)(1.0)


def test_what_the_engine_cannot_write_is_said_and_other_errors_are_their_own(monkeypatch):
    from cotan.engines.native.aot import c_entry
    from cotan.engines.native.status import UnsupportedError

    lowered = cotan.jit(lambda x: x * 2.0).lower(1.0)
    for raised, expected in ((UnsupportedError("that"), cotan.errors.UnsupportedFunctionError), (OSError("no room"), OSError)):

        def fail(*_, raised=raised, **__):
            raise raised

        monkeypatch.setattr(c_entry, "LoweredProgram", fail)
        with pytest.raises(expected):
            lowered.compile()

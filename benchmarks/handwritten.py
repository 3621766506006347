"""Programs written by hand: in C, compiled here and now by the machine's own compiler for its own processor, and in Numba.

They are what a good programmer would write for one program and one derivative: adjoints by hand, blocks that stay in the cache,
intermediate results kept where that is best, no memory asked for. The C has one thread; its sines and exponentials are those of glibc's
vector library where there is one. Answers go into arrays that are used again.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contestant, contestant, optional

SOURCES = Path(__file__).resolve().parent / "c"
FLAGS = ("-std=gnu17", "-Ofast", "-march=native", "-fopenmp-simd", "-shared", "-fPIC")
# What not every compiler knows: full-width vectors, and the vector library. Without them the code is the same, and slower.
WISHES = (("-mprefer-vector-width=512", "-lmvec"), ("-lmvec",), ())
NO_COMPILER = "no C compiler"


@cache
def library(name: str) -> ctypes.CDLL | None:
    """The functions of a file of C, or None where nothing compiles it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        for wishes in WISHES:
            result = folder / f"{name}.so"
            command = [compiler, *FLAGS, str(SOURCES / f"{name}.c"), "-o", str(result), *wishes, "-lm"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return ctypes.CDLL(str(result))
        return None
    finally:
        shutil.rmtree(folder)


def in_c(place: str, sizes: Sequence[int], arguments: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> Contestant:
    """The function at ``file.function``, given sizes, arguments and arrays of the shapes of its answers."""
    file, name = place.split(".")
    functions = library(file)
    if functions is None:
        return NO_COMPILER
    given = [np.ascontiguousarray(argument) for argument in arguments]
    results = tuple(np.empty_like(answer) for answer in answers)
    function = functions[name]
    function.restype = None
    words = [*(ctypes.c_long(size) for size in sizes), *(ctypes.c_void_p(array.ctypes.data) for array in (*given, *results))]

    def call(kept: Any = given) -> Any:  # the arguments must live as long as their addresses
        function(*words)
        return results[0] if len(results) == 1 else results

    return call


def in_numba(make: Callable[[Any], Callable[..., Any]], arguments: Sequence[np.ndarray]) -> Contestant:
    """What ``make(numba)`` compiles, on these arguments."""

    def built(numba: Any) -> Callable[[], Any]:
        function = make(numba)
        return lambda: function(*arguments)

    return contestant(built, optional("numba"))


def waves(numba: Any) -> Callable[..., Any]:
    """The gradient of `fusion.waves`."""

    @numba.njit(fastmath=True, parallel=True)
    def gradient(x: Any) -> Any:
        x_bar = np.empty_like(x)
        for i in numba.prange(x.size):
            v = x[i]
            t = np.tanh(v)
            x_bar[i] = np.exp(-v * v) * (np.cos(v) - 2.0 * v * np.sin(v)) + 1.0 - t * t
        return x_bar

    return gradient


def axpy_chain(numba: Any) -> Callable[..., Any]:
    """The gradient of `fusion.axpy_chain`."""

    @numba.njit(fastmath=True, parallel=True)
    def gradient(x: Any) -> Any:
        x_bar = np.empty_like(x)
        for i in numba.prange(x.size):
            y = x[i]
            for k in range(6):
                y = y * (1.0 + 0.1 * k) + x[i]
            y_bar, total = 2.0 * y, 0.0
            for k in range(5, -1, -1):
                total += y_bar
                y_bar *= 1.0 + 0.1 * k
            x_bar[i] = total + y_bar
        return x_bar

    return gradient


def lorenz(numba: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`loops.lorenz_end` and the gradient of the sum of its coordinates."""
    compiled = numba.njit(fastmath=True)
    h = 0.01

    @compiled
    def velocity(x: float, y: float, z: float) -> tuple[float, float, float]:
        return 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z

    @compiled
    def pulled(x: float, y: float, z: float, a: float, b: float, c: float) -> tuple[float, float, float]:
        return -10.0 * a + (28.0 - z) * b + y * c, 10.0 * a - b + x * c, -x * b - 8.0 / 3.0 * c

    @compiled
    def step(x: float, y: float, z: float, p: Any) -> tuple[float, float, float]:
        p[0], p[1], p[2] = x, y, z
        a, b, c = velocity(x, y, z)
        sa, sb, sc = a, b, c
        for m in range(1, 4):
            far = h if m == 3 else h / 2
            u, v, w = x + far * a, y + far * b, z + far * c
            p[3 * m], p[3 * m + 1], p[3 * m + 2] = u, v, w
            a, b, c = velocity(u, v, w)
            weight = 1.0 if m == 3 else 2.0
            sa, sb, sc = sa + weight * a, sb + weight * b, sc + weight * c
        return x + h / 6 * sa, y + h / 6 * sb, z + h / 6 * sc

    @compiled
    def value(state: Any) -> Any:
        x, y, z = state[0], state[1], state[2]
        p = np.empty(12)
        for _ in range(1000):
            x, y, z = step(x, y, z, p)
        return np.array([x, y, z])

    @compiled
    def gradient(state: Any) -> Any:
        x, y, z = state[0], state[1], state[2]
        p = np.empty((1000, 12))
        for t in range(1000):
            x, y, z = step(x, y, z, p[t])
        i, j, k = 1.0, 1.0, 1.0
        for t in range(999, -1, -1):
            a, b, c, sa, sb, sc = 0.0, 0.0, 0.0, i, j, k
            for m in range(3, -1, -1):
                weight = h / 3 if 0 < m < 3 else h / 6
                far = h if m == 2 else h / 2
                q = p[t]
                a, b, c = pulled(q[3 * m], q[3 * m + 1], q[3 * m + 2], weight * i + far * a, weight * j + far * b, weight * k + far * c)
                sa, sb, sc = sa + a, sb + b, sc + c
            i, j, k = sa, sb, sc
        return np.array([i, j, k])

    return value, gradient


def nbody(numba: Any) -> Callable[..., Any]:
    """The gradient of `loops.nbody` by places and velocities; one thread adds what another would have to wait for."""

    @numba.njit(fastmath=True)
    def gradient(positions: Any, velocities: Any, masses: Any) -> Any:
        n, steps = positions.shape[0], 20
        x, v = positions.T.copy(), velocities.T.copy()
        kept = np.empty((steps, 3, n))
        for t in range(steps):
            x += 0.005 * v
            kept[t] = x
            for i in range(n):
                a, b, c = 0.0, 0.0, 0.0
                for j in range(n):
                    dx, dy, dz = x[0, j] - x[0, i], x[1, j] - x[1, i], x[2, j] - x[2, i]
                    s = dx * dx + dy * dy + dz * dz + 0.01
                    u = masses[j] / (s * np.sqrt(s))
                    a, b, c = a + u * dx, b + u * dy, c + u * dz
                v[0, i] += 0.01 * a
                v[1, i] += 0.01 * b
                v[2, i] += 0.01 * c
            x += 0.005 * v
        x_bar, v_bar = 2.0 * x, np.zeros((3, n))
        for t in range(steps - 1, -1, -1):
            v_bar += 0.005 * x_bar
            x = kept[t]
            for i in range(n):
                a, b, c = 0.01 * v_bar[0, i], 0.01 * v_bar[1, i], 0.01 * v_bar[2, i]
                gx, gy, gz = 0.0, 0.0, 0.0
                for j in range(n):
                    dx, dy, dz = x[0, j] - x[0, i], x[1, j] - x[1, i], x[2, j] - x[2, i]
                    over = 1.0 / (dx * dx + dy * dy + dz * dz + 0.01)
                    u = masses[j] * over * np.sqrt(over)
                    w = 3.0 * u * over * (a * dx + b * dy + c * dz)
                    px, py, pz = u * a - w * dx, u * b - w * dy, u * c - w * dz
                    x_bar[0, j] += px
                    x_bar[1, j] += py
                    x_bar[2, j] += pz
                    gx, gy, gz = gx + px, gy + py, gz + pz
                x_bar[0, i] -= gx
                x_bar[1, i] -= gy
                x_bar[2, i] -= gz
            v_bar += 0.005 * x_bar
        return x_bar.T, v_bar.T

    return gradient

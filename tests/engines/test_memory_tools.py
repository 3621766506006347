"""Compiled code as an object file under valgrind and AddressSanitizer: it stays within arrays of the exact required size.

valgrind has no AVX-512, so the code is made for x86-64-v3.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest

EXPORT = """
import sys
import numpy as np
import cotan, cotan.numpy as cnp
from cotan import lax
from cotan.ops.indexing import Gather, Scatter

x, at = np.linspace(-1.0, 1.0, 37), np.array([0, -1, 36, 37, 10**12, -(2**63), 2**63 - 1, 5])
table = np.linspace(0.0, 1.0, 33 * 7).reshape(33, 7)


def moved(x, at):
    read = [Gather(mode)(x, at) for mode in ("raise", "promise_in_bounds", "clip", "wrap", "fill", "zero")]
    written = [Scatter(kind, mode)(x, read[2], at) for kind in ("add", "set", "max") for mode in ("raise", "clip", "wrap", "drop")]
    return cnp.stack(read[:4]), cnp.nan_to_num(cnp.stack(read[4:]), nan=-1.0), cnp.stack(written)


def kept(x, n):
    body = lambda i, y: cnp.sin(y) + 0.1 * y[0] * y
    return cnp.sum(lax.fori_loop(0, n, body, x) ** 2)


def in_place(x, n):
    for i in range(5):
        x = x.at[i].set(cnp.sin(x[i - 1]) + x[i])
    y = lax.fori_loop(1, 37, lambda i, y: y.at[i].add(0.5 * y[i - 1]), x)
    return lax.dynamic_update_slice(y, y[:4] * 2.0, (n,)), lax.dynamic_slice(y, (-n,), (9,))


def rows(table):
    padded = cnp.pad(table, ((1, 2), (0, 3)))
    return cnp.sum(cnp.exp(-padded), axis=0), padded[::-2, 1::3], cnp.concatenate([table[3:], table[:5]]).T, table.T @ table


def export(name, f, *arguments):
    cotan.jit(f).lower(*arguments).compile().export_object(sys.argv[1] + "/" + name + ".o")
    results = cotan.tree.leaves(cotan.jit(f, engine="numpy" if name != "moved" else "native")(*arguments))
    with open(sys.argv[1] + "/main.c", "a") as file:
        arrays = [np.ascontiguousarray(a) for a in (*arguments, *results)]
        n_in = len(arguments)
        print(f"static void run_{name}(void) {{", file=file)
        for k, a in enumerate(arrays):
            a = a.reshape(-1)
            kind = {"f": "double", "i": "int64_t"}[a.dtype.kind]
            numbers = ", ".join(float(v).hex() if a.dtype.kind == "f" else f"(int64_t)0x{int(v) % 2**64:x}ull" for v in a)
            print(f"  static const {kind} c{k}[] = {{{numbers}}}; {kind} *p{k} = malloc(sizeof c{k});", file=file)
            if k < n_in:
                print(f"  memcpy(p{k}, c{k}, sizeof c{k});", file=file)
        pointers = ", ".join(f"p{k}" for k in range(len(arrays)))
        print(f"  for (int t = 0; t < 2; t++) if ({name}({pointers}) != COTAN_OK) exit(2);", file=file)
        for k, a in enumerate(arrays):
            if k >= n_in:
                print(f"  for (int j = 0; j < {a.size}; j++) if (!(fabs((double)p{k}[j] - (double)c{k}[j]) <= 1e-9)) {{", file=file)
                print(f'    printf("{name} {k} %d: %g %g\\\\n", j, (double)p{k}[j], (double)c{k}[j]); exit(3); }}', file=file)
            print(f"  free(p{k});", file=file)
        print("}", file=file)


names = ["moved", "gradient", "in_place", "rows", "rows_gradient"]
with open(sys.argv[1] + "/main.c", "w") as file:
    for line in ["stdio.h", "stdlib.h", "string.h", "math.h", "stdint.h"]:
        print(f"#include <{line}>", file=file)
    for name in names:
        print(f'#include "{name}.h"', file=file)
export("moved", moved, x, at)
export("gradient", cotan.grad(kept), x, np.int64(11))
export("in_place", in_place, x, np.int64(34))
export("rows", lambda t: rows(t)[:3], table)
export("rows_gradient", cotan.grad(lambda t: sum(cnp.sum(y**2) for y in rows(t)[:3])), table)
with open(sys.argv[1] + "/main.c", "a") as file:
    print("int main(void) {", *[f"run_{name}();" for name in names], 'puts("right"); return 0; }', file=file)
"""
needs_tools = pytest.mark.skipif(
    platform.machine() != "x86_64" or not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="gcc on x86-64 Linux"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    environment = {**os.environ, "COTAN_CPU": "x86-64-v3", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(folder)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


def built(folder, *options):
    objects = sorted(str(p) for p in folder.glob("*.o"))
    name = f"main{len(options)}"
    command = ["gcc", "-O1", "-g", *options, "main.c", *objects, "-o", name, "-l:libmvec.so.1", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return str(folder / name)


def ran(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stdout + done.stderr


@needs_tools
def test_an_exported_object_is_clean_under_address_sanitizer(exported):
    ran(built(exported, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))


@needs_tools
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind here")
def test_an_exported_object_is_clean_under_valgrind(exported):
    ran("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", built(exported))

"""Compiled code in memory is released with the last function that uses it."""

import gc
import os
import subprocess
import sys

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan.engines.native.cache.size_templates import templates
from cotan.engines.native.llvm.jit import LinkedModule

COUNT = 20


def forget():
    """The code in memory for equal or similar IR."""
    templates.families.clear()
    templates.singles.clear()


def codes():
    """How many modules there are that may go."""
    gc.collect()
    return sum(type(x) is LinkedModule for x in gc.get_objects())


def test_code_of_functions_that_nobody_has_is_given_back():
    def function(k):
        f = cotan.jit(lambda x: sum(cnp.sin(x) * x[j % 3] for j in range(k)) + x[0])
        np.testing.assert_allclose(f(x), sum(np.sin(x) * x[j % 3] for j in range(k)) + x[0])
        return f

    x = np.arange(3.0)
    function(COUNT)  # brings what all calls share
    forget()
    before = codes()
    kept = [function(k) for k in range(1, COUNT)]
    assert codes() >= before + COUNT // 2
    forget()
    assert codes() >= before + COUNT // 2  # the functions have it still
    np.testing.assert_allclose(kept[0](np.ones(3)), np.sin(1.0) + 1.0)
    kept.clear()
    assert codes() <= before


FIRST_COMPILATIONS = """
import threading
import numpy as np
import cotan
import cotan.numpy as cnp

functions = [cotan.jit(lambda x, k=k: cnp.sum(cnp.sin(x) * x + k)) for k in range(3)]
x = np.linspace(0.0, 1.0, 30_000)
found = [[] for _ in range(8)]
ready = threading.Barrier(8)


def work(results):
    ready.wait()
    for _ in range(20):
        for f in functions:
            results.append(float(f(x)))


threads = [threading.Thread(target=work, args=(results,)) for results in found]
for t in threads:
    t.start()
for t in threads:
    t.join()
expected = [float(np.sum(np.sin(x) * x + k)) for k in range(3)] * 20
for results in found:
    np.testing.assert_allclose(results, expected, rtol=1e-12)
"""


def test_first_compilations_by_many_threads_at_once_make_one_pool():
    """What code of all threads refers to by its address is made once: two pools, of which one was freed, ended the process."""
    for _ in range(4):
        settings = {**os.environ, "COTAN_CACHE": "0"}
        subprocess.run([sys.executable, "-c", FIRST_COMPILATIONS], check=True, env=settings, timeout=120)

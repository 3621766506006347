"""The checked build: with COTAN_CHECK=1 no random program accesses memory outside of an array; a wrong index is found and does no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAMS = 50
RANDOM = """
import json, sys, warnings
warnings.simplefilter("ignore")
from tests.engines.fuzz import outcome
print(json.dumps({seed: outcome(seed) for seed in range(int(sys.argv[1]))}))
"""
WRONG = """
import json, warnings
import numpy as np
import cotan, cotan.numpy as cnp
from cotan import lax
from cotan.core.op import op
from cotan.errors import EngineError
from cotan.ops.families import Structural


@op
class Beyond(Structural):
    '''Its defining equation reads `by` elements too far.'''

    by: int

    def type_rule(self, x):
        return x.with_shape(x.shape)

    def impl(self, x):
        return np.roll(x, -self.by)

    def element(self, e, i, x):
        return x((i[0] + self.by,))


def found(f, *xs):
    try:
        return np.asarray(cotan.jit(f, engine="native")(*xs)).tolist()
    except EngineError as error:
        return str(error).splitlines()[0]


x, many = np.arange(5.0), np.arange(400_000.0)
print(json.dumps({
    "small": found(lambda x: Beyond(1)(x) * 2.0, x),
    "negative": found(lambda x: Beyond(-1)(x) * 2.0, x),
    "in a nest": found(lambda x: cnp.sin(Beyond(2)(x)), np.arange(300.0)),
    "in chunks": found(lambda x: cnp.sum(cnp.sin(Beyond(1)(x))), many),
    "in a loop": found(lambda x: lax.fori_loop(0, 3, lambda k, y: Beyond(1)(y) + 1.0, x), np.arange(300.0)),
    "afterwards": found(lambda x: x * 2.0, x),
    "right": found(lambda x: Beyond(0)(x) * 2.0, x),
}))
"""


def in_checked_build(program, *arguments):
    environment = {**os.environ, "COTAN_CHECK": "1", "COTAN_CACHE": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_random_programs_stay_within_their_arrays():
    outcomes = in_checked_build(RANDOM, str(PROGRAMS))
    assert {seed: note for seed, (verdict, note) in outcomes.items() if verdict == "different"} == {}
    assert sum(verdict == "same" for verdict, _ in outcomes.values()) > PROGRAMS // 2


def test_a_wrong_index_is_found_and_its_op_named():
    found = in_checked_build(WRONG)
    assert found.pop("afterwards") == found.pop("right") == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert {name: "about to leave the memory of an array, at beyond[by=" in text for name, text in found.items()} == dict.fromkeys(
        found, True
    )

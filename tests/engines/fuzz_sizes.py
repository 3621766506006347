"""Random programs on symbolic sizes: code that serves other sizes must be the code that is written for these sizes.

The programs are those of `random_programs`. Each different length among the axes of the inputs is a variable. The program is staged and
lowered on symbols once, and for other lengths compared with the program that is staged and lowered for these: the IR must be the same text.
Where it is not (two numbers that are equal by chance are one value in exact IR), the results must be equal.

``python -m tests.engines.fuzz_sizes --programs 1000 --first 0`` prints the seeds that differ.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from cotan.api.signature import Signature, Staged
from cotan.api.stage import stage_call
from cotan.core import tree
from cotan.core.sizes import SizeLog
from cotan.core.tracing import type_of
from cotan.core.types import ArrayType, array_type
from cotan.engines import NATIVE, runner
from cotan.engines.native.pipeline import LoweredProgram
from cotan.engines.native.sized import SizedCode, UnsizedError
from cotan.testing.progress import Progress

from . import further_steps
from .random_programs import Step, made

__all__ = ["differences", "exact", "outcome", "sized"]

assert further_steps.ADDED, "importing them adds them"
MOST_ELEMENTS = 200_000
Lengths = dict[int, int]


def staged(f: Callable[..., Any], types: Sequence[ArrayType]) -> Staged:
    """A function of arrays staged at these types."""
    signature = Signature(tree.structure(((0,) * len(types), {})), tuple(types), ())
    return stage_call(f, (), {}, "jit", "f", signature)


def exact(f: Callable[..., Any], inputs: Sequence[Any]) -> Staged:
    return staged(f, [type_of(x) for x in inputs])


def sized(f: Callable[..., Any], inputs: Sequence[Any], lengths: Sequence[int]) -> SizedCode:
    """The code of a function of these inputs, where each of these lengths is a variable.

    Raises:
        UnsizedError: there is none.
    """
    log = SizeLog()
    try:
        symbols = {n: log.variable(n) for n in lengths}
        types = [type_of(x) for x in inputs]
        symbolic = [array_type(tuple([symbols.get(n, n) for n in t.shape]), t.dtype) for t in types]
        known, other = exact(f, inputs), staged(f, symbolic)
        if log.fixed:
            raise UnsizedError("the trace looks at a size")
        if len(known.constants) != len(other.constants) or not all(map(same, known.constants, other.constants)):
            raise UnsizedError("other constants")
        return SizedCode(other.program, known.program, known.constants, log, NATIVE)
    finally:
        log.close()


def same(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()


def resized(x: np.ndarray, lengths: Lengths) -> np.ndarray:
    """An array with other lengths, of the same numbers again and again."""
    shape = tuple([lengths.get(n, n) for n in x.shape])
    return np.resize(np.ascontiguousarray(x), shape) if x.size else np.ones(shape, x.dtype)


def differences(f: Callable[..., Any], inputs: Sequence[Any], code: SizedCode, lengths: Lengths) -> str:
    """What code for several sizes does for these lengths: "another path", "agrees" in its text or "equals" in its results, or how not."""
    sizes = list(lengths.values())
    if code.instance(sizes) is None:
        return "another path"
    xs = [resized(x, lengths) for x in inputs]
    try:
        own = exact(f, xs)
    except Exception as error:
        return f"different: exact code has {type(error).__name__}"
    if code.agrees(sizes, LoweredProgram(own.program)):
        return "agrees"
    expected = results(lambda: runner(NATIVE)(own.program)([*own.constants, *xs]))
    caller = code.caller(sizes, False)
    found = results(lambda: caller.call(xs)) if caller is not None else None
    if isinstance(expected, str) or isinstance(found, str) or found is None:
        return "equals" if expected == found else f"different: {found}, not {expected}"
    alike = len(expected) == len(found) and all(map(close, expected, found))
    return "equals" if alike else "different: results"


def results(run: Callable[[], Sequence[Any]]) -> list[Any] | str:
    """The results of a call, or the class of its error."""
    try:
        return list(run())
    except Exception as error:
        return type(error).__name__


def close(x: Any, y: Any) -> bool:
    a, b = np.asarray(x), np.asarray(y)
    return a.shape == b.shape and a.dtype == b.dtype and np.allclose(a.astype(complex), b.astype(complex), 1e-6, 1e-6, equal_nan=True)


def number(self: Step, low: Any, high: Any) -> Any:
    """`Step.number` by arithmetic, which symbols take part in."""
    return low + self.random.randrange(1 << 30) % (high - low + 1)


def outcome(seed: int) -> Counter[str]:
    """How often each result of `differences` occurs for the program of a seed."""
    with patch.object(Step, "number", number), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(seed)
        f, given = made(seed)
        shift = int(rng.choice([0, 33, 40, 70]))
        inputs = [resized(x.astype(x.dtype.newbyteorder("=")), {n: n + shift for n in x.shape if n > 1}) for x in given]
        lengths = sorted({n for x in inputs for n in x.shape if n > 1})
        if not lengths or sum(x.size for x in inputs) > MOST_ELEMENTS:
            return Counter({"passed over": 1})
        try:
            code = sized(f, inputs, lengths)
        except Exception:  # the program looks at its sizes, or is no program of these sizes
            return Counter({"no code": 1})
        found = Counter({"code": 1})
        for trial in trials(rng, lengths):
            if sum(resized_count(x, trial) for x in inputs) <= MOST_ELEMENTS:
                found[differences(f, inputs, code, trial)] += 1
        return found


def resized_count(x: np.ndarray, lengths: Lengths) -> int:
    return int(np.prod([lengths.get(n, n) for n in x.shape], dtype=object))


def trials(rng: np.random.Generator, lengths: Sequence[int]) -> list[Lengths]:
    """Other lengths: near, far, equal to each other, tiny."""
    near = [{n: max(n + int(d), 0) for n, d in zip(lengths, rng.integers(-9, 10, len(lengths)), strict=True)} for _ in range(12)]
    one = [{**dict(zip(lengths, lengths, strict=True)), n: m} for n in lengths for m in (n + 1, n + 8, 2 * n, max(lengths), min(lengths))]
    every: list[Callable[[int], int]] = [
        lambda n: n + 1,
        lambda n: 2 * n,
        lambda n: 5 * n + 3,
        lambda _: max(lengths),
        lambda _: 1,
        lambda _: 0,
    ]
    random = [{n: int(rng.integers(1, 90)) for n in lengths} for _ in range(4)]
    return [*near, *one, *[{n: change(n) for n in lengths} for change in every], *random]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--programs", type=int, default=1000)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    progress = Progress("fuzz of sizes")
    for seed in range(options.first, options.first + options.programs):
        progress.show(f"seed {seed}, {sum(total.values())} comparisons")
        found = outcome(seed)
        total += found
        for verdict in found:
            if verdict.startswith("different"):
                progress.clear()
                print(f"seed {seed}: {verdict}", flush=True)
    progress.clear()
    print(dict(total))
    return int(any(verdict.startswith("different") for verdict in total))


if __name__ == "__main__":
    raise SystemExit(main())

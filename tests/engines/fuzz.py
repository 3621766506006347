"""A fuzzer of the native engine: random programs of all kinds of ops, control flow and transformations, on arrays of any dtype and layout.

A program is its seed. It runs on the NumPy engine and on the native one, and the results must be equal up to rounding. The effect of
rounding is measured: the NumPy engine runs the program again on inputs changed in their last places. If that changes the result a lot (a
comparison flips, a pole is near), the program proves nothing and is skipped. Before a difference is reported, the steps of the program are
also rounded in other ways (`rounding.noisy`), since integer inputs cannot be changed a little. Signs and orders that docs/compiling.md
leaves open are varied too (`open_ways`); a program that depends on them is skipped.

Then some programs run again: on one thread, which may round differently; twice on two, with equal bits; from four Python threads at once.
Some become the body of a loop whose derivative is taken outside of the compiled code, so that its halves are compiled separately.

``python -m tests.engines.fuzz --programs 1000 --first 0`` prints the seeds that differ and how to run each alone (``--first SEED --programs
1 --show``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.program import Program
from cotan.engines.native.options import codegen_options
from cotan.engines.native.runtime.thread_pool import limited
from cotan.errors import CotanError
from cotan.testing.progress import Progress

from . import further_steps, linear_steps
from .random_programs import STEPS, made
from .rounding import noisy

__all__ = ["Outcome", "made", "outcome"]

assert further_steps.ADDED, "importing them adds them"
assert linear_steps.ADDED
NUDGE = 1e-13
"""How much the inputs are changed to see how much rounding may change the results."""
LARGE = 1e12
OFTEN = 1000
CLOSER_LOOKS = 8
"""How often inputs are changed where the engines differ, and by how much more: a comparison that turns may take many tries."""


# ---- comparison ----------------------------------------------------------------------------------------------------------------
class Outcome(NamedTuple):
    """The outcome of a program: "same", "passed over" or "different", and a word on it."""

    verdict: str
    note: str = ""


def nudged(x: np.ndarray, seed: int, times: float = 1.0) -> np.ndarray:
    """Floats, each changed in its last places."""
    if x.dtype.kind not in "fc":
        return x
    size = {8: NUDGE, 4: 1e-6, 2: 1e-3}[x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1)]
    return (x * (1 + times * size * np.random.default_rng(seed).uniform(-1, 1, x.shape))).astype(x.dtype)


def outcome(seed: int) -> Outcome:
    """Run the program of a seed on both engines."""
    f, inputs = made(seed)
    kept = [x.copy() for x in inputs]
    native, numpy = cotan.jit(f, engine="native"), cotan.jit(f, engine="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected, *others = [numpy(*xs) for xs in (inputs, *[[nudged(x, k) for x in inputs] for k in (1, 2)])]
        except CotanError as error:
            return Outcome("passed over", f"{type(error).__name__}: {error}")
        except np.linalg.LinAlgError as error:
            return Outcome("passed over", str(error))
        found = native(*inputs)
        unit = coarsest(cotan.stage(f)(*inputs))
        result = judged(found, expected, others, unit)
        if result.verdict == "different":
            others = [numpy(*[nudged(x, k, 10.0) for x in inputs]) for k in range(3, 3 + CLOSER_LOOKS)]
            for k in range(CLOSER_LOOKS):
                with noisy(k, unit):
                    others.append(cotan.jit(f, engine="numpy")(*inputs))
            result = judged(found, expected, others, unit)
        if result.verdict == "same" and seed % AGAIN == 0:
            result = again(f, native, inputs, found, expected, others, unit)
        if result.verdict == "same" and seed % AGAIN == 1:
            result = apart(f, inputs, unit, 1 + seed % 2, (False, True, 1)[seed // AGAIN % 3])
    if not all(np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") for x, y in zip(inputs, kept, strict=True)):
        return Outcome("different", "an argument was changed")
    return result


def coarsest(program: Program) -> float:
    """The unit in the last place of the coarsest floats in a Program."""
    names = {"f16[": np.float16, "f32[": np.float32, "c64[": np.float32}
    texts = [str(p) for p in programs_in(program, set())]
    return max((float(np.finfo(dtype).eps) for name, dtype in names.items() if any(name in text for text in texts)), default=0.0)


def programs_in(x: Any, seen: set[int]) -> Iterator[Program]:
    """A Program and those that its ops hold, wherever in them."""
    if id(x) in seen:
        return
    seen.add(id(x))
    if isinstance(x, Program):
        yield x
        parts: Any = [e.op for e in x.equations]
    else:
        parts = x if isinstance(x, tuple | list) else vars(x).values() if hasattr(x, "__dict__") and not callable(x) else ()
        parts = [*parts, *vars(x).values()] if hasattr(x, "parameter_names") else parts
    for part in parts:
        yield from programs_in(part, seen)


AGAIN = 5
"""One in so many programs runs again in other ways."""


def again(
    f: Callable[..., Any], native: Callable[..., Any], inputs: Sequence[Any], found: Any, expected: Any, others: Sequence[Any], unit: float
) -> Outcome:  # fmt: skip
    """The program again on one thread, twice on two, and four times at once, on plain arrays, and on some that are donated."""
    with limited(1):
        result = judged(native(*inputs), expected, others, unit)
    if result.verdict != "same":
        return Outcome(result.verdict, f"on one thread, {result.note}")
    with limited(2):
        first, second = native(*inputs), native(*inputs)
        with ThreadPoolExecutor(4) as pool:
            at_once = list(pool.map(lambda _: native(*inputs), range(4)))
    plain = [np.ascontiguousarray(x).astype(x.dtype.newbyteorder("="), copy=True) for x in inputs]
    for way, ys in (("again", second), *[("at once", ys) for ys in at_once]):
        if any(np.asarray(x).tobytes() != np.asarray(y).tobytes() for x, y in zip(first, ys, strict=True)):
            return Outcome("different", f"on two threads, {way}: other bits")
    plain = [x.reshape(y.shape) for x, y in zip(plain, inputs, strict=True)]
    result = judged(native(*plain), expected, others, unit)
    if result.verdict != "same":
        return Outcome(result.verdict, f"on plain arrays, {result.note}")
    result = judged(cotan.jit(f, donate_argnums=tuple(range(len(inputs))))(*plain), expected, others, unit)
    return result if result.verdict == "same" else Outcome(result.verdict, f"with donated arguments, {result.note}")


def apart(f: Callable[..., Any], inputs: Sequence[Any], unit: float, turns: int, checkpoint: bool | int) -> Outcome:
    """The derivative of the program as the body of a loop of unknown length, taken outside of what is compiled: each half is compiled
    alone, and stacks of all that the program keeps go from the first to the second, or it is swept. It is that of the loop written out,
    on NumPy.
    """
    active = next((k for k, x in enumerate(inputs) if x.dtype.kind == "f"), None)
    if active is None:
        return Outcome("same")

    def turn(x: Any, xs: Sequence[Any]) -> Any:
        floats = [y for y in f(*xs[:active], x, *xs[active + 1 :]) if np.dtype(y.dtype).kind in "fc"]
        total = sum([cnp.sum(cnp.tanh(cnp.real(y).astype(x.dtype))) / max(y.size, 1) for y in floats])
        return (0.5 * cnp.sin(x) + 0.1 * total).astype(x.dtype)

    def looped(*xs: Any) -> Any:
        step = lambda c: (c[0] + 1, turn(c[1], xs))  # noqa: E731
        return lax.while_loop(lambda c: c[0] < turns, step, (0, xs[active]), checkpoint=checkpoint)[1]

    def written_out(*xs: Any) -> Any:
        x = xs[active]
        for _ in range(turns):
            x = turn(x, xs)
        return x

    def derivative(g: Callable[..., Any], engine: str, xs: Sequence[Any]) -> list[Any]:
        y, pull = cotan.vjp(cotan.jit(g, engine=engine), *[np.asarray(x, x.dtype.newbyteorder("=")) for x in xs])
        return [y, pull(np.cos(y))[active]]

    try:
        expected, *others = [derivative(written_out, "numpy", [nudged(x, k) if k else x for x in inputs]) for k in range(4)]
    except (CotanError, np.linalg.LinAlgError) as error:
        return Outcome("same", f"halves, {type(error).__name__}: {error}")
    found = derivative(looped, "native", inputs)
    result = judged(found, expected, others, unit)
    if result.verdict == "different":
        others = [derivative(written_out, "numpy", [nudged(x, k, 10.0) for x in inputs]) for k in range(4, 4 + CLOSER_LOOKS)]
        for k in range(CLOSER_LOOKS):
            with noisy(k, unit):
                others.append(derivative(written_out, "numpy", inputs))
        result = judged(found, expected, others, unit)
    return result if result.verdict == "same" else Outcome(result.verdict, f"halves, {result.note}")


def judged(found: Any, expected: Any, others: Sequence[Any], unit: float) -> Outcome:
    """What the results of a program are, next to what was expected and what that becomes on inputs that are changed a little."""
    for k, (x, y, *zs) in enumerate(zip(found, expected, *others, strict=True)):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return Outcome("different", f"output {k}: {x.dtype}{x.shape} instead of {y.dtype}{y.shape}")
        verdict = compared(x, y, [np.asarray(z) for z in zs], unit)
        if verdict:
            return Outcome(verdict, f"output {k} of type {y.dtype}{y.shape}: {differences(x, y)}")
    return Outcome("same")


def compared(x: np.ndarray, y: np.ndarray, others: Sequence[np.ndarray], unit: float) -> str:
    """Nothing if the same; what it is otherwise."""
    if x.dtype.kind == "c":  # part by part: a number may be infinite and nan
        x, y, *others = [np.stack([z.real, z.imag]) for z in (x, y, *others)]
    if x.dtype.kind not in "fc":
        if np.array_equal(x, y):
            return ""
        return "passed over" if not all(np.array_equal(y, z) for z in others) else "different"
    if any(not np.array_equal(test(y), test(z)) for z in others for test in (np.isfinite, np.isnan)):
        return "passed over"
    if np.abs(y[np.isfinite(y)]).max(initial=0) > LARGE:
        return "passed over"
    fine = np.isfinite(y)
    scale = np.abs(y[fine]).max(initial=1e-3)
    sensitivity = max((np.abs(z[fine] - y[fine]).max(initial=0) for z in others), default=0)
    half = unit == np.finfo(np.float16).eps  # these overflow easily, and NumPy rounds each step of what is one here
    if sensitivity > (0.1 if half else 1e-3) * scale:
        return "passed over"
    if not np.array_equal(np.isnan(x), np.isnan(y)) or not np.array_equal(np.isfinite(x), fine):
        return "passed over" if half else "different"
    if not np.array_equal(x[np.isinf(y)], y[np.isinf(y)]):
        return "passed over"  # a quotient by a zero, whose sign is left open where a derivative is zero
    allowed = 30 * sensitivity + (3e-2 if half else 1e-4 if unit else 1e-10) * scale
    return "" if np.abs(x[fine] - y[fine]).max(initial=0) <= allowed else "different"


def differences(x: np.ndarray, y: np.ndarray) -> str:
    """The index at which two arrays differ most."""
    if not x.size:
        return "empty"
    with np.errstate(all="ignore"):
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        error = np.abs(np.asarray(x, complex) - np.asarray(y, complex))
        error[~np.isfinite(error)] = np.inf * (x[~np.isfinite(error)] != y[~np.isfinite(error)])
    at = np.unravel_index(np.nanargmax(np.where(np.isnan(error), -1, error)), error.shape)
    return f"{x[at]} instead of {y[at]} at {tuple(map(int, at))}"


def main() -> int:
    """Run many programs."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="run every step-th seed: several processes share the work")
    parser.add_argument("--show", action="store_true", help="print the Program of each")
    parser.add_argument(
        "--strips",
        action="store_true",
        help="run what can be run in strips of few rows, or on several threads, in that way, however small it is",
    )
    parser.add_argument("--late", action="store_true", help="compute values late, however small they are")
    parser.add_argument("--matrices", action="store_true", help="take steps of linear algebra most often: another program for each seed")
    options = parser.parse_args()
    if options.matrices:
        STEPS.extend([(step, 20) for step in linear_steps.FAVOURED])
    os.environ["COTAN_CACHE"] = "0"  # every program is new, and --strips writes other code for it than a cache would have
    few_rows = {"strip_axis": 4, "strip_stored_bytes": 1, "least_strip": 2, "most_strip": 5, "strip_products_per_byte": 1 << 40}
    few_rows |= {"strip_overhead": 1 << 40, "chunk_cost": 1, "loop_strip_steps": 2, "batched_loop_cost": 1}
    with codegen_options(**few_rows if options.strips else {}), codegen_options(**{"sunk_bytes": 0} if options.late else {}):
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Run the programs that the command line asks for; the exit code."""
    counts, started = {"same": 0, "passed over": 0, "different": 0}, time.monotonic()
    progress = Progress("fuzz")
    for k in range(options.programs):
        seed = options.first + k * options.step
        progress.show(f"seed {seed}, {counts}")
        if options.show:
            f, inputs = made(seed)
            print(cotan.stage(f)(*inputs))
        try:
            result = outcome(seed)
        except Exception as error:  # what the engine must not do is what is looked for
            result = Outcome("different", f"{type(error).__name__}: {error}")
        except KeyboardInterrupt:
            break
        counts[result.verdict] += 1
        if result.verdict == "different":
            progress.clear()
            print(f"seed {seed}: {result.note}", flush=True)
        if (k + 1) % OFTEN == 0 and not progress.terminal:
            print(f"{k + 1} programs: {counts}", flush=True)
    progress.clear()
    print(f"{sum(counts.values())} programs in {time.monotonic() - started:.0f} s: {counts}")
    return 1 if counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())

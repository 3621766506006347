"""Parallel loops: the LLVM IR that runs a loop in chunks on the thread pool, shared by all parallel loops of a module.

The body of a parallel loop is a function ``void (i64 first, i64 end, i64 chunk, ...)``. Its context is a table of 64-bit
slots: the function, the number of iterations, a mask for the first iteration of a chunk (`mask`), and the further arguments
of the function. A function for each list of their types loads them (`chunk_function`), and one function divides any loop
(`IN_CHUNKS`): LLVM takes about half a millisecond for each function, however short. `builder.Module.parallel_for` calls both.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.runtime.thread_pool import PARALLEL, SETTING

__all__ = ["FIRST_VALUE", "IN_CHUNKS", "THREAD_LIMIT_SLOT", "chunk_function", "mask"]

MANY_ITERATIONS = 4096
"""Chunks of a loop of at least so many iterations begin at multiples of 64."""
FIRST_VALUE = 3
"""The first slot of a context with an argument of the function."""
THREAD_LIMIT_SLOT = -1
"""The slot of the callback table with the limit of threads of the call; 0 if it has none (`builder.Module.threads` reads it too)."""
LETTERS = {"ptr": "p", "double": "d", "float": "s", "half": "h", "i64": "l", "i32": "i", "i16": "w", "i8": "b", "i1": "t"}

IN_CHUNKS = Symbol(
    "in_chunks",
    f"""define internal i64 @in_chunks(ptr %chunk, ptr %context, i32 %each, i32 %most, i1 %small, ptr %table) noinline nounwind {{
entry:
  %everywhere = load i32, ptr @cotan_threads
  %none = icmp eq ptr %table, null
  br i1 %none, label %known, label %look
look:
  %at = getelementptr i64, ptr %table, i64 {THREAD_LIMIT_SLOT}
  %own = load i32, ptr %at
  %silent = icmp eq i32 %own, 0
  %here = select i1 %silent, i32 %everywhere, i32 %own
  br label %known
known:
  %threads = phi i32 [%everywhere, %entry], [%here, %look]
  %wanted = mul i32 %threads, %each
  %few = icmp slt i32 %wanted, %most
  %several = select i1 %few, i32 %wanted, i32 %most
  %one = icmp sle i32 %threads, 1
  %chunks = select i1 %one, i32 1, i32 %several
  call void @cotan_parallel(ptr %chunk, ptr %context, i32 %chunks, i32 %threads, i1 %small)
  %count = zext i32 %chunks to i64
  ret i64 %count
}}""",
    needs=(PARALLEL, SETTING),
)
"""Runs a loop in chunks, ``each`` for a thread, at most ``most``; their count. ``table`` is the callback table, or null."""


def mask(size: int) -> int:
    """The bits of the first iteration of a chunk: chunks of a long loop begin at multiples of 64."""
    return -64 if size >= MANY_ITERATIONS else -1


def chunk_function(types: Sequence[str]) -> Symbol:
    """The function that runs chunk ``k`` of ``n`` of a loop with values of these types."""
    name = f"chunk_{''.join(LETTERS[type] for type in types)}"
    rows = [f"define internal void @{name}(ptr %context, i32 %k, i32 %n) nounwind {{"]
    fixed = [("function", "ptr"), ("size", "i64"), ("mask", "i64")]
    values = [(f"value{k}", type) for k, type in enumerate(types)]
    for k, (slot, type) in enumerate([*fixed, *values]):
        rows += [f"  %{slot}.at = getelementptr i64, ptr %context, i64 {k}", f"  %{slot} = load {type}, ptr %{slot}.at"]
    rows += ["  %k0 = zext i32 %k to i64", "  %n0 = zext i32 %n to i64", "  %k1 = add i64 %k0, 1"]
    for bound, number in (("first", "%k0"), ("end", "%k1")):
        rows += [
            f"  %{bound}.a = mul i64 {number}, %size",
            f"  %{bound}.b = udiv i64 %{bound}.a, %n0",
            f"  %{bound} = and i64 %{bound}.b, %mask",
        ]
    rows += ["  %last = icmp eq i64 %k1, %n0", "  %until = select i1 %last, i64 %size, i64 %end"]
    arguments = ["i64 %first", "i64 %until", "i64 %k0", *[f"{type} %{slot}" for slot, type in values]]
    return Symbol(name, "\n".join([*rows, f"  call void %function({', '.join(arguments)})", "  ret void", "}"]))

"""Loops in chunks for the pool of threads, as text that all divided loops of a module share.

A loop that is divided is a function ``void (i64 first, i64 end, i64 chunk, ...)``. Its context is a table of 64-bit words: the function,
the number of turns, the bits of a turn that may be the first of a chunk (`mask`), and then the values that the function takes besides. One
function for each list of their types reads them (`chunk_function`), and one hands over chunks of any loop (`IN_CHUNKS`): LLVM takes about
half a millisecond for each function, however short it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.runtime.thread_pool import PARALLEL, SETTING

__all__ = ["FIRST_VALUE", "IN_CHUNKS", "chunk_function", "mask"]

MANY_TURNS = 4096
"""From so many iterations on chunks begin at multiples of 64."""
FIRST_VALUE = 3
"""The word of a context with which the values begin."""
LETTERS = {"ptr": "p", "double": "d", "float": "s", "half": "h", "i64": "l", "i32": "i", "i16": "w", "i8": "b", "i1": "t"}

IN_CHUNKS = Symbol(
    "in_chunks",
    """define internal i64 @in_chunks(ptr %chunk, ptr %context, i32 %each, i32 %most, i1 %small, ptr %table) noinline nounwind {
entry:
  %everywhere = load i32, ptr @cotan_threads
  %none = icmp eq ptr %table, null
  br i1 %none, label %known, label %look
look:
  %at = getelementptr i64, ptr %table, i64 -1
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
}""",
    needs=(PARALLEL, SETTING),
)
"""Runs a loop in chunks, ``each`` for each thread, at ``most`` so many; how many. What the call says of threads stands before its table."""


def mask(size: int) -> int:
    """Which bits the first turn of a chunk has: where there are many turns, chunks begin at multiples of 64."""
    return -64 if size >= MANY_TURNS else -1


def chunk_function(types: Sequence[str]) -> Symbol:
    """The function that runs chunk ``k`` of ``n`` of a loop with values of these types."""
    name = f"chunk_{''.join(LETTERS[type] for type in types)}"
    rows = [f"define internal void @{name}(ptr %context, i32 %k, i32 %n) nounwind {{"]
    fixed = [("function", "ptr"), ("size", "i64"), ("mask", "i64")]
    values = [(f"value{k}", type) for k, type in enumerate(types)]
    for k, (word, type) in enumerate([*fixed, *values]):
        rows += [f"  %{word}.at = getelementptr i64, ptr %context, i64 {k}", f"  %{word} = load {type}, ptr %{word}.at"]
    rows += ["  %k0 = zext i32 %k to i64", "  %n0 = zext i32 %n to i64", "  %k1 = add i64 %k0, 1"]
    for word, number in (("first", "%k0"), ("end", "%k1")):
        rows += [
            f"  %{word}.a = mul i64 {number}, %size",
            f"  %{word}.b = udiv i64 %{word}.a, %n0",
            f"  %{word} = and i64 %{word}.b, %mask",
        ]
    rows += ["  %last = icmp eq i64 %k1, %n0", "  %until = select i1 %last, i64 %size, i64 %end"]
    arguments = ["i64 %first", "i64 %until", "i64 %k0", *[f"{type} %{word}" for word, type in values]]
    return Symbol(name, "\n".join([*rows, f"  call void %function({', '.join(arguments)})", "  ret void", "}"]))

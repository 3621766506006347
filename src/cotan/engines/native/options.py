"""Codegen options: the thresholds by which passes, schedule, code generation and tiers decide. They are part of the key of the IR cache.

Costs are in elementary operations (`cost`). The defaults were measured on x86-64 processors with AVX2 and AVX-512. Tests and experiments
set others for the code that is compiled in a context:

>>> from cotan.engines.native.options import codegen_options
>>> with codegen_options(small_array=8) as options:
...     options.small_array
8
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

__all__ = ["CodegenOptions", "codegen_options", "current_options"]


@dataclass(frozen=True)
class CodegenOptions:
    """The options of one compilation."""

    # ---- storage
    small_array: int = 32
    """Arrays of up to so many elements are on the stack, and loops over them are unrolled where they are copied."""
    stack_array_bytes: int = 1 << 14
    """The largest contracted array, or private result of a chunk, on the stack."""

    # ---- loop nests
    unrolled_iterations: int = 8
    """A nest of up to so many iterations, no more than a vector, may be unrolled."""
    unrolled_elements: int = 2500
    """The elements of a Program that may be unrolled: the time that LLVM takes grows with them."""
    straight_line: int = 800
    """Straight-line code that is longer is cut into functions,"""
    function_part: int = 200
    """of this length each."""
    one_loop_equations: int = 2000
    """A Program of up to so many equations may be one loop."""
    loop_statements: int = 60
    """The loops of longer Programs have fewer statements: a processor follows only so many streams of memory."""
    view_depth: int = 50
    """Data movement is not stored but composed with the index of what reads it, for so many ops in a row."""
    index_set_pieces: int = 64
    """A loop is split where conditions on its index change, into so many pieces at most."""
    vectorized_iterations: int = 32
    """A loop of so many iterations of straight-line code is worth vectors,"""
    costly_iteration: int = 4
    """if an iteration costs so much;"""
    short_inner_loop: int = 32
    """beside an inner loop of more iterations the code costs little without vectors."""
    short_row_bytes: int = 128
    """A row of up to so many bytes, two cache lines, is written anew rather than updated in part;"""
    longest_row_bytes: int = 512
    """up to so many if the part is half of the row."""
    reduction_block: int = 1024
    """So many elements are reduced before they join the total: the rounding error of a long sum stays small."""

    # ---- threads
    chunk_cost: int = 150_000
    """The least cost of a chunk: some 20 microseconds."""
    small_job_cost: int = 1_500_000
    """A cheaper job wakes no thread, but a thread that is awake may help."""
    chunks_per_thread: int = 4
    """The chunks of a long loop for each thread: one that is held up leaves them to the others."""
    blas_threads_products: int = 1 << 23
    """From so many multiplications on, BLAS uses several threads."""
    kernel_products: int = 1 << 18
    """From so many multiplications on, a kernel is worth the thread pool."""
    small_kernel_products: int = 3 << 20
    """A kernel of fewer multiplications wakes no thread."""

    # ---- tiled and transposed copies
    tile: int = 64
    """The side of a tile."""
    transposed_axis: int = 8
    """The shortest axis for which blocks transposed in registers pay."""
    transposed_element_cost: int = 16
    """The cost of an element of a transposed copy, in multiplications."""
    tiled_axis: int = 16
    """The shortest loops that go by tiles,"""
    tiled_operands: int = 4
    """for so many transposed operands at most, since their tiles are on the stack."""

    # ---- scatters
    scatter_cost: int = 8
    """The cost of finding the destination of an update."""
    scatter_balance: int = 16
    """The iterations of a parallel scatter for each thread, if there can be so many: chunks should cost about the same."""
    scatter_target_cost: int = 32
    """The cost of an element of a thread's own target,"""
    scatter_target_bytes: int = 1 << 25
    """which may have so many bytes in all."""

    # ---- interrupt checks
    unchecked_cost: int = 1 << 25
    """A loop that costs less, some 10 ms, is not checked for signals."""
    check_cost: int = 1 << 14
    """The cost between two checks, some microseconds,"""
    check_iterations: int = 1 << 12
    """and the most iterations."""

    # ---- strip-mining
    strip_axis: int = 64
    """The shortest axis that is strip-mined,"""
    strip_axes: int = 4
    """and how many axes are tried: each takes time for every equation."""
    strip_stored_bytes: int = 1 << 21
    """The least bytes between products: more than the second-level cache has room for."""
    strip_products_per_byte: int = 32
    """From so many multiplications for each of these bytes on, a product does not wait for memory."""
    strip_bytes: int = 1 << 22
    """About the bytes between the products of a strip: in the third-level cache, since products of few rows are slow."""
    least_strip: int = 32
    most_strip: int = 1024
    """The rows of a strip."""
    strip_chunks: int = 32
    """The most chunks of strips: each has a workspace, which should stay in the cache,"""
    strip_chunks_per_thread: int = 2

    # ---- tiers
    quick_lines: int = 4000
    """IR of fewer lines is optimized at once."""
    nanoseconds_per_operation: int = 4
    """The time of an elementary operation in quick code."""
    nanoseconds_per_line: int = 20_000
    """The time to optimize a line of IR,"""
    nanoseconds_per_loop_line: int = 100_000
    """and one of the lines around the head of a loop,"""
    lines_per_loop: int = 200
    """which are so many."""
    quick_calls: int = 4
    """Code is quick at first if so many calls of it take less time than to optimize it,"""
    quick_loop_calls: int = 200
    """or so many where most of it is loops, which become vectors."""

    @cached_property
    def key(self) -> str:
        """All options as text, for the keys of caches."""
        return repr(self)

    def __hash__(self) -> int:
        return hash(self.key)


_current: ContextVar[CodegenOptions] = ContextVar("codegen_options", default=CodegenOptions())  # noqa: B039 - it is frozen


def current_options() -> CodegenOptions:
    """The options of the context."""
    return _current.get()


@contextmanager
def codegen_options(**changes: Any) -> Generator[CodegenOptions]:
    """Compile with changed options within."""
    options = replace(_current.get(), **changes)
    token = _current.set(options)
    try:
        yield options
    finally:
        _current.reset(token)

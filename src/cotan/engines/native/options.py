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
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cotan.engines.native.target import processors

__all__ = ["CodegenOptions", "codegen_options", "current_options"]


@dataclass(frozen=True)
class CodegenOptions:
    """The options of one compilation."""

    # ---- storage
    small_array: int = 32
    """The most elements of an array that is put on the stack; loops that copy it are unrolled."""
    least_indexed: int = 6
    """The fewest elements of a small array that is updated in memory if indices are known only when the code runs."""
    stack_array_bytes: int = 1 << 14
    """The most bytes of a contracted array, or of a private result of a chunk, that is put on the stack."""

    sunk_bytes: int = 1 << 20
    """The fewest bytes of an array that is computed when it is first read instead of when it is made."""

    # ---- loop nests
    unrolled_iterations: int = 8
    """The most iterations of a loop nest that is unrolled. A longer nest is never unrolled."""
    unrolled_row_bytes: int = 56
    """The most bytes of a nest in a longer loop that is unrolled, less than a vector: LLVM vectorizes the longer loop then."""
    unrolled_elements: int = 2500
    """The most elements for which unrolled code is written in one Program: the time that LLVM takes grows with them."""
    straight_line: int = 800
    """The most operations of straight-line code in one function. Longer code is cut into several functions."""
    function_part: int = 200
    """The most operations in each of the functions into which long straight-line code is cut."""
    one_loop_equations: int = 2000
    """The most equations of a Program that may become one loop."""
    loop_statements: int = 60
    """The most statements in a loop of a longer Program: a processor follows only so many streams of memory."""
    view_depth: int = 50
    """The most data movements in a row that are not stored, but composed with the index of what reads them."""
    view_reads: int = 16
    """The most elements in memory that a view of views reads for one element: a roll of a roll reads in four places, under conditions."""
    inlined_cost: int = 4
    """The most that an element of a value costs that is not stored where data movements alone read it."""
    index_set_pieces: int = 64
    """The most pieces into which a loop is split where conditions on its index change."""
    vectorized_iterations: int = 32
    """The fewest iterations of a loop for which it matters whether LLVM can vectorize the loop."""
    costly_iteration: int = 4
    """The least cost of an iteration of straight-line code for which vectors matter."""
    costly_element: int = 8
    """The least cost of an element for which a pass of its own over all elements, in vectors, is better than short rows."""
    short_inner_loop: int = 32
    """The most iterations of an inner loop beside which costly straight-line code is not put, since it would not be vectorized there."""
    short_row_bytes: int = 128
    """The most bytes of a row, two cache lines, that is written anew where less than half of it is updated."""
    longest_row_bytes: int = 512
    """The most bytes of a row that is written anew where half of it or more is updated."""
    row_group: int = 256
    """The most elements of the short rows that one loop takes, if a reduction adds up rows."""
    reduction_block: int = 1024
    """The number of elements that are reduced before they join the total: the rounding error of a long sum stays small."""

    # ---- threads
    chunk_cost: int = 150_000
    """The least cost of a chunk of a parallel loop: some 20 microseconds."""
    small_job_cost: int = 1_500_000
    """The least cost of a job that always wakes sleeping threads: to wake them costs about as much as a cheaper job."""
    chunks_per_thread: int = 4
    """The most chunks of a loop for each thread: a thread that is held up leaves chunks to the others."""
    chunk_workspaces: int = 32
    """The most chunks of strips, or of the iterations of a scan: each has a workspace of its own, which should stay in the cache."""
    threads: int = field(default_factory=processors)
    """The threads of this process for whose chunks there is workspace. More of them share the chunks."""
    workspaces_per_thread: int = 2
    """The most chunks with a workspace for each thread."""
    blas_threads_products: int = 1 << 23
    """The fewest multiplications of a call of BLAS that may use several threads."""
    kernel_products: int = 1 << 18
    """The fewest multiplications of a kernel that is run on the thread pool."""
    small_kernel_products: int = 3 << 20
    """The fewest multiplications of a kernel that always wakes sleeping threads."""

    # ---- tiled and transposed copies
    tile: int = 64
    """The side of a tile in elements."""
    transposed_axis: int = 8
    """The fewest elements of an axis for which blocks that are transposed in registers pay."""
    transposed_element_cost: int = 16
    """The cost of an element of a transposed copy, in multiplications of a kernel."""
    tiled_axis: int = 16
    """The fewest iterations of each of two loops that go by tiles."""
    tiled_operands: int = 4
    """The most transposed operands of loops that go by tiles: the tiles of each are on the stack."""

    # ---- scatters
    scatter_cost: int = 8
    """The cost of one update with the search for its destination."""
    scatter_balance: int = 16
    """The fewest iterations of a parallel scatter for each chunk, if there can be so many: chunks should cost about the same."""
    scatter_target_cost: int = 32
    """The cost of an element of the private target of a chunk, which is filled and then combined."""
    scatter_target_bytes: int = 1 << 25
    """The most bytes of all private targets of a scatter."""

    # ---- interrupt checks
    unchecked_cost: int = 1 << 25
    """The least cost of a loop that is checked for signals: some 10 milliseconds."""
    check_cost: int = 1 << 14
    """The most cost of the iterations between two checks, if one costs less: some microseconds."""
    check_iterations: int = 1 << 12
    """The most iterations between two checks."""

    # ---- strip-mining
    strip_axis: int = 64
    """The fewest elements of an axis that is strip-mined."""
    strip_axes: int = 4
    """The most axes that are tried: to try one takes time for every equation."""
    strip_stored_bytes: int = 1 << 21
    """The fewest bytes between products that are worth strips: more than the second-level cache has room for."""
    strip_products_per_byte: int = 32
    """The most multiplications for each byte between products that are worth strips: products of more do not wait for memory."""
    strip_overhead: int = 50
    """The most bytes that all strips read and write again, constants and totals, for 100 bytes that they keep in the cache."""
    strip_bytes: int = 1 << 22
    """About the number of bytes between the products of a strip: they fit in the third-level cache, and products of few rows are slow."""
    batched_loops: bool = True
    """Whether batched loops run in strips. The code is then made for one size of the batch."""
    batched_loop_cost: int = 1 << 21
    """The least cost of a batched loop that runs in strips, some milliseconds: to compile its body twice takes longer."""
    loop_strip_bytes: int = 1 << 19
    """About the number of bytes that a step of a batched loop makes in a strip: the next step finds them in the second-level cache."""
    loop_strip_steps: int = 4
    """The fewest steps of a batched loop that is run in strips."""
    least_strip: int = 32
    """The fewest rows of a strip, if the axis has room for two of them."""
    most_strip: int = 1024
    """The most rows of a strip."""

    # ---- tiers
    quick_lines: int = 4000
    """The fewest lines of IR that may be compiled quickly at first. Shorter IR is optimized at once."""
    nanoseconds_per_operation: int = 4
    """The nanoseconds that an elementary operation takes in quick code."""
    nanoseconds_per_line: int = 20_000
    """The nanoseconds that LLVM takes to optimize a line of IR."""
    nanoseconds_per_loop_line: int = 100_000
    """The nanoseconds that LLVM takes to optimize a line of IR in a loop."""
    lines_per_loop: int = 200
    """The number of lines of IR that are counted for each loop."""
    quick_calls: int = 4
    """The number of calls of quick code that must take less time than optimization, for code that is compiled quickly at first."""
    quick_loop_calls: int = 200
    """As `quick_calls`, for code most of whose lines are in loops: optimization vectorizes these."""

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

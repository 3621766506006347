"""The workspace of a call: buffers with overlapping lifetimes never overlap in memory, and the memory of dead buffers is reused.

A history is a list of buffers in the order of their allocation: when, how many bytes, and the last node that needs them.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotan.core.types import array_type
from cotan.engines.native.codegen.workspace import MANY_NODES, SMALL_BUFFERS, WorkspaceFrame, padded_size
from cotan.engines.native.target import ALIGNMENT

LANES = 16
"""The alignment of small buffers that are kept."""


class Request(NamedTuple):
    """A buffer that is needed from the node ``now`` to ``last``, or one that is kept."""

    nbytes: int
    now: int
    last: int
    kept: bool = False


class Buffer(NamedTuple):
    start: int
    size: int
    now: int
    last: int

    @property
    def end(self) -> int:
        return self.start + self.size


SIZES = st.one_of(st.integers(0, 300), st.integers(0, 20_000))


@st.composite
def histories(draw, most_alive=6, keeping=True):
    """Requests of a program that goes from node to node."""
    now, found = 0, []
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.integers(0, 2))
        if keeping and draw(st.integers(0, 3)) == 0:
            found.append(Request(draw(st.one_of(st.integers(1, 64), st.integers(1, 2 * SMALL_BUFFERS))), now, MANY_NODES, kept=True))
        else:
            found.append(Request(draw(SIZES), now, now + draw(st.integers(0, most_alive))))
    return found


def buffers(frame, requests) -> list[Buffer]:
    """The memory that the frame gives to each."""
    found = []
    for r in requests:
        buffer = frame.keep(r.nbytes) if r.kept else frame.take(r.nbytes, r.now, r.last)
        found.append(Buffer(buffer.offset, buffer.size, r.now, buffer.last))
    return found


def aligned(nbytes: int, to: int = ALIGNMENT) -> int:
    return -(-nbytes // to) * to


def needed_together(a: Buffer, b: Buffer) -> bool:
    return a.now <= b.last and b.now <= a.last


def overlap(a: Buffer, b: Buffer) -> bool:
    return a.start < b.end and b.start < a.end


# ---- one frame -----------------------------------------------------------------------------------------------------------------------
@given(histories())
def test_buffers_that_are_needed_at_the_same_time_never_overlap(requests):
    for a, b in combinations(buffers(WorkspaceFrame(None), requests), 2):
        assert not (needed_together(a, b) and overlap(a, b)), (a, b)


@given(histories())
def test_a_buffer_has_room_for_what_was_asked_and_is_needed_as_long(requests):
    for request, buffer in zip(requests, buffers(WorkspaceFrame(None), requests), strict=True):
        assert buffer.size == aligned(request.nbytes, LANES if request.kept and request.nbytes <= SMALL_BUFFERS else ALIGNMENT)
        assert buffer.last == request.last


@given(histories())
def test_a_buffer_begins_at_a_multiple_of_the_alignment_and_a_small_one_at_a_vector(requests):
    for request, buffer in zip(requests, buffers(WorkspaceFrame(None), requests), strict=True):
        assert buffer.start % (LANES if request.kept else ALIGNMENT) == 0


@given(histories(keeping=False))
def test_the_top_of_a_frame_is_the_largest_end_of_its_buffers(requests):
    frame = WorkspaceFrame(None)
    assert frame.top == 0
    largest = 0
    for request in requests:
        (buffer,) = buffers(frame, [request])
        largest = max(largest, buffer.end)
        assert frame.top == largest


@given(histories(keeping=False))
def test_a_buffer_lies_at_the_lowest_place_that_is_free(requests):
    found = buffers(WorkspaceFrame(None), requests)
    for k, buffer in enumerate(found):
        alive = [b for b in found[:k] if b.last >= buffer.now]
        for lower in {0, *[b.end for b in alive]}:
            if lower < buffer.start:
                there = buffer._replace(start=lower)
                assert any(overlap(there, b) for b in alive), (buffer, lower)


@given(st.lists(SIZES, min_size=1, max_size=8))
def test_buffers_that_follow_each_other_need_the_memory_of_the_largest(sizes):
    frame = WorkspaceFrame(None)
    found = buffers(frame, [Request(nbytes, 2 * k, 2 * k + 1) for k, nbytes in enumerate(sizes)])
    assert [b.start for b in found] == [0] * len(sizes)
    assert frame.top == aligned(max(sizes))


@given(st.lists(SIZES, min_size=2, max_size=8).map(lambda sizes: sorted(sizes, reverse=True)))
def test_a_chain_in_which_each_is_made_from_the_one_before_needs_the_memory_of_two(sizes):
    """... of the largest two, if each is as large as the next or larger. Where they grow, a hole may be too small for the next."""
    frame = WorkspaceFrame(None)
    found = buffers(frame, [Request(nbytes, k, k + 1) for k, nbytes in enumerate(sizes)])
    assert not any(overlap(a, b) for a, b in pairwise(found))
    assert frame.top == aligned(sizes[0]) + aligned(sizes[1])


@given(histories(keeping=False), st.integers(1, 10))
def test_what_lives_longer_is_not_overwritten(requests, longer):
    """The lowering changes the last node of a buffer in place, where another value takes it over."""
    frame = WorkspaceFrame(None)
    first = frame.take(640, 0, 0)
    first.last += longer
    for b in buffers(frame, requests):
        if b.now <= longer:
            assert b.start >= 640 or b.size == 0


# ---- kept buffers --------------------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 256), st.integers(0, 3)), min_size=1, max_size=120))
def test_kept_buffers_live_to_the_end(drawn):
    """Nothing that is taken later, kept or not, lies where one of them does."""
    frame, now, kept = WorkspaceFrame(None), 0, []
    for keep, nbytes, step in drawn:
        now += step
        (buffer,) = buffers(frame, [Request(nbytes, now, now, keep)])
        assert not any(overlap(buffer, other) for other in kept)
        if keep:
            kept.append(buffer)
            assert buffer.end <= frame.top
    (after,) = buffers(frame, [Request(100_000, now + 1_000_000, now + 1_000_000)])
    assert not any(overlap(after, other) for other in kept)


@pytest.mark.parametrize("nbytes", [1, 16, 24, 256])
def test_small_buffers_that_are_kept_fill_one_block_after_the_other(nbytes):
    each = SMALL_BUFFERS // aligned(nbytes, LANES)
    for count, blocks in ((1, 1), (each, 1), (each + 1, 2), (2 * each, 2), (2 * each + 1, 3)):
        frame = WorkspaceFrame(None)
        found = buffers(frame, [Request(nbytes, 0, MANY_NODES, kept=True)] * count)
        assert frame.top == blocks * SMALL_BUFFERS
        assert all(a.end <= b.start for a, b in pairwise(found))
        assert found[-1].end <= frame.top


# ---- a frame in another --------------------------------------------------------------------------------------------------------------
@given(histories(), histories(), histories())
def test_a_frame_inside_another_lies_above_it(outer_requests, inner_requests, innermost_requests):
    outer = WorkspaceFrame(None)
    below = buffers(outer, outer_requests)
    inner = WorkspaceFrame(outer)
    assert inner.top == outer.top
    middle = buffers(inner, inner_requests)
    above = buffers(WorkspaceFrame(inner), innermost_requests)
    assert all(b.start >= outer.top >= a.end for a in below for b in middle)
    assert all(b.start >= inner.top >= a.end for a in [*below, *middle] for b in above)


@given(histories(), histories(keeping=False))
def test_frames_one_after_the_other_use_the_same_memory(outer_requests, inner_requests):
    outer = WorkspaceFrame(None)
    buffers(outer, outer_requests)
    first, second = (buffers(WorkspaceFrame(outer), inner_requests) for _ in range(2))
    assert first == second
    alone = buffers(WorkspaceFrame(None), inner_requests)
    assert [b.start - outer.top for b in first] == [b.start for b in alone]


# ---- slots of chunks -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float32", "float64", "complex64", "complex128"])
@given(shape=st.lists(st.integers(0, 40), max_size=2))
def test_a_padded_size_is_the_least_of_whole_cache_lines(dtype, shape):
    t = array_type(tuple(shape), np.dtype(dtype))
    nbytes = padded_size(t) * t.dtype.itemsize
    assert nbytes % ALIGNMENT == 0
    assert max(t.nbytes, 1) <= nbytes < max(t.nbytes, 1) + ALIGNMENT

"""The states of a loop by their number. Some are stored while it runs to its end; the others are computed from these again.

A loop may then be followed from its end back to its beginning in the memory of few states, and each step is taken twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .elements import Index, is_bad, kind_of

__all__ = ["StateRows", "States"]

STATES = 64
"""The most states that are stored while a loop is run to its end."""


class State(NamedTuple):
    """The carry before a step, and for each element of it the state since which it has been finite, nan, inf or -inf."""

    carry: list[Any]
    since: list[Any]
    """An array for each carry; None for one that has been finite from the beginning."""


class States:
    """State k is that before step k. ``steps(carry, k)`` gives the steps from number k on: the numbers, and new carries before other
    outputs.
    """

    def __init__(self, carry: list[Any], steps: Callable[[list[Any], int], Iterator[tuple[int, list[Any]]]]):
        self.steps, self.size = steps, len(carry)
        start = State(carry, list(map(beginning, carry)))
        self.stored: dict[int, State] = {0: start}
        self.block: dict[int, State] = {}
        stride, self.count, self.last = 1, 0, start
        for k, state in self.onwards(0):
            self.count, self.last = k, state
            if k % stride == 0:
                self.stored[k] = state
                if len(self.stored) > STATES:
                    stride *= 2
                    self.stored = {k: s for k, s in self.stored.items() if k % stride == 0}

    def onwards(self, start: int) -> Iterator[tuple[int, State]]:
        """The states after a stored one."""
        state = self.stored[start]
        for number, outs in self.steps(state.carry, start):
            since = [followed(s, x, y, number + 1) for s, x, y in zip(state.since, state.carry, outs, strict=False)]
            state = State(outs[: self.size], since)
            yield number + 1, state

    def at(self, k: int) -> State:
        """State ``k``."""
        if k == self.count:
            return self.last
        if k in self.stored:
            return self.stored[k]
        if k not in self.block:
            start = max(j for j in self.stored if j < k)
            self.block = {}
            for j, state in self.onwards(start):
                self.block[j] = state
                if j == k:
                    break
        return self.block[k]

    def carry(self, k: int) -> list[Any]:
        return self.at(k).carry

    def since(self, k: int, place: int, index: Index) -> int:
        """The state since which an element of a carry has been what it is in state ``k``."""
        since = self.at(k).since[place]
        if since is None or type(self.at(k).carry[place]) is not np.ndarray:
            return int(since) if since is not None else k
        return int(since[index])


def beginning(x: Any) -> Any:
    """Since when the elements of a first carry have been what they are."""
    return np.zeros(np.shape(x), np.int64) if is_bad(x) else None


def followed(since: Any, x: Any, y: Any, number: int) -> Any:
    """Since when the elements of a carry have been what they are, after it became ``y`` in state ``number``."""
    if not is_bad(y) and (since is None or not is_bad(x)):
        return since
    if getattr(y, "dtype", np.dtype(float)).kind not in "fc":
        return None
    since = np.zeros(np.shape(y), np.int64) if since is None else since
    return np.where(kind_of(x) == kind_of(y), since, number)


class StateRows(NamedTuple):
    """One carry of the states of a loop, by the index of the step that begins with it."""

    states: States
    indices: range
    carry: int

    def __getitem__(self, i: Any) -> Any:
        return self.states.carry(self.indices.index(i))[self.carry]

"""Borrowing: an array that a recording holds must not change before the recording is closed.

A tape or Program under way holds NumPy arrays of the user as they are. Were one changed in place afterwards (``buf[k] = ...`` in a loop),
the derivative would silently see its last contents. So the recording borrows it: the array, and what it is a view of, is read-only until
it is given back, and NumPy itself refuses the assignment, on the user's own line.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np

__all__ = ["borrow", "copies_of_shared", "give_back", "refused_by_borrowing"]


class Loan:
    """An array that is read-only because of recordings: how many hold it, and views of it that wait to be writable again."""

    __slots__ = ("array", "count", "waiting")

    def __init__(self, array: np.ndarray[Any, Any]):
        self.array, self.count, self.waiting = array, 0, []


_lock = Lock()
_loans: dict[int, Loan] = {}


def borrow(array: np.ndarray[Any, Any], borrowed: dict[int, np.ndarray[Any, Any]]) -> None:
    """Make ``array`` and the arrays that it views read-only, and add them to ``borrowed``, by their ids.

    Memory that is not NumPy's own, or that the user made read-only, is left alone: its flag might not be set again.
    """
    number = id(array)
    if number in borrowed:
        return
    if array.base is None:
        with _lock:
            loan = _loans.get(number)
            if loan is None:
                flags = array.flags
                if not flags.writeable or not flags.owndata:
                    return
                array.setflags(write=False)
                loan = _loans[number] = Loan(array)
            loan.count += 1
            borrowed[number] = array
        return
    chain: list[Any] = [array]
    while isinstance(chain[-1].base, np.ndarray):
        chain.append(chain[-1].base)
    root = chain[-1]
    if not root.flags.owndata:
        return
    with _lock:
        if id(root) not in _loans and not root.flags.writeable:
            return
        for x in reversed(chain):
            loan = _loans.get(id(x))
            if loan is None:
                if not x.flags.writeable:
                    continue
                x.setflags(write=False)
                loan = _loans[id(x)] = Loan(x)
            if id(x) not in borrowed:
                loan.count += 1
                borrowed[id(x)] = x


def give_back(borrowed: dict[int, np.ndarray[Any, Any]]) -> None:
    """End what `borrow` began. An error about a read-only array that is on its way out is marked as caused by it."""
    error = sys.exc_info()[1]
    if isinstance(error, ValueError) and "read-only" in str(error):
        error.borrowed = True  # type: ignore[attr-defined]
    with _lock:
        for number, x in borrowed.items():
            loan = _loans[number]
            loan.count -= 1
            if not loan.count:
                del _loans[number]
                if x.base is None and not loan.waiting:
                    x.setflags(write=True)
                else:
                    release(loan)
    borrowed.clear()


def release(loan: Loan) -> None:
    """Make an array writable again: now, or together with the array that it views if that is still lent."""
    base = loan.array.base
    while isinstance(base, np.ndarray):
        lender = _loans.get(id(base))
        if lender is not None:
            lender.waiting.append(loan)
            return
        base = base.base
    loan.array.setflags(write=True)
    for view in loan.waiting:
        if id(view.array) not in _loans:
            release(view)


def refused_by_borrowing(error: ValueError) -> bool:
    """Whether NumPy raised ``error`` because a recording holds the array."""
    return getattr(error, "borrowed", False)


def copies_of_shared(values: Iterator[Any]) -> dict[int, np.ndarray[Any, Any]]:
    """Copies, by id, of those arrays that are held by others than where the iterator finds them (once each time).

    Reference counts tell. A view counts as shared if anything that it views is. The count of an array that is certainly not shared says
    how many references the counting itself makes.
    """
    arrays: list[Any] = [x for x in values if isinstance(x, np.ndarray)]
    arrays.append(np.empty(0))
    found = [sys.getrefcount(x) for x in arrays]
    looking = found.pop() - 1
    arrays.pop()
    here = Counter(map(id, arrays))
    counts = {id(x): count - looking - 2 * here[id(x)] for x, count in zip(arrays, found, strict=True)}  # once there, once in ``arrays``
    links: Counter[int] = Counter()  # how many of them, and of the arrays that they view, view an array directly
    known: set[int] = set()
    for x in arrays:
        while isinstance(x.base, np.ndarray) and id(x) not in known:
            known.add(id(x))
            links[id(x.base)] += 1
            x = x.base
    copies: dict[int, np.ndarray[Any, Any]] = {}
    for x in arrays:
        if id(x) in copies:
            continue
        shared = counts[id(x)] > 0
        base = x.base
        while not shared and isinstance(base, np.ndarray):
            shared = sys.getrefcount(base) - looking > links[id(base)] + 2 * here[id(base)]
            base = base.base
        if shared:
            copies[id(x)] = x.copy()
    return copies

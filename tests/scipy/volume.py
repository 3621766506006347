"""Which cases of a function run always: the first real and the first complex one. The others run with --all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

__all__ = ["first_of_each_kind", "of_both_orders"]


def is_first(cases: Iterable[Any]) -> Iterable[tuple[Any, bool]]:
    """Cases, named by function and number, whose last value is the operands; and whether each is the first of its function and kind."""
    seen = set()
    for case in cases:
        kind = case.id.rpartition("-")[0], any(np.iscomplexobj(x) for x in case.values[-1])
        yield case, kind not in seen
        seen.add(kind)


def first_of_each_kind(cases: Iterable[Any]) -> list[Any]:
    """The cases, of which those that are not the first of their kind are marked."""
    return [pytest.param(*c.values, id=c.id, marks=[] if first else [pytest.mark.exhaustive]) for c, first in is_first(cases)]


def of_both_orders(cases: Iterable[Any]) -> list[Any]:
    """The cases with the order of derivatives: the second; of those that are not the first of their kind, the first, and the second with a
    mark.
    """
    found = []
    for case, first in is_first(cases):
        if not first:
            found.append(pytest.param(*case.values, 1, id=f"{case.id}-first"))
        found.append(pytest.param(*case.values, 2, id=case.id, marks=[] if first else [pytest.mark.exhaustive]))
    return found

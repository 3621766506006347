"""How far a long run is: one line on a terminal, rewritten in place and cleared at the end; nothing in a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, Self

import numpy as np

__all__ = ["Progress"]

PATIENCE, PAUSE, WIDTH = 1.0, 0.1, 79
"""Seconds before the line appears, and from one state of it to the next; its width."""


class Progress:
    """Within this context, `show` and `over` tell on the standard error stream how far the run ``title`` is."""

    def __init__(self, title: str):
        self.title, self.stream = title, sys.stderr
        self.terminal = self.stream is not None and self.stream.isatty()
        self.started = time.monotonic()
        self.due = self.started + PATIENCE
        self.shown = False

    def show(self, text: str) -> None:
        """Show where the run is, if the last line has stood for a while."""
        if not self.terminal or (now := time.monotonic()) < self.due:
            return
        line = f"{self.title}: {text}, {now - self.started:.0f} s"
        self.stream.write(f"\r{line[:WIDTH]:<{WIDTH}}")
        self.stream.flush()
        self.shown, self.due = True, now + PAUSE

    def over(self, items: Collection[Any] | np.ndarray[Any, Any], text: str) -> Iterator[Any]:
        """The items, each shown by its number."""
        for k, item in enumerate(items):
            self.show(f"{text}, {k + 1} of {len(items)}")
            yield item

    def clear(self) -> None:
        """Clear the line, for another text or at the end."""
        if self.shown:
            self.stream.write(f"\r{'':<{WIDTH}}\r")
            self.stream.flush()
            self.shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

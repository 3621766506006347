"""The choice of the engine that runs a Program, with its options."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["ENGINES", "NATIVE", "NUMPY", "Engine"]

ENGINES = ("native", "numpy")


class Engine(NamedTuple):
    """An engine by name, and its options.

    ``threads``: the most threads, None for the setting of the process; ``dynamic_sizes``: whether code serves several sizes, None for
    automatic; ``donated``: the numbers of the inputs whose memory may be reused for results (native engine only); ``many_sizes``: whether
    the function has been called with several other sizes, so that code is not made for one in particular.
    """

    name: str
    threads: int | None = None
    dynamic_sizes: bool | None = None
    donated: tuple[int, ...] = ()
    many_sizes: bool = False

    @classmethod
    def default(cls) -> str:
        """The default engine: the value of the environment variable COTAN_ENGINE, else the native one."""
        return os.environ.get("COTAN_ENGINE") or "native"


NATIVE, NUMPY = Engine("native"), Engine("numpy")

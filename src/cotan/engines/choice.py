"""Which engine runs a Program, and how."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["ENGINES", "NATIVE", "NUMPY", "Engine"]

ENGINES = ("native", "numpy")


class Engine(NamedTuple):
    """An engine by name, and how it is to run Programs.

    ``threads``: the most threads, None for the setting of the process; ``dynamic_sizes``: whether code serves several sizes, None if that
    is found out; ``donated``: the numbers of the inputs in whose memory results may be written, which only the native engine does.
    """

    name: str
    threads: int | None = None
    dynamic_sizes: bool | None = None
    donated: tuple[int, ...] = ()

    @classmethod
    def default(cls) -> str:
        """The name of the engine that runs what names none: by the environment variable COTAN_ENGINE, else the native one."""
        return os.environ.get("COTAN_ENGINE") or "native"


NATIVE, NUMPY = Engine("native"), Engine("numpy")

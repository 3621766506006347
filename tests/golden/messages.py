"""The message of each mistake, and the path of its golden copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"


def message_of(mistake: Callable[[], object]) -> str:
    """``ErrorClass: text`` of what ``mistake`` raises; a clear note if it raises nothing."""
    try:
        mistake()
    except Exception as error:
        return f"{type(error).__name__}: {error}\n"
    return "nothing was raised\n"


def golden(name: str) -> Path:
    return TEXTS / f"{name}.txt"

"""Pickling of functions that a decorator has replaced: by the name under which a module has them, as Python pickles its own functions.

``@jit`` on a function of a module puts the jitted function in the place of the plain one, so the plain one cannot be found by its name, and
the jitted one can. What no module has (``grad(f)``, made on the way) is pickled as the call that makes it again. Code of the main script,
and lambdas, exist in this process only: cloudpickle (which joblib uses) sends them by value, and so must what is made of them.
"""

from __future__ import annotations

import pickle
import sys
from functools import reduce
from typing import Any

from .errors import ArgumentTypeError, CotanError, teach

__all__ = ["global_name", "refuse_unpicklable"]


def global_name(x: Any) -> str | None:
    """The name for which a module gives this very object, and by which it is pickled; None if there is none, or it is to go by value."""
    module, name = getattr(x, "__module__", None), getattr(x, "__qualname__", None)
    if module not in sys.modules or not isinstance(name, str) or "<locals>" in name:
        return None
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except AttributeError:
        return None
    return name if found is x and not (module == "__main__" and pickled_by_value()) else None


def pickled_by_value() -> bool:
    """Whether it is cloudpickle that asks, which does not refer to names of the main script."""
    frame = sys._getframe(1)
    while frame is not None:
        if "cloudpickle" in frame.f_globals.get("__name__", ""):
            return True
        frame = frame.f_back
    return False


def refuse_unpicklable(x: Any, what: str) -> None:
    """Raise if ``x``, which holds functions of the user and is a part of ``what``, does not pickle."""
    if pickled_by_value():
        return
    try:
        pickle.dumps(x)
    except CotanError:
        raise
    except Exception as error:
        raise teach(
            ArgumentTypeError,
            f"{what} cannot be pickled, since what it calls cannot.",
            detail=f"Python says: {error}",
            do="define the functions by def at the top of a module, not by lambda nor inside a function; or pickle the function that was "
            "staged, and stage it where it arrives; or pickle with cloudpickle, which sends functions by value.",
        ) from None

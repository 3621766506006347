"""The result of a transformation: a function that knows the call that made it.

``grad(f)`` is a `Transformed`: it is called as the derivative, prints as ``<grad of f (model.py:3)>``, pickles as ``grad`` of ``f``, and is
made anew where a traced value that ``f`` closes over is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import WRAPPER_ASSIGNMENTS, update_wrapper, wraps
from types import MethodType
from typing import Any, TypeVar

from ..core.errors import CotanError, hide_internal_frames
from ..core.origin import describe_function
from ..core.pickling import global_name
from ..ops.gaps import GAPS_MET
from .arguments import present
from .limits import settled

__all__ = ["Transformed", "transformation"]

F = TypeVar("F", bound=Callable[..., Any])


class Transformed:
    """``make(*args, **kwargs)``, which is run by ``run``. The first of the arguments is the function that was transformed."""

    def __init__(self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[..., Any]):
        fun = args[0] if args else kwargs["fun"]
        assigned = [name for name in WRAPPER_ASSIGNMENTS if name != "__doc__"]
        update_wrapper(self, fun, assigned, ())
        self.__doc__ = f"{make.__name__} of {describe_function(fun)}.\n\n{getattr(fun, '__doc__', None) or ''}"
        self.make, self.args, self.kwargs, self.run = make, args, kwargs, run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            before = GAPS_MET[0]
            result = self.run(*args, **kwargs)
            return result if GAPS_MET[0] == before else settled(result, lambda: self.run(*args, **kwargs))
        except Exception as error:
            try:
                present(error)
            except CotanError as better:
                hide_internal_frames(better)  # those of `present`
                raise
            raise

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        return global_name(self) or (made_again, (self.make, self.args, self.kwargs))

    def __repr__(self) -> str:
        return f"<{self.make.__name__} of {describe_function(self)}>"

    # ---- what `closures` asks for ----------------------------------------------------------------------------------------
    def closed_over(self) -> dict[str, Any]:
        return {"args": self.args, "kwargs": self.kwargs}

    def with_closed_over(self, values: dict[str, Any]) -> Any:
        return self.make(*values["args"], **values["kwargs"])


def made_again(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The object that was pickled as a call."""
    return make(*args, **kwargs)


def transformation(make: F) -> F:
    """A function that takes a function, and options, and returns one: the result becomes a `Transformed`."""

    @wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        run = make(*args, **kwargs)
        return Transformed(made, args, kwargs, run)

    return made  # type: ignore[return-value]

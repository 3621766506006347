"""Looking into traced code while it runs: `print` and `callback`, under every transformation and compiled."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import partial
from string import Formatter
from typing import Any

import numpy as np

from .api.arguments import boundary, check_callable, leaf
from .control.effects import Effect
from .core import tree
from .core.errors import ArgumentError, teach
from .core.listing import listing
from .core.origin import describe_function

__all__ = ["callback", "print"]


@boundary
def callback(callback: Callable[..., Any], /, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Call a function for what it does, with the values that traced arguments have when the code runs.

    Args:
        callback: any function; its result is dropped. It may call cotan.
        args, kwargs: trees of arrays, which it gets as NumPy arrays of its own, and of texts.
        ordered: accepted as in JAX; the calls of one program always come in the order of its lines.

    Under a derivative it is called once, with the primals; under `vmap` for each example, in their order; in a loop in each step; in a
    branch where that is taken. What a checkpoint or a loop computes again for reverse mode does not call it again. Under `vmap` a
    while loop calls it also for examples that have ended, and a call whose arguments are the same for all examples is one call.

    >>> import cotan, numpy as np
    >>> seen = []
    >>> def f(x):
    ...     y = np.sin(x)
    ...     cotan.debug.callback(lambda y: seen.append(float(y)), y)
    ...     return y
    >>> _ = cotan.jit(cotan.vmap(cotan.grad(f)))(np.array([0.0, np.pi / 2]))
    >>> seen
    [0.0, 1.0]
    """
    check_callable("debug.callback", callback)
    leaves, spec = tree.flatten((args, kwargs))
    static = {k: x for k, x in enumerate(leaves) if isinstance(x, str | bytes)}
    arrays = [leaf(x, "an argument of debug.callback or debug.print") for k, x in enumerate(leaves) if k not in static]
    Effect(partial(call_with, callback, spec, static), describe_function(callback))(*arrays)


def call_with(function: Callable[..., Any], spec: Any, static: dict[int, Any], *arrays: Any) -> None:
    """Call ``function`` with the tree of ``arrays``, and of the texts in ``static``, that ``spec`` describes as (args, kwargs)."""
    it = iter(arrays)
    positional, keyword = tree.unflatten(spec, [static[k] if k in static else next(it) for k in range(spec.num_leaves)])
    function(*positional, **keyword)


@boundary
def print(fmt: str, /, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Print ``fmt.format(*args, **kwargs)``, with the values that traced arguments have when the code runs. See `callback` for when.

    Raises:
        ArgumentError: ``fmt`` is not a text, or does not fit the arguments.

    >>> import cotan, numpy as np
    >>> def f(x):
    ...     cotan.debug.print("x is {x}", x=x)
    ...     return x**2
    >>> _ = cotan.jit(cotan.grad(f))(3.0)
    x is 3.0
    """
    if not isinstance(fmt, str):
        raise teach(ArgumentError, f"debug.print: the format is {type(fmt).__name__}.", do='write debug.print("x is {x}", x=x).')
    try:
        fmt.format(*args, **kwargs)
    except (IndexError, KeyError) as error:
        do = "write {} for each further argument, or {name} for each one given by name."
        raise teach(ArgumentError, f"debug.print: the format {fmt!r} names {error}, which is not given.", do=do) from None
    except Exception:  # a format of numbers, such as {x:.2f}, of a traced value
        pass

    callback(partial(show, fmt), *args, ordered=ordered, **kwargs)


def show(fmt: str, /, *values: Any, **named: Any) -> None:
    """Print the values in the format."""
    builtins.print(Format().format(fmt, *map(shown, values), **{name: shown(x) for name, x in named.items()}))


show.__name__ = "print"  # as the effect is named in Programs


class Format(Formatter):
    """Formats numbers of any dtype with the digits that they have."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        return str(value) if isinstance(value, np.generic) and not format_spec else super().format_field(value, format_spec)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(plain(value) if isinstance(value, np.generic) and conversion else value, conversion)


def shown(x: Any) -> Any:
    """What a format shows of an argument: a number of an array without axes; in a tuple, list or dict, Python numbers."""
    if isinstance(x, np.ndarray):
        return x if x.shape else x[()]
    return tree.map(lambda leaf: plain(leaf) if isinstance(leaf, np.ndarray) and not leaf.shape else leaf, x)


def plain(x: Any) -> Any:
    """The Python number that prints as an array without axes."""
    return type(x.item())(str(x)) if x.dtype.kind in "fc" else x.item()


__dir__ = listing(__all__)

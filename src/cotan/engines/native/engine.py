"""Running Programs: kernels as machine code, and everything else by NumPy.

The interface is that of `engines.numpy`: a function that takes over the flat list of its arguments.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...core.program import Program
from ..flat import Step, flat_runner
from .kernels import Kernel, group, module_of
from .machine import machine
from .simplify import simplified

__all__ = ["compile_program", "compiled"]

LAYOUT = ("C_CONTIGUOUS", "ALIGNED")
_compiled: WeakKeyDictionary[Program, Callable[[list[Any]], list[Any]]] = WeakKeyDictionary()


def compiled(program: Program) -> Callable[[list[Any]], list[Any]]:
    """`compile_program`, done once for each Program."""
    run = _compiled.get(program)
    if run is None:
        run = _compiled[program] = compile_program(program)
    return run


def compile_program(program: Program) -> Callable[[list[Any]], list[Any]]:
    """A function of the flat arguments that runs ``program``. It takes over the list that it is given."""
    program = simplified(program)
    plan = group(program)
    code: dict[int, int] = {}
    for small, level in ((False, 3), (True, 1)):
        kernels = [step for step in plan if isinstance(step, Kernel) and step.small == small]
        if kernels:
            text, names = module_of(kernels)
            addresses = machine().compile(text, names, level)
            code.update((id(kernel), addresses[name]) for kernel, name in zip(kernels, names, strict=True))
    steps = [
        Step(launcher(step, code[id(step)]), None, True, step.inputs, step.outputs)
        if isinstance(step, Kernel)
        else Step(step.op.impl, step.op.update, step.op.multiple, step.inputs, step.outputs)
        for step in plan
    ]
    return flat_runner(program, steps)


def launcher(kernel: Kernel, address: int) -> Callable[..., list[Any]]:
    """Calls the code of a kernel on arrays, and gives its results as new arrays. Other threads run meanwhile."""
    count = len(kernel.inputs) + len(kernel.outputs)
    if kernel.packed:
        together, taking_all = ctypes.py_object * count, ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(address)

        def native(*arrays: Any) -> int:
            pointers = together(*arrays)
            return taking_all(ctypes.addressof(pointers))
    else:
        native = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.py_object] * count)(address)
    wanted = [v.type.dtype for v in kernel.inputs]
    made = [(v.type.shape, v.type.dtype) for v in kernel.outputs]
    scalars = [not shape for shape, _ in made]
    any_scalar = any(scalars)
    empty, ndarray = np.empty, np.ndarray

    def run(*operands: Any) -> list[Any]:
        results: list[Any] = [empty(shape, dtype) for shape, dtype in made]
        for x in operands:
            if type(x) is not ndarray:
                refused = 1
                break
        else:
            refused = native(*operands, *results)
        if refused:  # a scalar, or an array in another layout
            refused = native(*[np.require(x, dtype, LAYOUT) for x, dtype in zip(operands, wanted, strict=True)], *results)
            assert not refused
        return [y[()] if scalar else y for y, scalar in zip(results, scalars, strict=True)] if any_scalar else results

    return run

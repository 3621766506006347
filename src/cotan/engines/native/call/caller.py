"""The caller: compiled code as a function that Python calls directly, on array objects.

The C function is `runtime.trampoline`; this module fills its tables. A `Caller` holds everything that its table points to, and the C
function holds the `Table`, so code, constants and callbacks live as long as somebody can call them. Arguments that the C function refuses
(not C-contiguous, another byte order or class) are copied into arrays that it takes (`exactly`). Arguments that are not donated are never
modified; results are new arrays.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

import numpy as np

from cotan.core.array import Array, settled
from cotan.core.emitting import DType
from cotan.core.errors import EngineError, teach
from cotan.core.program import Program
from cotan.core.types import ArrayType, StackType, Type
from cotan.engines.native.codegen.lower import LoweredModule
from cotan.engines.native.cost import is_short
from cotan.engines.native.llvm.jit import BoundCode, machine
from cotan.engines.native.llvm.parallel_for import THREAD_LIMIT_SLOT
from cotan.engines.native.runtime.alias_check import may_write, may_write_address
from cotan.engines.native.runtime.allocator import maker
from cotan.engines.native.runtime.capi import (
    SCALAR_OFFSET,
    TYPE_OFFSET,
    ArrayFlag,
    ArrayOffset,
    Slot,
    add_python_functions,
    address_of,
    new_function,
    numpy_function,
)  # fmt: skip
from cotan.engines.native.runtime.compile_lock import lazy_singleton
from cotan.engines.native.runtime.stack_handles import argument_types, free_blocks, holds_stacks, result_types, with_stacks
from cotan.engines.native.runtime.trampoline import INPUT_SLOTS, OUTPUT_SLOTS, SYMBOLS, TRAMPOLINE, TableSlot
from cotan.engines.native.status import Status
from cotan.engines.native.target import ALIGNMENT

from .callbacks import python_function

__all__ = ["Argument", "Caller", "NumPyArray", "c_function"]

LARGEST_TABLE = 1 << 12
"""More arguments and results than these are not put on the stack."""
METH_FASTCALL = 0x0080
Argument: TypeAlias = Any
"""An argument or a result of a call: an array or scalar of any class, or a stack."""
NumPyArray: TypeAlias = np.ndarray[Any, DType]
"""An array whose dimension and dtype are not known statically."""
Slots: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
NONE: Mapping[int, int] = MappingProxyType({})
SCALARS: dict[tuple[DType, bool], type] = {
    (np.dtype(float), True): float,
    (np.dtype(np.int64), True): int,
    (np.dtype(complex), True): complex,
    **{(np.dtype(t), False): t for t in (np.float64, np.float32, np.int64, np.int32, np.bool_, np.complex128)},
}
"""The class of a scalar that may stand for an argument of a dtype, weak or not: its number is at `SCALAR_OFFSET` (an int has to be
converted)."""


@lru_cache(maxsize=64)
def plain_dtype(dtype: DType) -> DType:
    """The one dtype object that arrays of this kind have, as a rule (a pickled array, or one of C's other integers, may have another)."""
    return np.dtype(dtype.str)


class Table(np.ndarray[tuple[int], np.dtype[np.int64]]):
    """The table of the trampoline for a callable (`TableSlot`), as an array that frees its spare workspace."""

    kept: object = ()
    """The objects that its slots point to."""
    free: Callable[[int], None] | None = None
    """Frees a workspace. A view of a table has none."""

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.free is not None and not ending():  # at the end of the process, modules are empty and the code may be gone
            spare = int(np.ndarray.__getitem__(self, TableSlot.SPARE))
            if spare:
                self.free(spare)


class MethodDef(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@lazy_singleton
def method() -> tuple[MethodDef, Callable[[int], None]]:
    """The PyMethodDef of `launch`, which is kept since functions point to it; and the function that frees a workspace.

    Made at first use. Optimization of the few loops of `launch` takes LLVM seven times as long, and makes no call shorter.
    """
    add_python_functions(machine(), *SYMBOLS)
    addresses = machine().compile(TRAMPOLINE, ["launch", "give_back"], 0)
    return MethodDef(b"launch", addresses["launch"], METH_FASTCALL, None), FREE(addresses["give_back"])


def slots(values: Iterable[int]) -> Slots:
    return np.array(list(values), np.int64)


def c_function(
    main: int, inputs: Sequence[ArrayType], constants: Sequence[Argument], outputs: Sequence[ArrayType], *,
    workspace: int = 0, callback_table: int = 0, release: bool = True, single: bool = False, kept: object = (),
    donated_input_of: Mapping[int, int] = NONE,
) -> Callable[..., Any]:  # fmt: skip
    """The C function that calls ``main`` on arrays of the types ``inputs``, of which the first are ``constants``.
    ``callback_table`` is the address that it passes on; ``donated_input_of`` is as in `codegen.lower.LoweredModule`.
    """
    shapes: list[Slots] = []

    def shape_at(shape: tuple[int, ...]) -> int:
        shapes.append(slots(shape or (0,)))
        return shapes[-1].ctypes.data

    records: list[int] = []
    for k, t in enumerate(inputs):
        scalar = None if t.shape else SCALARS.get((t.dtype, t.weak))
        data = constants[k].ctypes.data if k < len(constants) else 0
        records += [data, id(plain_dtype(t.dtype)), len(t.shape), shape_at(t.shape), id(scalar) if scalar is not None else 0, scalar is int]
    ins = slots(records)
    outs = slots(
        w for k, t in enumerate(outputs)
        for w in (id(plain_dtype(t.dtype)), len(t.shape), shape_at(t.shape), donated_input_of.get(k, -1), maker(t.nbytes, machine()))
    )  # fmt: skip
    sizes = slots(t.nbytes for t in inputs)
    assert len(ins) == INPUT_SLOTS * len(inputs)
    assert len(outs) == OUTPUT_SLOTS * len(outputs)
    table = np.zeros(len(TableSlot), np.int64).view(Table)
    for slot, value in {
        TableSlot.MAIN: main, TableSlot.FUNCTIONS: callback_table, TableSlot.WORKSPACE_BYTES: workspace,
        TableSlot.CONSTANTS: len(constants), TableSlot.COUNT_IN: len(inputs), TableSlot.COUNT_OUT: len(outputs),
        TableSlot.INPUTS: ins.ctypes.data, TableSlot.OUTPUTS: outs.ctypes.data,
        TableSlot.RELEASE: release, TableSlot.SINGLE: single, TableSlot.NDARRAY: id(np.ndarray), TableSlot.ARRAY: id(Array),
        TableSlot.NOT_IMPLEMENTED: id(NotImplemented), TableSlot.NEW_ARRAY: numpy_function(Slot.NEW_FROM_DESCR),
        TableSlot.BYTES: sizes.ctypes.data, TableSlot.MAY_WRITE: may_write_address(machine()) if donated_input_of else 0,
    }.items():  # fmt: skip
        table[slot] = value
    table.kept = (ins, outs, sizes, shapes, list(inputs), list(outputs), list(constants), kept)
    definition, table.free = method()
    return new_function(ctypes.addressof(definition), table)


@lazy_singleton
def layouts_are_known() -> bool:
    """Whether objects of this Python and NumPy have the memory layout that `launch` reads, tried on known arrays and scalars."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False

    def word(x: object, offset: int) -> int:
        return ctypes.c_int64.from_address(id(x) + offset).value

    for x in (np.arange(6.0).reshape(2, 3), np.arange(4, dtype=np.int32)[::2], np.asarray(np.float32(2.0)), np.zeros((3, 4), order="F")):
        flags = (
            ArrayFlag.C_CONTIGUOUS * x.flags.c_contiguous + ArrayFlag.OWNS_DATA * x.flags.owndata
            + ArrayFlag.ALIGNED * x.flags.aligned + ArrayFlag.WRITEABLE * x.flags.writeable
        )  # fmt: skip
        shape = (ctypes.c_int64 * x.ndim).from_address(word(x, ArrayOffset.DIMENSIONS)) if x.ndim else ()
        here = (
            word(x, TYPE_OFFSET) == id(np.ndarray) and word(x, ArrayOffset.DATA) == x.ctypes.data
            and word(x, ArrayOffset.NDIM) & 0xFFFFFFFF == x.ndim and tuple(shape) == x.shape
            and word(x, ArrayOffset.DESCR) == id(x.dtype) and word(x, ArrayOffset.FLAGS) & sum(ArrayFlag) == flags
            and word(x, ArrayOffset.BASE) == (0 if x.base is None else id(x.base))
        )  # fmt: skip
        if not here:
            return False
    for (dtype, _), kind in SCALARS.items():
        x = kind(1)
        if kind is not int and ctypes.string_at(id(x) + SCALAR_OFFSET, dtype.itemsize) != np.ones((), dtype).tobytes():
            return False
    return numpy_function(Slot.NEW_FROM_DESCR) != 0


class Caller:
    """A Program's code as a function: ``launch(*arguments)`` takes exactly what the code reads, else NotImplemented; ``call`` takes all.

    ``constants`` are the first inputs of the Program, which are the same in each call; nobody changes them.
    """

    def __init__(
        self,
        program: Program,
        constants: Sequence[Argument],
        code: LoweredModule,
        placed: BoundCode,
        *,
        threads: int = 0,
        single: bool = False,
        release: bool | None = None,
    ):
        self.main, numbers = placed
        address = self.main.address
        self.program, self.code, self.single = program, code, single
        self.inputs, self.outputs = [v.type for v in program.inputs], [v.type for v in program.outputs]
        self.constants = [exactly(x, t) for x, t in zip(constants, self.inputs, strict=False)]
        self.given = self.inputs[len(constants) :]
        self.array_inputs, self.array_outputs = argument_types(self.inputs), result_types(self.outputs)
        errors: dict[int, BaseException] = {}
        self.errors = errors
        callbacks = [python_function(c, lambda error: errors.__setitem__(threading.get_ident(), error)) for c in code.callbacks]
        self.callback_table = (ctypes.c_int64 * (1 + len(callbacks) + len(numbers)))(threads, *map(address_of, callbacks), *numbers)
        self.numbers, self.threads = numbers, threads
        release = release if release is not None else bool(code.callbacks) or not is_short(program)
        self.release = release
        if layouts_are_known() and len(self.inputs) + len(self.outputs) <= LARGEST_TABLE:
            self.launch: Callable[..., Any] = c_function(
                address, self.array_inputs, self.constants, self.array_outputs,
                workspace=code.workspace, callback_table=self.callback_table_address, release=release,
                single=single and len(self.array_outputs) == 1, kept=(callbacks, self.callback_table, self.main),
                donated_input_of=code.donated_input_of,
            )  # fmt: skip
        else:
            self.kept = callbacks
            self.launch = self.by_ctypes
        if holds_stacks(self.inputs) or holds_stacks(self.outputs):
            self.launch = with_stacks(self.launch, self.given, self.outputs, free_blocks(machine()))

    def __deepcopy__(self, memo: object) -> Caller:
        return self  # it never changes

    def bound(self, constants: Sequence[Argument], single: bool) -> Caller:
        """A caller of this code with further constants; ``single`` if it returns its one result as it is, not in a tuple."""
        given = [*self.constants, *constants]
        return Caller(
            self.program, given, self.code, BoundCode(self.main, self.numbers), threads=self.threads, single=single, release=self.release
        )

    @property
    def unused(self) -> list[int]:
        """The donated inputs in whose memory there is no result, by their numbers without the constants."""
        return [k - len(self.constants) for k in self.code.unused]

    @property
    def callback_table_address(self) -> int:
        """The pointer to the callback table that the code takes: to the slot behind the limit of threads."""
        return ctypes.addressof(self.callback_table) - 8 * THREAD_LIMIT_SLOT

    def __call__(self, values: Sequence[Argument]) -> list[Argument]:
        """The results for a list of arguments of any layout, as a list."""
        found = self.call(values)
        return [found] if self.single else list(found)

    def call(self, values: Sequence[Argument]) -> Any:
        """The result, or the tuple of results, for arguments of any layout."""
        if len(values) != len(self.given):
            raise TypeError(f"{self.program.name} takes {len(self.given)} arguments, not {len(values)}")
        found = self.launch(*values)
        if found is NotImplemented:
            found = self.launch(*map(exactly, values, self.given))
        if type(found) is int:
            self.fail(found)
        assert found is not NotImplemented, self.program.name
        return found

    def fail(self, status: int) -> NoReturn:
        """Raise the error of a status."""
        if status >= Status.OUT_OF_BOUNDS:
            self.errors.pop(threading.get_ident(), None)
            raise outside(self.program.name, self.code.places[status - Status.OUT_OF_BOUNDS])
        if status == Status.RAISED:
            raise self.errors.pop(threading.get_ident())
        failure = self.code.failures.raised(status, self.program)
        if failure is not None:
            raise failure
        assert status == Status.OUT_OF_MEMORY, status
        raise MemoryError(f"{self.program.name}: there is no memory for what a loop keeps")

    def by_ctypes(self, *values: Argument) -> Any:
        """`launch` in Python, for very many arguments, or if objects have another memory layout."""
        operands = [*self.constants, *map(exactly, values, self.array_inputs[len(self.constants) :])]
        results = [self.result(k, t, operands) for k, t in enumerate(self.array_outputs)]
        block, start = workspace(self.code.workspace)
        tables = [(ctypes.c_void_p * max(len(xs), 1))(*[x.ctypes.data for x in xs]) for xs in (operands, results)]
        main = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(self.main.address)  # raises what a signal's handler has raised
        status = main(*map(ctypes.addressof, tables), start, self.callback_table_address)
        del block
        results = list(map(settled, results))
        return status or (results[0] if self.single and len(results) == 1 else tuple(results))

    def result(self, k: int, t: ArrayType, operands: list[NumPyArray]) -> Array:
        """New memory for a result; or that of an argument, which becomes a copy if it must not be changed."""
        donor = self.code.donated_input_of.get(k)
        if donor is None:
            return np.empty(t.shape, plain_dtype(t.dtype)).view(Array)
        if not may_write(operands[donor], [*operands[:donor], *operands[donor + 1 :]]):
            operands[donor] = operands[donor].copy()
        return operands[donor].view(Array)


def workspace(nbytes: int) -> tuple[NumPyArray, int]:
    """New memory, and the first aligned address in it."""
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    address = block.ctypes.data
    return block, address + -address % ALIGNMENT


def exactly(x: Argument, t: Type) -> NumPyArray:
    """An argument in the memory layout that the code reads: itself if it has that, else a copy."""
    if isinstance(t, StackType):
        return x
    dtype = plain_dtype(t.dtype)
    if type(x) in (np.ndarray, Array) and x.dtype is dtype and x.flags.c_contiguous and x.flags.aligned:
        return x
    if np.shape(x) != t.shape:
        raise TypeError(f"an argument has shape {np.shape(x)}, where the code was made for {t}")
    copy = np.empty(t.shape, dtype)
    copy[...] = x
    return copy


def outside(name: str, place: str) -> EngineError:
    """The error of a checked build for an access out of bounds."""
    what = f"{name}: compiled code was about to leave the memory of an array, at {place}."
    return teach(EngineError, what, do="this is a defect of cotan, or of the `element` of an op from elsewhere: please report it.")

"""Fingerprints: a key of everything that the LLVM IR of a Program depends on, which later processes compute again.

The key is a hash of the Program (its equations, the parameters of their ops in full, types, literals), of the codegen options, and of the
`surroundings`: the files of cotan, the versions, the processor, the settings. The values of input arrays, captured ones too, are no part of
it, since code reads them from memory.

Invariant: two Programs with one key have the same IR. So parameters are described by their exact classes, each of which is listed here with
all that its values consist of, and floats by their bits. A value of another class (a function, an object of a user, an op that is not
cotan's own) cannot be described: such a Program has no key.
"""

from __future__ import annotations

import hashlib
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from cotan.core import IMPORTED
from cotan.core.array import Array
from cotan.core.emitting import DType
from cotan.core.op import REGISTRY, Op
from cotan.core.origin import PACKAGE
from cotan.core.program import Literal, Program, Var
from cotan.core.types import ArrayType, StackType, Type
from cotan.engines.native.llvm.bounds_checks import is_checked_build
from cotan.engines.native.llvm.jit import PASSES, machine
from cotan.engines.native.options import CodegenOptions

__all__ = ["UnknowableError", "described", "key_of"]

Value: TypeAlias = Any
"""A parameter of an op, or a part of one, of any class: `KINDS` says which are known."""
Description: TypeAlias = "bool | int | str | tuple[Description, ...] | None"
"""Its ``repr`` tells a value from all others."""
T = TypeVar("T")
FORMAT = "ir 2"
JUST_NOW = 2.0
"""Clocks of file systems are coarse: a file that was changed so many seconds before cotan was imported counts as changed since."""
MOST_BYTES = 1 << 20
"""A larger array among parameters is not worth reading."""


class UnknowableError(Exception):
    """Something is not known by its value."""


def key_of(program: Program, donated: Sequence[int], options: CodegenOptions) -> str | None:
    """The key of the IR of a Program some of whose inputs are donated; None if it has none."""
    if is_checked_build():  # checked code names lines of the user
        return None
    around = surroundings(*sorted((k, v) for k, v in os.environ.items() if k.startswith("COTAN_") and not k.startswith("COTAN_CACHE")))
    if around is None:
        return None
    try:
        content = Describer().program(program)
    except UnknowableError:
        return None
    return hashlib.sha256(repr((FORMAT, around, content, tuple(donated), options.key)).encode()).hexdigest()


# ---- the Program -------------------------------------------------------------------------------------------------------------------
def described(value: Value) -> Description:
    """The description of a value.

    Raises:
        UnknowableError: it is none of the kinds that are known by value.
    """
    return Describer().of(value)


class Describer:
    """Describes the parts of one Program, each object once."""

    def __init__(self) -> None:
        self.known: dict[int, Description] = {}
        """The descriptions of ops, types and inner programs by identity: they live as long as the Program that is described."""

    def of(self, x: Value) -> Description:
        kind = type(x)
        if kind in PLAIN:
            return x
        describe = KINDS.get(kind)
        if describe is not None:
            return kind.__name__, describe(self, x)
        if isinstance(x, np.generic) and kind.__module__ == "numpy":
            return "scalar", self.dtype(x.dtype), x.tobytes().hex()
        if isinstance(x, np.dtype):
            return "dtype", self.dtype(x)
        if isinstance(x, Op):
            return self.once(x, self.op)
        if is_ours(kind):
            if isinstance(x, tuple) and hasattr(kind, "_fields"):
                return kind.__module__, kind.__qualname__, self.all(x)
            if is_dataclass(x) and kind.__dictoffset__ and vars(x).keys() == {f.name for f in fields(x)}:
                return kind.__module__, kind.__qualname__, self.all(vars(x).values()), tuple(vars(x))
        raise UnknowableError(kind)

    def once(self, x: T, describe: Callable[[T], Description]) -> Description:
        """The description of an object that may occur many times."""
        found = self.known.get(id(x))
        if found is None:
            found = self.known[id(x)] = describe(x)
        return found

    def all(self, values: Iterable[Value]) -> Description:
        return tuple([self.of(x) for x in values])

    def op(self, op: Op) -> Description:
        """The class of an op, which is cotan's own, and all its parameters, also those that do not count when ops are compared. The ops of
        engines are not registered.
        """
        kind = type(op)
        if not is_ours(kind) or not (REGISTRY.get(kind.name) is kind or kind.__module__.startswith("cotan.engines.")):
            raise UnknowableError(kind)
        names = [f.name for f in fields(op)] if is_dataclass(op) else []
        for name in vars(op).keys() - set(names):
            if type(getattr(kind, name, None)) is not cached_property:  # which follows from the parameters
                raise UnknowableError(kind)
        return kind.__module__, kind.__qualname__, self.all([getattr(op, name) for name in names])

    def dtype(self, dtype: DType) -> Description:
        if dtype.kind not in "biufc" or not dtype.isnative:
            raise UnknowableError(dtype)
        return dtype.str, dtype.char

    def array(self, x: np.ndarray) -> Description:
        if x.nbytes > MOST_BYTES:
            raise UnknowableError("a large array")
        return self.dtype(x.dtype), x.shape, hashlib.sha256(x.tobytes()).hexdigest()

    def type(self, t: Type) -> Description:
        return self.once(t, self.new_type)

    def new_type(self, t: Type) -> Description:
        if type(t) is ArrayType:
            return tuple(map(int, t.shape)), self.dtype(t.dtype), bool(t.weak)
        if type(t) is StackType:
            return "stack", self.type(t.element)
        raise UnknowableError(type(t))

    def program(self, program: Program) -> Description:
        """A hash of a closed program: its variables are known by the order in which they come."""
        return self.once(program, self.new_program)

    def new_program(self, program: Program) -> str:
        numbers: dict[Var, int] = {}

        def operand(v: Var | Literal) -> Description:
            if type(v) is Var:
                if v not in numbers:
                    raise UnknowableError("a free variable")
                return numbers[v]
            if type(v) is not Literal:
                raise UnknowableError(type(v))
            return self.type(v.type), self.of(v.value)

        def define(v: Var) -> Description:
            numbers[v] = len(numbers)
            return self.type(v.type)

        inputs = [define(v) for v in program.inputs]
        rows = [(self.once(e.op, self.op), [operand(v) for v in e.inputs], [define(v) for v in e.outputs]) for e in program.equations]
        outputs = [operand(v) for v in program.outputs]
        content = (program.name, inputs, rows, outputs, self.all(program.constants))
        return hashlib.sha256(repr(content).encode()).hexdigest()


def is_ours(kind: type) -> bool:
    """Whether a class is written in a file of cotan. (One that is made there for a user says so too, but is not found there.)"""
    module = kind.__module__
    return module.startswith("cotan.") and getattr(sys.modules.get(module), kind.__qualname__, None) is kind


PLAIN = {type(None), bool, int, str}
"""The classes of values that are their own descriptions: no two of these have equal ``repr``s."""
KINDS: dict[type, Callable[[Describer, Value], Description]] = {
    float: lambda _, x: struct.pack("<d", x).hex(),
    complex: lambda _, x: struct.pack("<dd", x.real, x.imag).hex(),
    bytes: lambda _, x: x.hex(),
    tuple: Describer.all,
    list: Describer.all,
    dict: lambda self, x: (self.all(x.keys()), self.all(x.values())),
    slice: lambda self, x: self.all((x.start, x.stop, x.step)),
    np.ndarray: Describer.array,
    Array: Describer.array,
    ArrayType: Describer.type,
    StackType: Describer.type,
    Program: Describer.program,
}
"""How values of each class are described, in full."""


# ---- what is around it -------------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=8)
def surroundings(*settings: tuple[str, str]) -> str | None:
    """A hash of everything outside a Program that its IR depends on; None if the running files are not known."""
    files = source()
    if files is None:
        return None
    host = machine()
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) else ""
    system = (os.name, sys.platform, platform.machine(), libc, struct.calcsize("P"), sys.byteorder)
    versions = (sys.version, np.__version__, llvmlite.__version__, llvm.llvm_version_info, PASSES)
    processor = (host.triple, host.cpu, host.flags, sorted(host.features.items()))
    return hashlib.sha256(repr((files, system, versions, processor, settings)).encode()).hexdigest()


def source() -> list[tuple[str, int, int, int, int]] | None:
    """The files of cotan as the file system knows them; None where one was changed since they were read, or they are no files."""
    try:
        found = sorted(files_below(PACKAGE))
    except OSError:
        return None
    latest = max((max(changed, written) for _, _, written, changed, _ in found), default=None)
    return found if latest is not None and latest < (IMPORTED - JUST_NOW) * 1e9 else None


def files_below(folder: str) -> Iterator[tuple[str, int, int, int, int]]:
    """The Python files of a folder: path, size, when they were written and changed, and their number in the file system."""
    with os.scandir(folder) as files:
        for file in files:
            if file.name.endswith(".py"):
                status = file.stat()
                yield file.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            elif "." not in file.name and file.name != "__pycache__" and file.is_dir():
                yield from files_below(file.path)

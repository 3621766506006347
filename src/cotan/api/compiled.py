"""Compiling ahead of time: `Lowered` and `Compiled`, the results of ``jit(f).lower(*args)`` and of its ``.compile()``. Names are JAX's.

A Compiled has one signature. It is called like the function, without the static arguments, from Python; by its address or as an object
file from C; and by SciPy's integrators and filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from .. import engines
from ..core import tree
from ..core.errors import (
    ArgumentError,
    ArgumentTypeError,
    CotanError,
    EqualValuesError,
    UnsupportedFunctionError,
    hide_internal_frames,
    teach,
)
from ..core.program import Program
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..engines import EngineRefusal
from .arguments import leaf, present
from .dispatch import never, taking_apart
from .limits import at_equal_values
from .signature import Signature, Staged, argument_names

__all__ = ["Compiled", "Lowered"]

T = TypeVar("T")


class Lowered:
    """A function staged at one signature, not yet compiled: ``jit(f).lower(*args)``.

    ``program`` is its Program, ``donated`` the numbers of its inputs in whose memory results may lie. ``warn_of_unused`` is called with the
    numbers of the leaves of arguments that were donated in vain.
    """

    def __init__(self, staged: Staged, signature: Signature, donated: tuple[int, ...], warn_of_unused: Callable[[Sequence[int]], None]):
        self.staged, self.signature, self.donated, self.warn_of_unused = staged, signature, donated, warn_of_unused
        self.names = argument_names(signature.spec)

    def leaf_names(self) -> tuple[list[str], list[str]]:
        """The names of the leaves of results, and of the inputs of the Program."""
        return tree.leaf_names(self.staged.out_spec, "result"), [*["a constant"] * len(self.staged.constants), *self.names]

    @property
    def program(self) -> Program:
        return self.staged.program

    def as_text(self, dialect: str = "cotan") -> str:
        """The Program ("cotan"), or the LLVM IR ("llvm")."""
        if dialect == "cotan":
            return str(self.program)
        if dialect != "llvm":
            raise teach(ArgumentError, f"as_text: there is no dialect {dialect!r} here.", do="give 'cotan' or 'llvm'.")
        return compilable(self.program, engines.llvm_text, self.program, self.donated)

    def compile(self) -> Compiled:
        """The machine code, by the native engine whatever engine `jit` was given.

        Raises:
            UnsupportedFunctionError: the native engine has no code for an operation.
        """
        return Compiled(self)

    def __repr__(self) -> str:
        return f"<lowered {self.program.name} of {', '.join(map(str, self.signature.types))}>"


def compilable(program: Program, make: Callable[..., T], *arguments: Any) -> T:
    """The result of ``make``; a Program that the native engine refuses is an `UnsupportedFunctionError`."""
    try:
        return make(*arguments)
    except EngineRefusal as reason:
        raise teach(
            UnsupportedFunctionError,
            f"{program.name} cannot be compiled ahead of time: the native engine has no code for {reason}.",
            do="call jit(f) itself, which runs such a Program on the NumPy engine.",
        ) from None


class Compiled:
    """Machine code for one signature: ``jit(f).lower(*args).compile()``.

    It takes arguments of the same structure, shapes and dtypes as were given to ``lower``, without the static ones. ``report`` is as for
    `compile_report`, ``program`` is the Program.
    """

    def __init__(self, lowered: Lowered):
        self.lowered, self.staged, self.signature = lowered, lowered.staged, lowered.signature
        self.ahead = compilable(self.program, engines.compile_ahead, self.program, self.staged.constants, lowered.donated)
        unused = [k - len(self.staged.constants) for k in self.ahead.caller.unused]
        lowered.warn_of_unused(unused)
        self.spec = None if self.staged.out_spec == tree.structure(0) else self.staged.out_spec
        self.caller = self.ahead.bound(self.spec is None)
        self.launch = self.caller.launch
        apart = taking_apart(self.signature.spec, ())
        self.apart = apart if apart is not None and apart is not never else None
        self.flat = apart is None

    @property
    def program(self) -> Program:
        return self.lowered.program

    @property
    def report(self) -> Any:
        return self.ahead.report.naming(*self.lowered.leaf_names())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results.

        Raises:
            ArgumentTypeError: an argument is of another shape or dtype, or traced.
            ArgumentError: the arguments are another tree.
        """
        try:
            leaves = args if self.flat and not kwargs else self.apart(args, kwargs) if self.apart is not None else None
            if leaves is not None and current_trace() is EVAL:
                found = self.launch(*leaves)
                if found is not NotImplemented and type(found) is not int:
                    return found if self.spec is None else tree.unflatten(self.spec, found)
            found = self.caller.call(self.checked(args, kwargs))
            return found if self.spec is None else tree.unflatten(self.spec, found)
        except EqualValuesError as error:
            operands = [*self.staged.constants, *self.checked(args, kwargs)]
            found = at_equal_values(self.program, operands, error)
            return tree.unflatten(self.staged.out_spec, found)
        except Exception as error:
            try:
                present(error)
            except CotanError as better:
                hide_internal_frames(better)  # those of `present`
                raise
            raise

    def checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The leaves of arguments, which must have the structure and the types for which the code was made."""
        leaves, spec = tree.flatten((args, kwargs))
        name = self.program.name
        if spec != self.signature.spec:
            raise teach(
                ArgumentError,
                f"the compiled {name} is called with another tree of arguments than it was lowered for.",
                detail=f"given: {tree.describe(spec)}\nlowered for: {tree.describe(self.signature.spec)}",
                do="give arguments of that structure, without the static ones; or call jit(f), which compiles for each.",
            )
        checked = [leaf(x, label) for x, label in zip(leaves, self.lowered.names, strict=True)]
        for x, label, wanted in zip(checked, self.lowered.names, self.signature.types, strict=True):
            if type(x) is Tracer:
                raise teach(
                    ArgumentTypeError,
                    f"the compiled {name} is called with a traced value: {label} is {x!r}.",
                    do="transform the function and compile the result (jit(grad(f)).lower(x).compile()), or call jit(f) here.",
                )
            have = type_of(x)
            if have.shape != wanted.shape or have.dtype != wanted.dtype:
                raise teach(
                    ArgumentTypeError,
                    f"the compiled {name} takes {wanted.long_name()} as {label}, not {have.long_name()}.",
                    do="convert the argument, lower the function for its type, or call jit(f), which compiles for each type.",
                )
        return checked

    # ---- text -----------------------------------------------------------------------------------------------------------------------
    def as_text(self, dialect: str = "llvm") -> str:
        """The optimised LLVM IR ("llvm"), or the assembly ("asm")."""
        if dialect not in ("llvm", "asm"):
            raise teach(
                ArgumentError, f"as_text: there is no dialect {dialect!r} here.", do="give 'llvm' or 'asm'; the Program is .program."
            )
        return self.ahead.text(dialect)

    # ---- C --------------------------------------------------------------------------------------------------------------------------
    @property
    def address(self) -> int:
        """The address of a C function of this process, ``int32_t f(const T *x, ..., U *y, ...)``.

        It takes a pointer to the data of each leaf of the arguments, then one to each leaf of the results, in the order of
        ``cotan.tree.leaves``: row-major, without gaps, aligned as C aligns the elements (complex numbers are pairs, bools bytes). Results
        must not overlap arguments, but for a result that may lie in a donated argument: one pointer can be given for both. It takes its
        workspace from malloc, and returns 0, or the status of a failure. It needs no lock of the interpreter. It holds as long as this
        object does.
        """
        return self.ahead.address

    def low_level_callable(self, signature: str | None = None) -> Any:
        """The code as a ``scipy.LowLevelCallable`` for `scipy.integrate` and `scipy.ndimage`.

        Args:
            signature: the C function that SciPy wants (with npy_intp or intptr_t):

                - ``double (double)`` of one float64;
                - ``double (int, double *)`` of several float64, or of one array float64[n];
                - ``int (double *, intptr_t, double *, void *)``, `generic_filter`: of float64[n], n the size of the footprint;
                - ``int (double *, intptr_t, double *, intptr_t, void *)``, `generic_filter1d`: from float64[n] to float64[m];
                - ``int (intptr_t *, double *, int, int, void *)``, `geometric_transform`: from int64[n] to float64[m].

                The first two may have a further ``void *``. None is the first that suits.

        The code stays for the life of the process.

        Raises:
            ArgumentError: the function has no such arguments or results.
        """
        given, outputs = self.ahead.given, self.ahead.outputs
        wanted = None if signature is None else re.sub(r"\s+", " ", signature.replace("npy_intp", "intptr_t")).strip()
        fitting = engines.scipy_signatures(given, outputs)
        chosen = next(iter(fitting), None) if wanted is None else wanted if wanted in fitting else None
        if chosen is None:
            types = f"{', '.join(t.long_name() for t in given)} to {', '.join(t.long_name() for t in outputs)}"
            raise teach(
                ArgumentError,
                f"low_level_callable: {self.program.name}, from {types}, is no {signature or 'function that SciPy calls'}.",
                detail="signatures that suit it: " + ("; ".join(fitting) or "none"),
                do="lower the function for float64 scalars or one float64 vector, and return one float64.",
            )
        return import_module("scipy").LowLevelCallable(self.ahead.routine(chosen))

    def export_object(self, path: Any, header: Any = None, *, name: str | None = None) -> tuple[Path, Path]:
        """Write the code as an object file and its C header, for programs without Python.

        Args:
            path: the object file ("f.o").
            header: the header; by default beside it, "f.h".
            name: the name of the function; by default the name of the object file.

        The function has the signature of `address`; the header names the parameters after the arguments, and says what to link: ``-lm``;
        ``-lmvec`` where there are vector functions; a BLAS or LAPACK where there are products of matrices. The code is for this
        processor and all that have its instructions.

        Returns:
            the paths of the object and of the header.

        Raises:
            ArgumentError: ``name`` is not a name of C.
            UnsupportedFunctionError: the function calls back into Python, or into a library of this process.
        """
        path = Path(path)
        header = Path(header) if header is not None else path.with_suffix(".h")
        name = str(path.stem) if name is None else name
        if not re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII):
            raise teach(ArgumentError, f"export_object: {name!r} is not a name of C.", do="give name='f'.")
        results = tree.leaf_names(self.staged.out_spec, "result")
        try:
            made = engines.export(self.ahead, name, c_names(self.lowered.names), c_names(results))
        except EngineRefusal as reason:
            raise teach(
                UnsupportedFunctionError,
                f"export_object: {self.program.name} needs more than C: {reason}.",
                do="see .report.outside for what is not machine code, and leave it to the caller of the function.",
            ) from None
        path.write_bytes(made.object)
        header.write_text(made.header)
        return path, header

    def __repr__(self) -> str:
        return f"<compiled {self.program.name} of {', '.join(map(str, self.signature.types))}>"


def c_names(names: Sequence[str]) -> list[str]:
    """Names of C for leaves: ``args[0]['w']`` is ``args_0_w``. None occurs twice."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
        while plain in found:
            plain += "_"
        found.append(plain)
    return found

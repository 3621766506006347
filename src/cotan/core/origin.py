"""Where an equation came from: the user's line, and the rule that derived it.

An `Origin` holds a code object and an instruction offset, which cost nothing to keep; the file, the line and the columns are looked
up only when somebody reads them (`explain`, an error, a printed program). One context variable says from where what is recorded now
comes; `evaluating`, `applying`, `deriving` and `users_rule` set it, and nothing else passes provenance along.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from types import CodeType, FrameType, FunctionType
from typing import Any, Protocol, TypeAlias

import numpy as np

__all__ = [
    "PACKAGE",
    "Application",
    "Origin",
    "Source",
    "applying",
    "capturing",
    "deriving",
    "describe_error",
    "describe_function",
    "evaluating",
    "evaluating_each",
    "following",
    "here",
    "inherited",
    "inner_function",
    "is_capturing",
    "is_external_file",
    "is_users",
    "is_users_file",
    "library_call",
    "observer",
    "observing",
    "source_line",
    "staged_anew",
    "user_frame",
    "users_rule",
]

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
EXTERNAL = (
    PACKAGE,
    os.path.dirname(np.__file__) + os.sep,
    "<frozen",
    os.sep + "optree" + os.sep,
    os.sep + "functools.py",
    os.sep + "contextlib.py",
)
"""Code between the user and an op: frames of these files are never named."""
INSTALLED = (os.path.dirname(os.__file__) + os.sep, os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
"""Where the standard library and installed packages lie: their frames are named only where there is none of the user."""
STRING = "<string>"
"""The file of code that was compiled from a text: by ``python -c``, by exec, by dataclasses."""
GENERATED = frozenset(
    {"__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__", "__delattr__", "__create_fn__"}
)
"""The functions that dataclasses compile."""


@dataclass(frozen=True, slots=True)
class Place:
    """The remains of a pickled code object: the place of one of its instructions in the source."""

    co_filename: str
    co_name: str
    co_firstlineno: int
    position: tuple[int | None, int | None, int | None, int | None]

    def co_positions(self) -> Iterator[tuple[int | None, int | None, int | None, int | None]]:
        return iter([self.position])


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's instruction (``code`` at ``offset``), the ``rule`` that derived the equation from ``parent``, if any.

    ``caller`` is the origin of the call of ``code``, where somebody is `following` calls.
    """

    code: CodeType | Place | None
    offset: int
    rule: str | None = None
    parent: Source | None = None
    caller: Origin | None = None

    def __reduce__(self) -> Any:
        code = self.code
        if isinstance(code, CodeType):
            line, end, column, end_column = self.position
            code = Place(code.co_filename, code.co_name, code.co_firstlineno, (line, end, column, end_column))
        parent = self.parent and Application(Unloaded(self.parent.op.name, self.parent.op.verb), self.parent.origin)
        return Origin, (code, 0, self.rule, parent, self.caller)

    @property
    def filename(self) -> str:
        return self.code.co_filename if self.code else "<unknown>"

    @property
    def function(self) -> str:
        return self.code.co_name if self.code else "<unknown>"

    @property
    def position(self) -> tuple[int, int, int, int]:
        """First line, last line, first column, last column (lines from 1, columns from 0); zeros where unknown."""
        if self.code is None:
            return 0, 0, 0, 0
        line, end, column, end_column = position_at(self.code, self.offset)
        return line or self.code.co_firstlineno, end or line or 0, column or 0, end_column or 0

    @property
    def line(self) -> int:
        return self.position[0]

    @property
    def source(self) -> str:
        """The user's source line, stripped."""
        return source_line(self.filename, self.line).strip()

    def __str__(self) -> str:
        cell = cell_of(self.filename)
        return f"{cell}, line {self.line}" if cell else f"{os.path.basename(self.filename)}:{self.line}"

    def excerpt(self) -> str:
        """The user's line with a caret under the expression, as error messages show it."""
        line, end, column, end_column = self.position
        text = source_line(self.filename, line).rstrip("\n")
        head = f"  {self}, in {self.function}"
        if not text:
            return head
        stripped = text.lstrip()
        # Columns are byte offsets into the line.
        encoded = text.encode()
        start = len(encoded[:column].decode(errors="replace"))
        stop = len(encoded[:end_column].decode(errors="replace")) if end == line and end_column else len(text)
        start, stop = max(0, start - (len(text) - len(stripped))), max(1, stop - (len(text) - len(stripped)))
        return f"{head}\n    {stripped}\n    {' ' * start}{'^' * max(1, stop - start)}"


UNKNOWN = Origin(None, 0)
Span: TypeAlias = "tuple[int | None, int | None, int | None, int | None]"
_spans: dict[int, tuple[Any, list[Span]]] = {}
MOST_CODES = 256
"""The positions of so many code objects are remembered."""


def position_at(code: CodeType | Place, offset: int) -> Span:
    """Where the instruction at ``offset`` is in the source."""
    known = _spans.get(id(code))
    if known is None:
        if len(_spans) >= MOST_CODES:
            _spans.clear()
        known = _spans[id(code)] = code, list(code.co_positions())  # the code is kept, so that no other gets its id
    spans = known[1]
    return spans[offset // 2] if offset // 2 < len(spans) else (None, None, None, None)


def cell_of(filename: str) -> str | None:
    """``In [3]``: the cell of a notebook from which this code is; None if it is from a file."""
    if os.path.exists(filename) and "ipykernel" not in filename:
        return None
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    try:
        label = shell.compile.format_code_name(filename) if shell is not None else None
    except AttributeError:  # another kind of shell
        return None
    return label[1].replace("In[", "In [") if label else None


def source_line(filename: str, line: int) -> str:
    """A line of source; empty where there is none (doctest's own reader fails on the lines of another example), or of an unknown text."""
    if filename == STRING:
        return ""
    try:
        return linecache.getline(filename, line)
    except IndexError:
        return ""


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame at or above ``frame`` that is the user's own; else of an installed package. Never one of cotan or NumPy."""
    installed = None
    while frame is not None:
        if is_users(frame.f_code):
            return frame
        if installed is None and not is_external(frame.f_code):
            installed = frame
        frame = frame.f_back
    return installed


def is_users(code: CodeType) -> bool:
    """Whether ``code`` is the user's own."""
    return is_users_file(code.co_filename) and not is_generated(code)


def is_generated(code: CodeType) -> bool:
    """Whether dataclasses compiled this code."""
    return code.co_filename == STRING and code.co_name in GENERATED


@lru_cache(maxsize=4096)
def is_users_file(filename: str) -> bool:
    """Whether code in this file is the user's own."""
    return not any(part in filename for part in (*EXTERNAL, *INSTALLED))


def is_external(code: CodeType) -> bool:
    """Whether this code is cotan's, NumPy's or of the import system, or dataclasses compiled it."""
    return is_external_file(code.co_filename) or is_generated(code)


@lru_cache(maxsize=4096)
def is_external_file(filename: str) -> bool:
    """Whether code in this file is cotan's, NumPy's or of the import system."""
    return any(part in filename for part in EXTERNAL)


def library_call(frame: FrameType | None) -> str | None:
    """The function of an installed package that the user called and that runs at ``frame``: ``scipy.linalg.det``; None if none does."""
    name = package = None
    while frame is not None and not is_users(frame.f_code):
        if not is_external(frame.f_code):
            name, package = public_name(frame) or name, frame.f_globals.get("__name__", "").partition("._")[0]
        frame = frame.f_back
    return (name or package) if frame is not None else None


def public_name(frame: FrameType) -> str | None:
    """The public name of the function that runs in ``frame``, or of the one that it wraps; None if it has none."""
    name = frame.f_code.co_qualname
    if "<" not in name:
        return name_in_package(frame.f_globals.get("__name__", ""), name)
    wrapped = (x for x in frame.f_locals.values() if isinstance(x, FunctionType) and "<" not in x.__qualname__)
    return next(filter(None, (name_in_package(f.__module__ or "", f.__qualname__) for f in wrapped)), None)


def name_in_package(module: str, name: str) -> str | None:
    """``scipy.linalg.cholesky``: a name of a module, as the shortest of its packages has it; None if only private modules have it."""
    parts = module.split(".")
    public = next((k for k, part in enumerate(parts) if part.startswith("_")), len(parts))
    for k in range(1, public + 1):
        package = ".".join(parts[:k])
        try:
            found = reduce(getattr, name.split("."), sys.modules[package])
        except (AttributeError, KeyError):
            continue
        if callable(found):
            return f"{package}.{name.removesuffix('.__init__')}"
    return None


# ---- provenance: what is recorded now, from where ------------------------------------------------------------------------
class Source(Protocol):
    """An application of an op: an `Equation` of a Program, or an `Application` that is not recorded itself."""

    @property
    def op(self) -> Any: ...

    @property
    def origin(self) -> Origin | None: ...


@dataclass(frozen=True, slots=True)
class Application:
    """An op as the user's code, or the rule of another op, applied it."""

    op: Any
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What remains of an op when the origin of an equation is pickled: its name, and how people call it."""

    name: str
    verb: str


class UsersRule:
    """A rule that the user wrote runs: the lines are its own, rule and parent are those of ``origin``."""

    __slots__ = ("origin",)

    def __init__(self, origin: Origin):
        self.origin = origin


_source: ContextVar[Source | Origin | UsersRule | None] = ContextVar("source", default=None)
"""From where what is recorded now comes. None: from the line that runs. An application: it is evaluated; what is recorded is that
equation once more. An origin: the rule that it names runs."""
_follower: ContextVar[Callable[[FrameType], Origin] | None] = ContextVar("follower", default=None)


class Observer(Protocol):
    """Sees which values of a derivation belong to which variable of the Program that is transformed."""

    def values(self, values: Mapping[Any, Any]) -> None:
        """The variables of a Program, and what they are in its evaluation."""

    def cotangent(self, v: Any, y_bar: Any) -> None:
        """A variable of a linear Program, and its whole cotangent."""

    def residuals(self, forward: Any, linear: Any, count: int) -> None:
        """The last ``count`` outputs of a Program are the first inputs of the linear one."""


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
observer: Callable[[], Observer | None] = _observer.get
"""Gives who is observing, if anybody."""
_capturing: ContextVar[bool | None] = ContextVar("capturing", default=None)
is_capturing: Callable[[], bool | None] = _capturing.get
"""Whether what is tagged is captured: None where nobody asks for it, False where it was captured before."""


def inherited() -> Origin | None:
    """The origin of what is recorded now, if it is derived from an equation; None if it has the line that runs."""
    source = _source.get()
    if source is None or type(source) is UsersRule:
        return None
    return source if type(source) is Origin else source.origin  # type: ignore[union-attr]


def here() -> Origin:
    """The origin of an equation that is recorded now."""
    source = _source.get()
    if source is not None and type(source) is not UsersRule:
        return (source if type(source) is Origin else source.origin) or UNKNOWN  # type: ignore[union-attr]
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return UNKNOWN if source is None else source.origin
    follower = _follower.get()
    origin = Origin(frame.f_code, frame.f_lasti) if follower is None else follower(frame)
    return origin if source is None else replace(origin, rule=source.origin.rule, parent=source.origin.parent)


class Within:
    """A context in which what is recorded comes from ``source``."""

    __slots__ = ("source", "token")

    def __init__(self, source: Any):
        self.source = source

    def __enter__(self) -> None:
        self.token = _source.set(self.source)

    def __exit__(self, *_: object) -> None:
        _source.reset(self.token)


@contextmanager
def evaluating_each() -> Generator[Callable[[Source], Any]]:
    """Within this context, equations are evaluated: each from the call of the function that this gives with it, to the next."""
    token = _source.set(_source.get())
    try:
        yield _source.set
    finally:
        _source.reset(token)


def evaluating(equation: Source) -> Within:
    """Within this context ``equation`` is evaluated: what is recorded has its origin, or is derived from it."""
    return Within(equation)


def deriving(equation: Source, rule: str) -> Within:
    """Within this context, ``rule`` derives equations from ``equation``; they take their place in the source from it."""
    old = equation.origin or UNKNOWN
    return Within(Origin(old.code, old.offset, rule, equation, old.caller))


def applying(op: Any, rule: str) -> Within:
    """Within this context, ``rule`` of an op runs that is applied now: to evaluate an equation, by the user, or by another rule."""
    source = _source.get()
    evaluated = source is not None and type(source) is not Origin and type(source) is not UsersRule and source.op is op  # type: ignore[union-attr]
    return deriving(source if evaluated else Application(op, here()), rule)  # type: ignore[arg-type]


def users_rule() -> Within:
    """Within this context, a rule that the user wrote runs: what it does is recorded with its own lines."""
    source = inherited()
    return Within(None if source is None else UsersRule(source))


def staged_anew() -> bool:
    """Whether somebody follows, observes or captures: what was staged before, unseen, is then staged anew and not kept."""
    return _follower.get() is not None or _observer.get() is not None or _capturing.get() is not None


@contextmanager
def capturing(capture: bool = True) -> Generator[None]:
    """Within this context, what is tagged is captured, with the cotangents that are zero. False: what runs was captured before."""
    token = _capturing.set(capture)
    try:
        yield
    finally:
        _capturing.reset(token)


@contextmanager
def following(follower: Callable[[FrameType], Origin]) -> Generator[None]:
    """Within this context, ``follower`` makes the origin of each application of an op by the user's code, from its frame."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


@contextmanager
def observing(observer: Observer) -> Generator[None]:
    """Within this context, ``observer`` sees the values of derivations."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


# ---- texts ---------------------------------------------------------------------------------------------------------------
def describe_error(error: BaseException) -> str:
    """``ValueError: the first line of its text.``"""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."


def inner_function(f: Any) -> Any:
    """The user's function in ``f``: in what a decorator, a transformation or functools.partial made of it."""
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    return getattr(f, "func", f)


def describe_function(f: Any) -> str:
    """``f (model.py:12)``: how error messages and tracers name a function."""
    f = inner_function(f)
    code = getattr(f, "__code__", None)
    name = getattr(f, "__name__", type(f).__name__)
    return f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else name

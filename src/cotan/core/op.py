"""The interface of an op: everything the system knows about one operation, in one class.

An op is a frozen dataclass whose fields are its static parameters. Its rules are its methods:

    type_rule(*types)               the result's type; raises ShapeError or DtypeError
    impl(*arrays)                   the meaning, in NumPy; the oracle of every other rule
    element(e, i, *readers)         the defining equation: output element i as a scalar of input elements
    routine(w, operands, results)   beside or in place of ``element``: operations on memory, and calls of libraries
    jvp(primals, tangents)          the value and its tangent, in terms of other ops; a tangent may be None (absent, that is zero)
    linearize(primals, active)      beside jvp, for ops that hold programs: the values and a function of the active tangents
    transpose(y_bar, *operands)     a cotangent or None for each operand; linear operands come as `Var`s, known ones as values
    batch(size, batched, *operands) the result for operands of which those flagged have a new leading axis, and its flag
    fails_on(*types)                the operands by whose values running it, or its derivatives, may fail
    examples()                      (op, operands) pairs from which the conformance tests are made
    regions()                       the programs that it holds, and how often and on which operands each is run
    with_regions(programs, n)       the op with other programs in their places, which take n captured values as further constants

``linear`` declares the operand sets in which the op is linear: ``((0,), (1,))`` for a product (in each alone), ``((0, 1),)`` for a sum
(in both together, so with one of them fixed it is linear only if that one is zero), ``"all"`` when it is one set of all operands.
The declaration decides whether a transpose rule is needed, is checked whenever an equation of a linear program is recorded, and gives
the text of the error when it does not hold.

Ops with ``multiple = True`` take and give tuples of results everywhere; the others single values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, FrozenInstanceError, dataclass
from inspect import get_annotations
from threading import RLock
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar, dataclass_transform

from .errors import MissingRuleError, teach
from .formula import Formula, called
from .tracing import EVAL, Tracer, current_trace
from .types import ArrayType

__all__ = ["REGISTRY", "LinearIn", "Op", "Region", "op"]

LinearIn = tuple[tuple[int, ...], ...] | Literal["all"]
Value = Any
"""A concrete array or scalar, or a Tracer: what rules compute with."""
P = TypeVar("P", bound="HasInputs")


class HasInputs(Protocol):
    """The part of a Program that a region needs."""

    @property
    def inputs(self) -> Sequence[Any]: ...


class Region(NamedTuple, Generic[P]):
    """A program that an op holds (a `core.program.Program`), and how the op runs it.

    The inputs of the program are ``constants``, the same in each iteration; then a carry, which changes from one iteration to the next, and
    xs, of which each iteration gets an entry. A branch, or a program that is run once, has constants only.
    """

    program: P
    first: int
    """The operand of the op that is the first input of the program; the others follow in order."""
    constants: int
    carry: range = range(0)
    """The inputs that are the carry: input ``carry[k]`` is output k of the iteration before. The remaining inputs are xs."""
    trip_count: int | None = 1
    """The number of iterations; None if it is known only when the op runs."""
    exclusive: bool = False
    """Whether it is one of several of which the op runs one."""
    gives_carry: bool = False
    """Whether the last carry is the first results of the op."""

    def cut(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """A list with an entry for each operand of the op: those of the constants, the carry and the xs of this program."""
        given = operands[self.first : self.first + len(self.program.inputs)]
        constants, carry = given[: self.constants], [given[k] for k in self.carry]
        return list(constants), carry, [x for k, x in enumerate(given) if k >= self.constants and k not in self.carry]


class Op:
    """A primitive operation with its static parameters. Subclass it under `op` to define one."""

    name: ClassVar[str] = ""
    verb: ClassVar[str] = ""
    """The name by which users know the op, when it is not ``name``: integer_power is their ``power``."""
    sign: ClassVar[str] = ""
    """The sign that formulas write between its two operands."""
    multiple: ClassVar[bool] = False
    effect: ClassVar[bool] = False
    """Whether running it does something beside giving its results: a Program then keeps it, though nothing reads these."""
    observed: ClassVar[bool] = False
    """Whether it is the identity, for those who look at a Program: which keeps it, though nothing reads its result."""
    user_code: str = ""
    """Of an op whose ``impl`` is a function of the user: how messages name that. Each of its results in a staged program is checked."""
    linear: ClassVar[LinearIn] = ()
    holds_programs: ClassVar[bool] = False
    parameter_names: ClassVar[tuple[str, ...]] = ()
    compare_by_value: ClassVar[bool] = True
    """Whether two ops of the class with equal parameters are equal; False for ops that hold programs, which are known by identity."""
    tangent: ClassVar[Literal["rule", "local", "weighted", "termwise", "itself", "none"]] = "rule"
    """How the tangent comes about: by the ``jvp`` rule; by local derivatives (``local_derivative``), which the rule of the family
    multiplies with the tangents; as their sum with weights (``weighted``); as the sum of the op with one operand replaced by its tangent
    (``termwise``); by the op itself on the tangents; or not at all. All but the first let `linearize` record it without running the rule.
    """
    linearize: Callable[..., Any] | None = None
    expand: Callable[..., Any] | None = None
    """The op as a computation of other ops. A linear program that meets an op which is not declared linear looks into it by this."""
    written_out: Callable[..., Sequence[Any]] | None = None
    """The op as the ops that running it runs: an engine may compile these in its place. It raises NotImplementedError where there is no
    such form."""
    transpose_update: Callable[..., tuple[Op, Sequence[Any]]] | None = None
    """``(y_bar, *operands) -> (op, rest)`` of an op that reads part of its first operand: ``op(total, *rest)`` adds the transpose to a
    total, touching that part alone."""
    accumulates: Callable[[], Sequence[int]] | None = None
    """The numbers of those operands to whose cotangents the transpose of an op adds step by step. Such an op has `transpose_onto`."""
    transpose_onto: Callable[..., Sequence[Value | None]] | None = None
    """``(y_bar, totals, *operands)``: `transpose` that adds to the cotangents so far of some of these operands, ``totals`` by number, and
    returns the new totals for them."""
    result_alone: Callable[[int], Op | None] | None = None
    """``result_alone(k)`` of an op of several results: the op that gives result k alone, if that costs less."""
    update: Callable[..., Any] | None = None
    """``impl`` of an op that returns a changed copy of its first operand, changing that operand itself instead."""
    destination: Callable[..., tuple[Any, tuple[Any, ...]]] | None = None
    """``destination(e, i, *readers)`` of such an op, beside ``kind``: whether element ``i`` of its second operand
    goes anywhere in the first, and where; the elements are taken in order."""
    kind: str
    """How an op with a destination changes an element: add, set, mul, min, max."""
    routine: Callable[..., Any] | None = None
    """``routine(w, operands, results)``, in the words of `core.emitting.Routines`; where it has no code for these types it returns
    NotImplemented, before it has written anything."""
    prefers_routine: Callable[..., bool] | None = None
    """``prefers_routine(*types)`` of an op that has both: whether its routine is faster than loops of its defining equation."""
    loop_axes: Callable[..., Sequence[int]] | None = None
    """``loop_axes(*types)``: the axes, the same of each operand and result, along which the op computes each entry by itself: the loop
    dimensions of NumPy's generalized ufuncs. Ops with a defining equation need not say so."""
    swapped: Callable[..., tuple[Op, tuple[int, ...]]] | None = None
    """``swapped(*types)`` of an op of two operands that can be taken the other way round: the op for the operands exchanged, and the order
    of axes that makes its result the result of this op."""
    unit: ClassVar[int | None] = None
    """Of an op of two operands: the number that, as either of them, makes the result the other one, to the bit."""
    singular: Callable[..., Any] | None = None
    """``singular(*primals)``: a mask, by NumPy, of where the derivative is not a fact but a convention, or infinite; or a tuple of masks,
    one for the derivative in each operand."""
    splitting: Callable[..., Any] | None = None
    """``splitting(results, relative, turned, pair)`` of a decomposition, by NumPy: its `ops.clusters.Splitting` where values are equal, up
    to this part of the largest, so that single vectors have no derivative; None where none are. The vectors of equal values, or of a pair
    of them, are others if they are ``turned``."""
    chosen: Callable[..., Any] | None = None
    """Of an op whose course depends on values: ``chosen(values of the operands)`` gives the function that it is for these; None where the
    user has stated its derivative, which is then not looked into."""
    family: ClassVar[str] = ""
    total: ClassVar[bool] = False
    """Whether it and its derivatives end with results for all values, be they nan; else `fails_on` says by which operands they may not."""
    costly: ClassVar[bool] = False
    """Whether an element costs far more than a multiplication."""

    def __call__(self, *operands: Value) -> Any:
        trace = current_trace()
        if trace is EVAL:
            for x in operands:
                if type(x) is Tracer:
                    break  # one that has escaped: the trace refuses it
            else:
                results = self.impl(*operands)
                return tuple(results) if self.multiple else results
        results = trace.process(self, operands)
        return tuple(results) if self.multiple else results[0]

    # ---- rules -------------------------------------------------------------------------------------------------
    def type_rule(self, *types: ArrayType) -> Any:
        raise teach(MissingRuleError, f"{self.name} has no type rule.", do="give the op a method `type_rule`.")

    def impl(self, *operands: Any) -> Any:
        raise teach(MissingRuleError, f"{self.name} has no NumPy implementation.", do="give the op a method `impl`.")

    def element(self, e: Any, i: Sequence[Any], *readers: Any) -> Any:
        """The defining equation: element ``i`` of the result, a scalar of the emitter ``e`` (`core.emitting.Emitter`)."""
        raise teach(MissingRuleError, f"{self.name} has no defining equation.", do="give the op a method `element`.")

    @classmethod
    def has_element(cls) -> bool:
        """Whether there is a defining equation; else the result is computed as a whole."""
        return cls.element is not Op.element

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value | None]) -> Any:
        raise teach(
            MissingRuleError,
            f"{self.name} has no derivative rule.",
            do="give the op a `jvp` method, or define the function with cotan.custom_jvp.",
        )

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Value | None]:
        raise teach(
            MissingRuleError,
            f"{self.name} has no transpose rule.",
            do="give the op a `transpose` method, or write its derivative rule with ops that have one (+, *, matmul, sum, ...).",
        )

    def batch(self, size: int, batched: Sequence[bool], *operands: Value) -> tuple[Any, Any]:
        raise teach(MissingRuleError, f"{self.name} has no batching rule.", do="give the op a `batch` method.")

    def fails_on(self, *types: Any) -> Sequence[int]:
        """The operands by whose values running the op or its derivatives may raise or not end. Where a branch or a loop is run on a batch,
        examples that are not meant to run the op have the values there of one that is.
        """
        return () if self.total else range(len(types))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        """Ops of this class with operands to try them on; the conformance tests come from these."""
        return ()

    def regions(self) -> tuple[Region[Any], ...]:
        """The programs that the op holds."""
        return ()

    def with_regions(self, programs: Sequence[Any], captured: int = 0) -> Op:
        """The op with these programs in place of those of its regions. They take ``captured`` further constants before
        their own inputs, the same ones each. These become operands of the new op, inserted at ``regions()[0].first``.
        """
        raise NotImplementedError(f"{self.name} is not run with other programs")

    # ---- facts derived from the declaration -----------------------------------------------------------------------
    def linear_sets(self, count: int) -> tuple[int, ...]:
        """The operand sets in which the op is linear, as bit masks, for ``count`` operands."""
        key = (type(self), count)
        sets = _linear_sets.get(key)
        if sets is None:
            declared = (tuple(range(count)),) if self.linear == "all" else self.linear
            sets = _linear_sets[key] = tuple(sum(1 << k for k in members) for members in declared)
        return sets

    def parameters(self) -> dict[str, Any]:
        """The static parameters by name."""
        return {name: getattr(self, name) for name in self.parameter_names}

    # An op is a value. (dataclass could generate these for each class; that would take half of the time of importing cotan.)
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.parameter_names)

    def __hash__(self) -> int:
        names = self.parameter_names
        return hash((type(self), *[getattr(self, name) for name in names])) if names else hash(type(self))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise FrozenInstanceError(f"an op is a value: {name} of {self.name} cannot be changed; use dataclasses.replace")
        self.__dict__[name] = value

    def __setstate__(self, state: dict[str, Any]) -> None:
        make_dataclasses(type(self))
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters().items())})"

    def described_parameters(self) -> dict[str, str]:
        """The static parameters as text, without those that have their usual value."""
        if not self.parameter_names:
            return {}
        optional = [key for key in self.parameters() if getattr(type(self), key, None) in ((), False)]
        return {k: _short(v) for k, v in self.parameters().items() if k not in optional or v != getattr(type(self), k)}

    def formula(self, *operands: Formula) -> Formula:
        """How people write it: with its ``sign``, or as a call of its ``verb``. It depends on the types and the classes of the operands,
        not on their names: it is written once for all operands that have these.
        """
        if self.sign and len(operands) == 2:
            return operands[0].infix(self.sign, operands[1])
        return called(self.verb, *operands, **self.described_parameters())

    def __str__(self) -> str:
        parameters = ", ".join(f"{key}={value}" for key, value in self.described_parameters().items())
        return f"{self.name}[{parameters}]" if parameters else self.name


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_short, value)) + ("," if len(value) == 1 else "") + ")"  # type: ignore[misc]
    return str(value) if not isinstance(value, str) else value


_linear_sets: dict[tuple[type[Op], int], tuple[int, ...]] = {}
REGISTRY: dict[str, type[Op]] = {}
"""Every op class by name, in order of definition: the tests, the rule matrix and the docs are made from it."""

C = TypeVar("C", bound=type[Op])


@dataclass_transform(frozen_default=True, eq_default=True)
def op(cls: C) -> C:
    """Make ``cls`` an op: a frozen dataclass, named (``ReduceSum`` -> ``reduce_sum``), in the registry.

    ``slots`` are left out on purpose: on Python 3.11 they break ``super()`` inside rules.
    """
    if has_parameters(cls):
        cls.parameter_names = parameters_of(cls)
        cls.__init__ = Unmade(cls)  # type: ignore[assignment]
    if not cls.compare_by_value:
        cls.__eq__, cls.__hash__ = object.__eq__, object.__hash__  # type: ignore[assignment]
    # How the tangent comes about is said beside the rule for it: a class that states its own rule has the default again.
    cls.tangent = next(c.__dict__.get("tangent", "rule") for c in cls.__mro__ if "jvp" in c.__dict__)
    if "name" not in cls.__dict__:
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if "verb" not in cls.__dict__:
        cls.verb = cls.name
    REGISTRY[cls.name] = cls
    return cls


def parameters_of(cls: type[Op]) -> tuple[str, ...]:
    """The names of the static parameters, inherited ones first, without the hidden ones."""
    names: dict[str, bool] = {}
    for c in reversed(cls.__mro__):
        if c is cls or isinstance(c.__dict__.get("__init__"), Unmade) or "__dataclass_fields__" in c.__dict__:
            for name, kind in get_annotations(c).items():
                if "ClassVar" not in str(kind):
                    default = c.__dict__.get(name)
                    names[name] = not isinstance(default, Field) or default.repr
    return tuple(name for name, shown in names.items() if shown)


class Unmade:
    """The ``__init__`` of an op class until its first instance is made, which makes a dataclass of it.

    Most programs need few of the ops, and to make all of them dataclasses would take a good part of the time of importing cotan.
    """

    def __init__(self, cls: type[Op]):
        self.cls = cls

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        make_dataclasses(self.cls)
        return self.cls.__init__.__get__(instance, owner)


def make_dataclasses(cls: type[Op]) -> None:
    """Make dataclasses of an op class and of its bases, where they are not yet."""
    with _making:
        for c in reversed(cls.__mro__):
            if isinstance(c.__dict__.get("__init__"), Unmade):
                del c.__init__  # type: ignore[misc]
                dataclass(repr=False, eq=False)(c)


_making = RLock()


def has_parameters(cls: type[Op]) -> bool:
    """Whether the class or one of its bases declares static parameters (annotated names that are no ClassVar)."""
    declared = (str(kind) for c in cls.__mro__ if c is not Op for kind in get_annotations(c).values())
    return any("ClassVar" not in kind for kind in declared)

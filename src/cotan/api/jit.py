"""jit: functions staged once for each signature and run as Programs.

`jit` stages a function once for each signature (structure of the arguments, types of the leaves, values of static arguments), keeps the
Program, and runs it on the engine; under another transformation it is one `Call` of that Program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from ..control.call import Call
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentError, ArgumentTypeError, CotanError, DtypeError, EqualValuesError, hide_internal_frames, teach
from ..core.origin import describe_function, staged_anew
from ..core.pickling import global_name
from ..core.program import Program
from ..core.sizes import Size
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..engines import ENGINES, Engine, runner
from ..engines import numpy as numpy_engine
from ..ops.failing import quiet
from ..ops.gaps import EQUAL, GAPS_MET
from .arguments import FAST_LEAVES, boundary, check_callable, leaf, present, refuse_large_integers
from .compiled import Lowered
from .differentiate import private_copy
from .disabling import SOMEWHERE, jit_is_disabled
from .dispatch import Entry, never, numpy_entry, taking_apart
from .limits import at_equal_values, divides_by_gaps
from .misses import MANY_MISSES, Miss, warn_of_misses
from .named import Named, donated_leaves, named, refuse_static_donation, warn_of_unused
from .signature import Signature, Staged, abstract, argument_names, split
from .sized import SizedCalls
from .stage import stage_call
from .threads import check_threads
from .watched import Guard, Watched, captured_objects, changing_parts, known_by_identity

__all__ = ["BoundJitted", "CacheInfo", "Jitted", "jit", "observers"]


class CacheInfo(NamedTuple):
    """How often a jitted function was called with a known signature, how often staged, and how many Programs it keeps."""

    hits: int
    misses: int
    currsize: int


DEFAULT = Engine("")
"""The engine of functions that name none: it is chosen when they are called."""
CONSTANTS = (int, float, complex, str, bytes, type(None))
"""Static arguments that cannot change."""
SIZES_BEFORE = 3
"""The number of signatures after which code is no longer made for one size in particular."""
MOST_ENTRIES = 8
"""The number of entries that are tried one after the other before the signature of a call is looked up."""


observers: list[Callable[[str], object]] = []
"""Called with the reason whenever a function is staged."""


class Jitted:
    """A function that is staged once per signature. Made by `jit`; called like the function."""

    def __init__(
        self,
        fun: Callable[..., Any],
        static: Named = Named(),  # noqa: B008 - it is never changed
        donated: Named = Named(),  # noqa: B008
        engine: Engine = DEFAULT,
    ):
        refuse_static_donation(fun, static, donated)
        self.__wrapped__ = fun
        self.__name__ = getattr(fun, "__name__", "function").replace("<lambda>", "lambda")
        self.__qualname__, self.__module__ = getattr(fun, "__qualname__", self.__name__), getattr(fun, "__module__", __name__)
        self.__doc__ = getattr(fun, "__doc__", None)
        self.fun, self.static, self.donated, self.engine = fun, static, donated, engine
        self.cache: dict[Signature, Staged] = {}
        self.entries: dict[Signature, Entry] = {}
        self.recent: list[Entry] = []
        self.sized = SizedCalls(engine.dynamic_sizes)
        self.first: tuple[Callable[..., Any], Callable[[int], NoReturn]] | None = None
        """The ``launch`` and ``fail`` of the first of the recent entries, if its leaves are the positional arguments, its result is one
        array, and nothing is watched. Such a call takes the shortest way."""
        self.others: list[Entry] = []
        """The recent entries, without the one of `first`."""
        self.hits = self.misses = 0
        self.last_miss = Miss("it has not been called yet")
        self.has_warned = False
        self.objects = fun.objects if isinstance(fun, Jitted) else captured_objects(fun)
        self.watched: Watched | None = None
        self.changed = ""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else BoundJitted(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: C901 - a further function would take as long as some of its steps
        try:
            if SOMEWHERE[0] and jit_is_disabled():
                return self.fun(*args, **kwargs)
            first = self.first
            if first is not None and not kwargs and current_trace() is EVAL:
                launch, fail = first  # one read: another thread may set other ones
                found = launch(*args)
                if found is not NotImplemented:
                    self.hits += 1
                    if type(found) is int:
                        fail(found)
                    return found
            if self.watched is not None:
                self.look_again(self.watched)
            if current_trace() is EVAL:
                for launch, _, fail, apart, spec in self.others:
                    if apart is None:
                        if kwargs:
                            continue
                        found = launch(*args)
                    else:
                        leaves = apart(args, kwargs)
                        if leaves is None:
                            continue
                        found = launch(*leaves)
                    if found is not NotImplemented:
                        self.hits += 1
                        if type(found) is int:
                            fail(found)
                        return found if spec is None else tree.unflatten(spec, found)
            return self.call_tree(args, kwargs)
        except OverflowError:
            refuse_large_integers(args, kwargs)
            raise
        except EqualValuesError as error:
            return self.at_equal_values(args, kwargs, error)
        except Exception as error:
            try:
                present(error)
            except CotanError as better:
                hide_internal_frames(better)  # those of `present`
                raise
            raise

    def look_again(self, watched: Watched) -> None:
        """Forget the staged Programs if an object that the function carries along has changed since."""
        change = watched.change()
        if change:
            self.cache.clear()
            self.entries.clear()
            self.sized.clear()
            self.watched, self.changed = None, change
            self.try_first([])

    def try_first(self, entries: list[Entry]) -> None:
        """Try these entries first in further calls."""
        self.recent = self.others = entries
        self.first = None
        if entries and entries[0].apart is None and entries[0].spec is None and self.watched is None:
            self.first, self.others = (entries[0].launch, entries[0].fail), entries[1:]

    def call_tree(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call with any arguments, under any trace."""
        if args and self.is_method_of(args[0]):
            return BoundJitted(self, args[0])(*args[1:], **kwargs)
        leaves, signature = self.taken(args, kwargs)
        traced = current_trace() is not EVAL or any(type(x) is Tracer for x in leaves)
        if not traced and signature not in self.cache:
            entry = self.sized.known(signature)
            if entry is not None:
                self.hits += 1
                self.remembered(entry)
                return finished(entry, leaves)
        staged = self.staged(signature, args, kwargs)
        operands = [*staged.constants, *leaves]
        if current_trace() is not EVAL:
            outs = Call(staged.program, None, self.running())(*operands)
            return tree.unflatten(staged.out_spec, [y if type(y) is Tracer else to_array(y, operands) for y in outs])
        if any(type(x) is Tracer for x in operands):
            EVAL.process(Call(staged.program), operands)  # refuses the escaped tracer
        return finished(self.entry(staged, signature, args, kwargs), leaves)

    def at_equal_values(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: EqualValuesError) -> Any:
        """The result of a call whose code divides by the gap of values that are equal."""
        leaves, signature = self.taken(args, kwargs)
        staged = self.staged(signature, args, kwargs)
        found = at_equal_values(staged.program, [*staged.constants, *leaves], error)
        return tree.unflatten(staged.out_spec, found)

    def is_method_of(self, instance: Any) -> bool:
        """Whether this is a method of the class of ``instance``, which cannot be an argument: the call was ``Class.method(instance)``."""
        kind = type(instance)
        if kind in FAST_LEAVES or 0 in self.static.numbers or not hasattr(kind, self.__name__) or not tree.structure(instance).is_leaf():
            return False
        return any(c.__dict__.get(self.__name__) is self for c in kind.__mro__)

    def running(self) -> Engine:
        """The engine, by name."""
        return self.engine if self.engine.name else self.engine._replace(name=check_engine(Engine.default()))

    def entry(self, staged: Staged, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        """The entry for further calls of this signature. It will be tried first, unless the tree has classes of the user."""
        entry = self.entries.get(signature)
        if entry is None:
            engine = self.running()
            if engine.name != "numpy":
                many = len(self.entries) >= SIZES_BEFORE and engine.dynamic_sizes is not False
                engine = engine._replace(donated=self.donated_inputs(staged, signature), many_sizes=many)
            spec = None if staged.out_spec == tree.structure(0) else staged.out_spec
            apart = taking_apart(signature.spec, signature.static) if staged.watched is None else never
            served = self.sized.learned(signature, staged, engine, partial(self.stage, args, kwargs), apart, spec)
            if served is not None:
                self.entries[signature] = served[0]
                self.warn_of_unused(signature, served[1].unused)
                return self.remembered(served[0])
            run: Any = (quietly if engine.name == "numpy" else runner(engine))(staged.program)
            if hasattr(run, "bound"):
                code = run.bound(staged.constants, spec is None)
                entry = Entry(code.launch, code.call, code.fail, apart, spec)
                self.entries[signature] = entry
                self.warn_of_unused(signature, [k - len(staged.constants) for k in run.unused])
            else:
                entry = numpy_entry(run, staged.constants, signature.types, apart, spec)
            self.entries[signature] = entry
        return self.remembered(entry)

    def remembered(self, entry: Entry) -> Entry:
        """Try an entry first at further calls, unless the tree has classes of the user."""
        if entry.apart is not never and all(known is not entry for known in self.recent):
            self.try_first([entry, *self.recent[: MOST_ENTRIES - 1]])
        return entry

    def donated_inputs(self, staged: Staged, signature: Signature) -> tuple[int, ...]:
        """The numbers of the inputs of a Program that are leaves of donated arguments; none where a call may have to be made again."""
        if not self.donated or divides_by_gaps(staged.program):
            return ()
        return tuple(len(staged.constants) + k for k in donated_leaves(self.fun, self.donated, signature.spec, signature.static))

    def warn_of_unused(self, signature: Signature, leaves: Sequence[int]) -> None:
        """Warn of the donated leaves in which no result lies."""
        if leaves:
            names = argument_names(signature.spec)
            warn_of_unused(self.fun, [names[k] for k in leaves], [signature.types[k] for k in leaves])

    def taken(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Signature]:
        """The leaves of the arguments of a call, and its signature."""
        dynamic, static = split(self.fun, self.static, args, kwargs)
        leaves, spec = tree.flatten(dynamic)
        try:
            leaves = [leaf(x, "an argument") for x in leaves]
        except (ArgumentTypeError, DtypeError):
            leaves = [leaf(x, name) for x, name in zip(leaves, argument_names(spec), strict=True)]
        return leaves, Signature(spec, tuple(map(type_of, leaves)), static)

    def staged(self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Staged:
        """The Program for these arguments, from the cache or newly staged."""
        if staged_anew():
            return self.stage(args, kwargs, signature)
        known = self.cache.get(signature)
        if known is not None and known.watched is not None and (change := known.watched.change()):
            del self.cache[signature]
            self.entries.pop(signature, None)
            known, self.changed = None, change
        if known is not None:
            self.hits += 1
            return known
        if is_symbolic(signature):  # a function around this one is staged on symbolic sizes
            return self.stage(args, kwargs, signature)
        self.misses += 1
        self.last_miss, self.changed = Miss(self.changed, signature, len(self.cache)), ""
        for observe in observers:
            observe(self.explain_miss())
        if self.misses >= MANY_MISSES and not self.has_warned:
            self.has_warned = True
            exact, refusal = not self.engine.dynamic_sizes, self.sized.refusal(signature)
            warn_of_misses(self.fun, self.misses, [*self.cache, signature], self.last_miss.reason, exact=exact, refusal=refusal)
        staged = self.stage(args, kwargs, signature)
        if not any(type(c) is Tracer for c in staged.constants):
            staged = self.cache[signature] = staged._replace(constants=list(map(private_copy, staged.constants)))
        else:
            self.last_miss = self.last_miss._replace(traced=True)
        return staged

    def stage(self, args: tuple[Any, ...], kwargs: dict[str, Any], signature: Signature) -> Staged:
        """The function staged at this signature; the objects that it carries along are watched from now on."""
        given = [(f"args[{k}]" if isinstance(k, int) else k, x) for k, _, x in signature.static if not isinstance(x, CONSTANTS)]
        guard = Guard([*self.objects, *given])
        staged = stage_call(self.fun, args, kwargs, "jit", self.__name__, signature)
        guard.check(describe_function(self.fun))
        if self.objects:
            self.watched = Watched(self.objects)
        changing = [found for name, x in given for found in changing_parts(x, name)]
        return staged._replace(watched=Watched(changing) if changing else None)

    # ---- ahead of time -------------------------------------------------------------------------------------------------
    @boundary
    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The function staged at the types of these arguments (arrays or `ShapeDtypeStruct`), for compiling ahead of time.

        >>> import cotan
        >>> compiled = cotan.jit(lambda x: x * 2.0).lower(cotan.ShapeDtypeStruct((), float)).compile()
        >>> compiled(3.0)
        Array(6.)
        """
        dynamic, static = split(self.fun, self.static, args, kwargs)
        leaves, spec = tree.flatten(dynamic)
        signature = Signature(spec, tuple(map(abstract, leaves, argument_names(spec))), static)
        staged = self.cache.get(signature)
        if staged is None:
            staged = self.stage(args, kwargs, signature)
            staged = staged._replace(constants=list(map(private_copy, staged.constants)))
        if any(type(c) is Tracer for c in staged.constants):
            raise teach(
                ArgumentTypeError,
                f"lower: {describe_function(self.fun)} closes over a traced value, so it has no code of its own.",
                do="pass that value as an argument.",
            )
        return Lowered(staged, signature, self.donated_inputs(staged, signature), partial(self.warn_of_unused, signature))

    # ---- why did it stage again? ---------------------------------------------------------------------------------------
    def cache_info(self) -> CacheInfo:
        """Hits, misses and the number of Programs kept."""
        return CacheInfo(self.hits, self.misses, len(self.cache))

    def cache_clear(self) -> None:
        """Forget all staged Programs."""
        self.last_miss = Miss(self.last_miss.explained(self.cache))
        self.cache.clear()
        self.entries.clear()
        self.sized.clear()
        self.try_first([])
        self.hits = self.misses = 0

    def explain_miss(self) -> str:
        """Why the function was last staged: the differences from the nearest signature known then."""
        return f"{describe_function(self.fun)}: {self.last_miss.explained(self.cache)}"

    def __reduce__(self) -> Any:
        return global_name(self) or (Jitted, (self.fun, self.static, self.donated, self.engine))

    def __repr__(self) -> str:
        return f"<jitted {describe_function(self.fun)}>"


class MethodTable(dict[Jitted, Jitted]):
    """The jitted methods of one instance, kept among its attributes. They do not go with it when it is copied or pickled."""

    def __init__(self, owner: Any = None):
        super().__init__()
        self.owner = owner

    def __reduce__(self) -> Any:
        return MethodTable, ()

    @classmethod
    def of(cls, instance: Any) -> MethodTable:
        attributes = getattr(instance, "__dict__", {})
        table = attributes.get("_cotan_jitted")
        if table is None or table.owner is not instance:
            table = cls(instance)
            if isinstance(instance, type):
                setattr(instance, "_cotan_jitted", table)  # noqa: B010 - the attributes of a class are read-only as a dict
            else:
                attributes["_cotan_jitted"] = table
        return table


class BoundJitted:
    """A jitted method of one instance. The instance is an argument if its class is registered as a tree, or if it is static and has a hash
    of its own; else it is a constant that is watched.
    """

    def __init__(self, jitted: Jitted, instance: Any):
        self.leading: tuple[Any, ...] = ()
        self.instance, self.name = instance, jitted.__name__
        is_argument = not known_by_identity(instance) if 0 in jitted.static.numbers else not tree.structure(instance).is_leaf()
        if is_argument and not isinstance(instance, type):
            self.jitted, self.leading = jitted, (instance,)
            return
        table = MethodTable.of(instance)
        if 0 in jitted.donated.numbers:
            raise teach(
                ArgumentError,
                f"jit: {describe_function(jitted.fun)} donates its instance, a {type(instance).__name__}, which is static.",
                do="donate the arguments after it, or register the class as a tree.",
            )
        if jitted not in table:
            bound = jitted.fun.__get__(instance)
            table[jitted] = Jitted(bound, jitted.static.of_method(), jitted.donated.of_method(), jitted.engine)
        self.jitted = table[jitted]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.jitted(*self.leading, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """`Jitted.lower`; an instance that is a tree is the first argument of the compiled function."""
        return self.jitted.lower(*self.leading, *args, **kwargs)

    def __reduce__(self) -> Any:
        return getattr, (self.instance, self.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jitted, name)


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Iterable[str] = (),
    engine: str | None = None,
    threads: int | None = None,
    dynamic_sizes: bool | None = None,
) -> Any:
    """Stage ``fun`` once for each signature of its arguments, and run the staged Program from then on.

    The instance of a method is an argument if its class is registered as a tree. Else its attributes are constants of the Program, and so
    are the attributes of a static argument that is known by its identity: they are compared at each call, by value, and ``fun`` is staged
    anew where one has changed. Other values that ``fun`` closes over are kept as they were.

    Args:
        fun: a pure function of trees of arrays; without it, a decorator is returned (``@jit(static_argnames="n")``).
        static_argnums: positions of arguments that are Python values (hashable); for each value the function is staged anew.
        static_argnames: names of such arguments. Either is derived from the other where the signature of ``fun`` is known.
        donate_argnums: positions of arguments that the caller needs no more: compiled code writes results of the same shape and dtype into
            their memory where it can (``x = step(x)`` then takes no new memory). What such an argument holds after the call is undefined.
        donate_argnames: names of such arguments, likewise.
        engine: what runs the Program: "native", machine code made of the whole Program (see `compile_report`), or "numpy", op by op. None
            is the environment variable COTAN_ENGINE, or "native".
        threads: the most threads that its loops use; None is the setting of the process (see `cotan.threads`).
        dynamic_sizes: whether the compiled code may read the sizes of arrays when it is called. A function that is called with many sizes
            is then staged and compiled a few times only, and is a little slower; one that needs a size as a number (``len(x)``,
            ``range(n)``) is staged for each. None: code is made for exact sizes, until a third call differs from others in sizes alone; the
            function is staged for each size all the same.

    Returns:
        a function like ``fun``, with ``cache_info()``, ``cache_clear()`` and ``explain_miss()``; ``lower(*args)`` stages it at the types of
        ``args`` for compiling ahead of time (see `Lowered`).

    Raises (when called):
        TracerConversionError: ``fun`` needs the number behind an argument (``if x > 0``).
        ArgumentTypeError: an argument is neither an array nor static, or a static one cannot be hashed.
        EscapedTracerError: ``fun`` leaves a traced value in an attribute of its instance or of a static argument.
        ArgumentError: an unknown engine, argument, number of threads or choice of sizes; an argument that is both static and donated.

    >>> import cotan
    >>> cotan.jit(lambda x: x * 2)(3.0)
    Array(6.)
    """
    if fun is None:
        options: Any = {"engine": engine, "threads": threads, "dynamic_sizes": dynamic_sizes}
        options |= {"static_argnums": static_argnums, "static_argnames": static_argnames}
        options |= {"donate_argnums": donate_argnums, "donate_argnames": donate_argnames}
        return lambda f: jit(f, **options)
    check_callable("jit", fun)
    static = named(fun, "static", static_argnums, static_argnames)
    donated = named(fun, "donate", donate_argnums, donate_argnames)
    if threads is not None:
        check_threads("jit", threads)
    if not (dynamic_sizes is None or isinstance(dynamic_sizes, bool)):
        raise teach(ArgumentError, f"jit: dynamic_sizes={dynamic_sizes!r} is no choice.", do="give True or False; None has it found out.")
    chosen = Engine(check_engine(engine) if engine is not None else "", threads, dynamic_sizes)
    return Jitted(fun, static, donated, chosen)


def check_engine(engine: str) -> str:
    """The engine, if there is one of this name."""
    if engine not in ENGINES:
        raise teach(ArgumentError, f"jit: there is no engine {engine!r}.", do=f"give {' or '.join(map(repr, ENGINES))}.")
    return engine


def is_symbolic(signature: Signature) -> bool:
    """Whether a signature has symbolic sizes, in types or as static values."""
    return any(type(n) is Size for t in signature.types for n in t.shape) or any(type(x) is Size for _, _, x in signature.static)


def finished(entry: Entry, leaves: list[Any]) -> Any:
    """The result of a call on these leaves."""
    found = entry.call(leaves)
    return found if entry.spec is None else tree.unflatten(entry.spec, found)


def quietly(program: Program) -> Callable[[list[Any]], list[Any]]:
    """A Program on the NumPy engine, without floating-point warnings."""
    execute = numpy_engine.compiled(program)

    def run(values: list[Any]) -> list[Any]:
        before = GAPS_MET[0]
        with quiet():
            found = execute(values)
        if GAPS_MET[0] != before:
            raise EqualValuesError(EQUAL)
        return found

    return run

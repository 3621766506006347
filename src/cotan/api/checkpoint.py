"""`checkpoint`: less memory for more computation in reverse mode, and the policies that select the residuals to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from ..control.checkpoint import Checkpoint, CheckpointName, Policy
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..ops.contraction import DotGeneral
from .arguments import boundary, check_callable, leaf
from .disabling import runs_as_python
from .recall import Recall
from .transformed import transformation

__all__ = ["checkpoint", "checkpoint_name", "checkpoint_policies"]

programs = Recall()


@transformation
def checkpoint(
    fun: Callable[..., Any], *, prevent_cse: bool = True, policy: Policy | None = None, static_argnums: int | Sequence[int] = ()
) -> Callable[..., Any]:
    """``fun``, of which reverse mode keeps the inputs only and computes the rest again: less memory for about one more evaluation.

    Args:
        fun: is traced as under `jit`, so it can branch only on the Python values of the arguments at ``static_argnums``.
        prevent_cse: accepted as in JAX; a recomputation is never merged with the first computation.
        policy: selects results to keep besides the inputs: one of `checkpoint_policies`, or ``policy(op, *operand_types) -> bool``.
        static_argnums: positions of arguments that are Python values.

    Raises (when called): as `jit`; ArgumentTypeError for a policy that is no function.

    Source: Griewank & Walther 2008, "Evaluating Derivatives", chapter 12.

    >>> import cotan, cotan.numpy as cnp
    >>> f = cotan.checkpoint(lambda x: cnp.sin(cnp.sin(x)), policy=cotan.checkpoint_policies.nothing_saveable)
    >>> cotan.grad(f)(0.0)
    Array(1.)
    """
    check_callable("checkpoint", fun)
    if policy is not None:
        check_policy(policy)
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if runs_as_python():
            return tree.map(lambda y: to_array(leaf(y, f"the output of {describe_function(fun)}")), fun(*args, **kwargs))
        values = {k % len(args): args[k] for k in static if -len(args) <= k < len(args)}
        leaves, spec = tree.flatten(([None if k in values else x for k, x in enumerate(args)], kwargs))
        leaves = [leaf(x, "an argument") for x in leaves]
        types = tuple(map(type_of, leaves))

        def stage() -> Any:
            found: dict[str, Any] = {}

            def flat(*dynamic: Any) -> list[Any]:
                inner_args, inner_kwargs = tree.unflatten(spec, dynamic)
                outs, found["spec"] = tree.flatten(fun(*[values.get(k, x) for k, x in enumerate(inner_args)], **inner_kwargs))
                return [leaf(y, f"the output of {describe_function(fun)}") for y in outs]

            program, captured = stage_flat(flat, types, verb="checkpoint", of=fun, name=getattr(fun, "__name__", "function"))
            return None, (program, captured, found["spec"])

        _, (program, captured, out_spec) = programs.recall((spec, types), (fun, values), stage)
        outs = Checkpoint(program, policy)(*captured, *leaves)
        return tree.unflatten(out_spec, [to_array(y) for y in outs])

    return checkpointed


@boundary
def checkpoint_name(x: Any, name: str) -> Any:
    """``x`` (a tree), called ``name`` for the policies of `checkpoint` that go by names.

    >>> import cotan, cotan.numpy as cnp
    >>> policy = cotan.checkpoint_policies.save_only_these_names("hidden")
    >>> f = cotan.checkpoint(lambda x: cnp.sin(cotan.checkpoint_name(cnp.exp(x), "hidden")), policy=policy)
    >>> cotan.grad(f)(0.0)
    Array(0.54030231)
    """
    if not isinstance(name, str):  # type: ignore[redundant-expr]
        raise teach(ArgumentTypeError, f"checkpoint_name: the name must be a string, not {name!r}.", do="write checkpoint_name(x, 'name').")
    leaves, spec = tree.flatten(x)
    return tree.unflatten(spec, [to_array(CheckpointName(name)(leaf(v, "x"))) for v in leaves])


def check_policy(policy: Any) -> None:
    if not callable(policy):
        raise teach(
            ArgumentTypeError,
            f"checkpoint: the policy must be a function, not a {type(policy).__name__}.",
            do="take one of cotan.checkpoint_policies, or write a function of an op and the types of its operands.",
        )


# ---- policies --------------------------------------------------------------------------------------------------------
def everything_saveable(op: Any, *_: Any) -> bool:
    """All residuals are kept: as without checkpoint."""
    return True


def nothing_saveable(op: Any, *_: Any) -> bool:
    """Nothing but the inputs is kept."""
    return False


def dots_saveable(op: Any, *_: Any) -> bool:
    """Results of products of matrices are kept."""
    return isinstance(op, DotGeneral)


def dots_with_no_batch_dims_saveable(op: Any, *_: Any) -> bool:
    """Results of products of matrices without batch axes are kept (products with weights, mostly)."""
    return isinstance(op, DotGeneral) and not op.batch_axes[0]


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """Values with any other name are kept."""
    return NamePolicy("any but", frozenset(names_not_to_save))


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """Values of these names are kept."""
    return NamePolicy("only", frozenset(names_which_can_be_saved))


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """All residuals are kept, but for values of these names."""
    return NamePolicy("anything except", frozenset(names_not_to_save))


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Values that either policy keeps are kept."""
    return EitherPolicy(policy_1, policy_2)


class NamePolicy:
    """A policy that goes by the names of `checkpoint_name`. Two of the same names are equal."""

    __slots__ = ("kind", "names")

    def __init__(self, kind: str, names: frozenset[str]):
        self.kind, self.names = kind, names

    def __call__(self, op: Any, *_: Any) -> bool:
        if not isinstance(op, CheckpointName):
            return self.kind == "anything except"
        return (op.label in self.names) == (self.kind == "only")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamePolicy) and (self.kind, self.names) == (other.kind, other.names)

    def __hash__(self) -> int:
        return hash((self.kind, self.names))


class EitherPolicy:
    """The union of two policies. Two of the same policies are equal."""

    __slots__ = ("policies",)

    def __init__(self, *policies: Policy):
        self.policies = policies

    def __call__(self, op: Any, *types: Any) -> bool:
        return any(policy(op, *types) for policy in self.policies)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EitherPolicy) and self.policies == other.policies

    def __hash__(self) -> int:
        return hash(self.policies)


checkpoint_policies = SimpleNamespace(
    everything_saveable=everything_saveable,
    nothing_saveable=nothing_saveable,
    dots_saveable=dots_saveable,
    checkpoint_dots=dots_saveable,
    dots_with_no_batch_dims_saveable=dots_with_no_batch_dims_saveable,
    checkpoint_dots_with_no_batch_dims=dots_with_no_batch_dims_saveable,
    save_any_names_but_these=save_any_names_but_these,
    save_only_these_names=save_only_these_names,
    save_anything_except_these_names=save_anything_except_these_names,
    save_from_both_policies=save_from_both_policies,
)
"""JAX's policies for `checkpoint`, by their names there (without the policies that move values to the memory of another device)."""

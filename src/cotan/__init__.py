"""cotan: derivatives of NumPy programs. This module holds the public names only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors, numpy, tree
from .api.capture import Captured, capture, tag
from .api.checkpoint import checkpoint, checkpoint_name, checkpoint_policies
from .api.custom import custom_jvp, custom_linear, custom_rules, custom_vjp
from .api.differentiate import grad, jvp, linear_transpose, linearize, stop_gradient, value_and_grad, vjp
from .api.disabling import disable_jit
from .api.jacobians import hessian, hvp, jacfwd, jacobian, jacrev, value_and_jacobian
from .api.jit import jit
from .api.kept import release_memory
from .api.limits import EqualValuesWarning
from .api.memory import memory_plan
from .api.misses import RecompilationWarning
from .api.named import DonationWarning
from .api.outside import ResidualWarning, external, implicit, pure_callback
from .api.report import compile_report
from .api.second_order import gauss_newton_vp, hessian_diag, laplacian, make_hvp
from .api.signature import ShapeDtypeStruct
from .api.stage import closure_convert, eval_shape, stage
from .api.threads import num_threads, threads
from .api.vectorize import vmap
from .api.wirtinger import wirtinger
from .core.array import Array
from .core.listing import listing

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import debug, extend, lax, scipy, special, testing
    from .explanation import Explanation, explain
    from .explanation.nonfinite import NonFinite, why_nan


def __getattr__(name: str) -> Any:
    """What only some programs need, imported at its first use."""
    if name in ("debug", "extend", "lax", "scipy", "special", "testing"):
        return import_module(f".{name}", __name__)
    if name in ("Explanation", "explain"):
        return getattr(import_module(".explanation", __name__), name)
    if name in ("NonFinite", "why_nan"):
        return getattr(import_module(".explanation.nonfinite", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Array",
    "Captured",
    "DonationWarning",
    "EqualValuesWarning",
    "Explanation",
    "NonFinite",
    "RecompilationWarning",
    "ResidualWarning",
    "ShapeDtypeStruct",
    "__version__",
    "capture",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "closure_convert",
    "compile_report",
    "custom_jvp",
    "custom_linear",
    "custom_rules",
    "custom_vjp",
    "debug",
    "disable_jit",
    "errors",
    "eval_shape",
    "explain",
    "extend",
    "external",
    "gauss_newton_vp",
    "grad",
    "hessian",
    "hessian_diag",
    "hvp",
    "implicit",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "laplacian",
    "lax",
    "linear_transpose",
    "linearize",
    "make_hvp",
    "memory_plan",
    "num_threads",
    "numpy",
    "pure_callback",
    "release_memory",
    "scipy",
    "special",
    "stage",
    "stop_gradient",
    "tag",
    "testing",
    "threads",
    "tree",
    "value_and_grad",
    "value_and_jacobian",
    "vjp",
    "vmap",
    "why_nan",
    "wirtinger",
]
__dir__ = listing(__all__)

"""Checks of derivatives, for users and for cotan's own tests."""

from ..core.listing import listing
from .checks import check_rule
from .compilations import assert_compiles
from .findings import Finding, NotSmoothWarning, RuleCheckError, RuleReport
from .grads import check_grads

__all__ = ["Finding", "NotSmoothWarning", "RuleCheckError", "RuleReport", "assert_compiles", "check_grads", "check_rule"]
__dir__ = listing(__all__)

"""Checks of derivatives, for users and for cotan's own tests."""

from .checks import Finding, RuleCheckError, RuleReport, check_grads, check_rule

__all__ = ["Finding", "RuleCheckError", "RuleReport", "check_grads", "check_rule"]

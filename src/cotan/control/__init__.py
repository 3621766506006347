"""Ops whose parameters are programs or functions: calls, branches, loops, custom rules and checkpoints."""

from . import call, checkpoint, cond, custom_rules, scan, while_loop

__all__ = ["call", "checkpoint", "cond", "custom_rules", "scan", "while_loop"]

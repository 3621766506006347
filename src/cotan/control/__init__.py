"""Ops whose parameters are programs or functions: calls, custom rules, checkpoints."""

"""Calls from Python: compiled code as a callable object on arrays."""

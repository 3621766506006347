"""Ahead-of-time compilation: entry points for C and SciPy, and object files with headers."""

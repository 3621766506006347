"""Derivatives made visible: how one came about, equation by equation, from the equations and rules that compute it.

`derivation` runs the transformation step by step and keeps each Program that it makes, as a `story`; `names` knows what the user calls
the values, and `formulas` writes equations and rules as formulas. `terminal` and `page` show the story. Nothing here knows an op by name.
"""

from .explain import Explanation, explain

__all__ = ["Explanation", "explain"]

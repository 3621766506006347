"""`why_nan`: the operation from which a nan or an infinity in a result comes."""

from .report import NonFinite, Operation
from .why import why_nan

__all__ = ["NonFinite", "Operation", "why_nan"]

"""The errors that cotan raises, by their public name; docs/errors.md says when."""

from .core.errors import (
    ArgumentError,
    ArgumentTypeError,
    BorrowedArrayError,
    CotanError,
    DtypeError,
    EngineError,
    EscapedTracerError,
    IndexingError,
    IntegerRangeError,
    MissingRuleError,
    NonlinearTangentError,
    ProgramError,
    RuleError,
    ShapeError,
    SingularPointError,
    TracerConversionError,
    UnsupportedFunctionError,
)
from .core.listing import listing

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "BorrowedArrayError",
    "CotanError",
    "DtypeError",
    "EngineError",
    "EscapedTracerError",
    "IndexingError",
    "IntegerRangeError",
    "MissingRuleError",
    "NonlinearTangentError",
    "ProgramError",
    "RuleError",
    "ShapeError",
    "SingularPointError",
    "TracerConversionError",
    "UnsupportedFunctionError",
]
__dir__ = listing(__all__)

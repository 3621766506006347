"""The errors of cotan, by their public names; docs/errors.md explains when each is raised."""

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

"""``cotan.scipy``: functions of SciPy on arrays and on traced values, under SciPy's names and signatures."""

from ..core.listing import listing
from . import linalg

__all__ = ["linalg"]
__dir__ = listing(__all__)

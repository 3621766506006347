"""``cotan.scipy.linalg``: linear algebra under SciPy's names. Stacks of matrices everywhere; integers become float64.

On arrays a function is SciPy's own. Traced, it has derivatives, is batched and compiled. Parameters that choose how a result is computed
(``overwrite_a``, ``check_finite``) have no effect on traced values.
"""

from ...core.listing import listing
from .decompositions import hessenberg, qr, qr_multiply, rq, rsf2csf, schur
from .equations import solve_continuous_are, solve_continuous_lyapunov, solve_discrete_are, solve_discrete_lyapunov, solve_sylvester
from .matrix_functions import (
    coshm,
    cosm,
    expm,
    expm_frechet,
    fractional_matrix_power,
    logm,
    polar,
    sinhm,
    sinm,
    sqrtm,
    tanhm,
    tanm,
)  # fmt: skip
from .solving import cho_factor, cho_solve, cholesky, det, inv, lu, lu_factor, lu_solve, solve, solve_triangular
from .spectra import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "cho_factor", "cho_solve", "cholesky", "coshm", "cosm", "det", "eig", "eigh", "eigvals", "eigvalsh", "expm", "expm_frechet",
    "fractional_matrix_power", "hessenberg", "inv", "logm", "lu", "lu_factor", "lu_solve", "polar", "qr", "qr_multiply", "rq", "rsf2csf",
    "schur", "sinhm", "sinm", "solve", "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are",
    "solve_discrete_lyapunov", "solve_sylvester", "solve_triangular", "sqrtm", "svd", "svdvals", "tanhm", "tanm",
]  # fmt: skip
__dir__ = listing(__all__)

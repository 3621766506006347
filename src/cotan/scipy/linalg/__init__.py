"""``cotan.scipy.linalg``: linear algebra under SciPy's names. Stacks of matrices everywhere; integers become float64.

On arrays a function is SciPy's own. Traced, it has derivatives, is batched and compiled. Parameters that choose how a result is computed
(``overwrite_a``, ``check_finite``) have no effect on traced values.
"""

from ...core.listing import listing
from .equations import solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester
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
from .special_matrices import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    dft,
    fiedler,
    fiedler_companion,
    hadamard,
    hankel,
    helmert,
    hilbert,
    invhilbert,
    invpascal,
    khatri_rao,
    leslie,
    pascal,
    toeplitz,
)  # fmt: skip
from .spectra import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "companion", "convolution_matrix", "coshm", "cosm", "det", "dft",
    "eig", "eigh", "eigvals", "eigvalsh", "expm", "expm_frechet", "fiedler", "fiedler_companion", "fractional_matrix_power", "hadamard",
    "hankel", "helmert", "hilbert", "inv", "invhilbert", "invpascal", "khatri_rao", "leslie", "logm", "lu", "lu_factor", "lu_solve",
    "pascal", "polar", "sinhm", "sinm", "solve", "solve_continuous_lyapunov", "solve_discrete_lyapunov", "solve_sylvester",
    "solve_triangular", "sqrtm", "svd", "svdvals", "tanhm", "tanm", "toeplitz",
]  # fmt: skip
__dir__ = listing(__all__)

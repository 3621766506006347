"""``cotan.scipy.linalg``: linear algebra under SciPy's names. Stacks of matrices everywhere; integers become float64.

On arrays a function is SciPy's own. Traced, it has derivatives, is batched and compiled. Parameters that choose how a result is computed
(``overwrite_a``, ``check_finite``) have no effect on traced values.
"""

from ...core.listing import listing
from .decompositions import hessenberg, qr, qr_multiply, rq, rsf2csf, schur
from .equations import solve_continuous_are, solve_continuous_lyapunov, solve_discrete_are, solve_discrete_lyapunov, solve_sylvester
from .least_squares import bandwidth, ishermitian, issymmetric, lstsq, norm, null_space, orth, pinv, pinvh
from .matrix_functions import (
    coshm,
    cosm,
    expm,
    expm_frechet,
    fractional_matrix_power,
    funm,
    logm,
    polar,
    signm,
    sinhm,
    sinm,
    sqrtm,
    tanhm,
    tanm,
)  # fmt: skip
from .solving import cho_factor, cho_solve, cholesky, det, inv, ldl, lu, lu_factor, lu_solve, solve, solve_triangular
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
from .structured import (
    cho_solve_banded,
    cholesky_banded,
    eig_banded,
    eigh_tridiagonal,
    eigvals_banded,
    eigvalsh_tridiagonal,
    matmul_toeplitz,
    solve_banded,
    solve_circulant,
    solve_toeplitz,
    solveh_banded,
)  # fmt: skip

__all__ = [
    "bandwidth", "block_diag", "cho_factor", "cho_solve", "cho_solve_banded", "cholesky", "cholesky_banded", "circulant", "companion",
    "convolution_matrix", "coshm", "cosm", "det", "dft", "eig", "eig_banded", "eigh", "eigh_tridiagonal", "eigvals", "eigvals_banded",
    "eigvalsh", "eigvalsh_tridiagonal", "expm", "expm_frechet", "fiedler", "fiedler_companion", "fractional_matrix_power", "funm",
    "hadamard", "hankel", "helmert", "hessenberg", "hilbert", "inv", "invhilbert", "invpascal", "ishermitian", "issymmetric", "khatri_rao",
    "ldl", "leslie", "logm", "lstsq", "lu", "lu_factor", "lu_solve", "matmul_toeplitz", "norm", "null_space", "orth", "pascal", "pinv",
    "pinvh", "polar", "qr", "qr_multiply", "rq", "rsf2csf", "schur", "signm", "sinhm", "sinm", "solve", "solve_banded", "solve_circulant",
    "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are", "solve_discrete_lyapunov", "solve_sylvester",
    "solve_toeplitz", "solve_triangular", "solveh_banded", "sqrtm", "svd", "svdvals", "tanhm", "tanm", "toeplitz",
]  # fmt: skip
__dir__ = listing(__all__)

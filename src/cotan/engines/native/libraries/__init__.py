"""External libraries: BLAS, LAPACK and NumPy's sorting routines, found in the process and called by address."""

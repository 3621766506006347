"""Kernels: what a `routine` may build: library calls, batched small matrices, matrix transposes, tiled copies and scatters."""

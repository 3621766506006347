"""The transformations of traced computations: forward (`jvp`), linearize, transpose, batch."""

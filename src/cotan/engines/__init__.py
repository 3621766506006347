"""What runs a Program: the NumPy interpreter, always there."""

"""Scheduling: the equations that share a loop nest, the values that are stored, and the results that may alias donated arguments."""

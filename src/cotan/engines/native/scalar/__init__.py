"""Scalars: the emitter of scalar instructions, and the formulas of scalar functions for every dtype."""

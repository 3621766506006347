"""Caches: fingerprints of Programs, their LLVM IR on disk, code that serves several sizes, and the two tiers of optimization."""

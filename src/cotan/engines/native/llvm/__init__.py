"""LLVM: the builder of IR, loops for the thread pool, the checked build, the JIT and the disk cache."""

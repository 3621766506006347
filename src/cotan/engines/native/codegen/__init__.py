"""Code generation: a scheduled Program as LLVM IR, with its workspace, kernels, loops and branches."""

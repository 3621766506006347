"""The native engine: Programs as machine code, through LLVM. Nothing here is imported before it is asked for."""

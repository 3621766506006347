"""The runtime library: functions that compiled code calls and that live as long as the process does.

The thread pool, the poll for signals with its clock, the caching allocator, the trampoline of calls from Python and the alias check of
donated arguments are LLVM IR, which the JIT compiles at its first use. The owned stack handles are Python, but for the function that frees
their blocks. Beside these there are the symbols by which code refers to the library (`symbols`), the C interfaces of Python and NumPy
(`capi`), and the compile lock (`compile_lock`).
"""

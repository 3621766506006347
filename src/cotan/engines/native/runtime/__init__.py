"""The runtime library: functions that compiled code calls and that live as long as the process does.

It holds the thread pool, the poll for signals, the caching allocator, the trampoline of calls from Python, the owned stack handles and the
alias check of donated arguments. Each is LLVM IR, which the JIT compiles at its first use.
"""

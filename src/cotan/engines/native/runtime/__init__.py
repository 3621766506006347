"""The runtime library: functions that compiled code calls and that live as long as the process does.

The thread pool, the poll for signals, the caching allocator, the trampoline of calls from Python, owned stack handles and the alias check of
donated arguments. Each is LLVM IR, compiled when it is first needed.
"""

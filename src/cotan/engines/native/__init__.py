"""The native engine: a Program as one machine-code function.

    Program -> passes -> Program -> schedule -> loop nests -> codegen -> LLVM IR -> llvm -> machine code -> call -> a Python callable

`engine` runs this pipeline, `sized` on symbolic sizes. A room imports the rooms to its right only (pyproject.toml has the contract), and
every room may import `affine`, `options`, `status` and `target`:

    engine > aot > call > pipeline > cache, report > codegen > schedule > passes > analysis > cost > scalar > llvm > libraries > runtime
"""

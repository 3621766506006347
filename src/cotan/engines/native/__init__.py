"""The native engine: a Program as one machine-code function.

    Program -> passes -> Program -> schedule -> loop nests -> codegen -> LLVM IR -> llvm -> machine code -> call -> a Python callable

`engine` runs this pipeline. A room imports the rooms to its right only, and every room may import `affine`, `cost` and `status`:

    engine > call, aot > cache > codegen > passes > schedule > scalar > llvm > libraries > runtime
"""

"""The call trampoline: the LLVM IR of `launch`, a Python C function that calls compiled code on array objects without the interpreter.

One function serves all Programs. A table of 64-bit slots (`TableSlot`), the data of the ndarray that is its ``self``, names
the function to call, and the types of its arguments and results. The trampoline accepts arguments only if the code can read
them in place: plain arrays of the wanted dtype and shape that are C-contiguous and aligned, or scalars. Otherwise it returns
NotImplemented, without an effect. Results are new arrays: one, or a tuple. A result that the code writes over a donated
argument (`schedule.aliasing`) is a new array too, which views the owner of that memory; if the argument must not be changed,
it is copied to new memory, and the code gets the copy as its argument. A failure of the code is returned as an int (its
status), unless a Python exception is set. `call.caller` compiles the trampoline and fills its tables.

Each record of `TableSlot.INPUTS` is (data, dtype, number of axes, shape, type of a scalar, whether an int will do), one slot
each; data is the address of a constant, for inputs that the caller does not give. A record of `TableSlot.OUTPUTS` is (dtype,
number of axes, shape, number of the input in whose memory it is or -1, address of the function that allocates it:
PyArray_NewFromDescr, or `allocator.maker`).
"""

from __future__ import annotations

from enum import IntEnum, auto

from cotan.engines.native.status import Status
from cotan.engines.native.target import ALIGNMENT

from .capi import SCALAR_OFFSET, TYPE_OFFSET, ArrayFlag, ArrayOffset

__all__ = ["INPUT_SLOTS", "OUTPUT_SLOTS", "SYMBOLS", "TRAMPOLINE", "TableSlot"]

INPUT_SLOTS, OUTPUT_SLOTS = 6, 5


class TableSlot(IntEnum):
    """The slots of the table."""

    MAIN = 0
    FUNCTIONS = auto()
    """The callback table, the last argument of the code."""
    WORKSPACE_BYTES = auto()
    SPARE = auto()
    """A workspace that is not in use, or 0: threads exchange it atomically, so that no two of them share one."""
    CONSTANTS = auto()
    COUNT_IN = auto()
    COUNT_OUT = auto()
    INPUTS = auto()
    OUTPUTS = auto()
    RELEASE = auto()
    """Whether the call releases the GIL, which takes some 25 ns."""
    SINGLE = auto()
    """Whether the result is one array, not a tuple."""
    NDARRAY = auto()
    ARRAY = auto()
    NOT_IMPLEMENTED = auto()
    NEW_ARRAY = auto()
    """PyArray_NewFromDescr, for results on given memory."""
    BYTES = auto()
    """The sizes of the inputs, for results in the memory of arguments."""
    MAY_WRITE = auto()
    """`alias_check.may_write`, for results in the memory of arguments."""


SYMBOLS = (
    *("PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_Occurred", "PyLong_FromLong", "PyLong_AsLongLongAndOverflow"),
    *("PyTuple_New", "PyTuple_SetItem", "Py_IncRef", "Py_DecRef"),
)
"""The functions of Python's C interface that it calls, under names of our own (``cotan_PyTuple_New``)."""

READ = "\n".join(
    f"  %at.{w.name} = getelementptr i64, ptr %table, i64 {w.value}\n  %{w.name} = load i64, ptr %at.{w.name}"
    for w in TableSlot
    if w is not TableSlot.SPARE
)
READABLE = ArrayFlag.C_CONTIGUOUS | ArrayFlag.ALIGNED
"""The flags of an array that the code can read in place."""
PLAIN = READABLE | ArrayFlag.WRITEABLE
"""The flags of a new array on given memory."""

TRAMPOLINE = f"""
declare ptr @cotan_PyEval_SaveThread()
declare void @cotan_PyEval_RestoreThread(ptr)
declare ptr @cotan_PyErr_Occurred()
declare ptr @cotan_PyLong_FromLong(i64)
declare i64 @cotan_PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @cotan_PyTuple_New(i64)
declare i32 @cotan_PyTuple_SetItem(ptr, i64, ptr)
declare void @cotan_Py_IncRef(ptr)
declare void @cotan_Py_DecRef(ptr)
declare ptr @malloc(i64)
declare void @free(ptr)
declare ptr @memcpy(ptr, ptr, i64)

define i64 @field(ptr %object, i64 %offset) alwaysinline {{
  %at = getelementptr i8, ptr %object, i64 %offset
  %value = load i64, ptr %at
  ret i64 %value
}}

define ptr @launch(ptr %self, ptr %args, i64 %given) nounwind {{
entry:
  %table.word = call i64 @field(ptr %self, i64 {ArrayOffset.DATA})
  %table = inttoptr i64 %table.word to ptr
{READ}
  %at.SPARE = getelementptr i64, ptr %table, i64 {TableSlot.SPARE.value}
  %inputs = inttoptr i64 %INPUTS to ptr
  %outputs = inttoptr i64 %OUTPUTS to ptr
  %wanted = sub i64 %COUNT_IN, %CONSTANTS
  %data.in = alloca i64, i64 %COUNT_IN
  %numbers = alloca i64, i64 %COUNT_IN
  %data.out = alloca i64, i64 %COUNT_OUT
  %results = alloca ptr, i64 %COUNT_OUT
  %overflow = alloca i32
  %right.count = icmp eq i64 %given, %wanted
  br i1 %right.count, label %argument, label %refuse

; ---- the arguments ---------------------------------------------------------------------------------------------------------
argument:
  %k = phi i64 [0, %entry], [%k.next, %argument.known]
  %more.in = icmp slt i64 %k, %COUNT_IN
  br i1 %more.in, label %argument.look, label %make
argument.look:
  %record.word = mul i64 %k, {INPUT_SLOTS}
  %record = getelementptr i64, ptr %inputs, i64 %record.word
  %constant = icmp slt i64 %k, %CONSTANTS
  br i1 %constant, label %argument.constant, label %argument.given
argument.constant:
  %data.constant = call i64 @field(ptr %record, i64 0)
  br label %argument.known
argument.given:
  %number = sub i64 %k, %CONSTANTS
  %at.arg = getelementptr ptr, ptr %args, i64 %number
  %x = load ptr, ptr %at.arg
  %type = call i64 @field(ptr %x, i64 {TYPE_OFFSET})
  %is.ndarray = icmp eq i64 %type, %NDARRAY
  %is.ours = icmp eq i64 %type, %ARRAY
  %is.array = or i1 %is.ndarray, %is.ours
  br i1 %is.array, label %array, label %scalar
array:
  %descr = call i64 @field(ptr %x, i64 {ArrayOffset.DESCR})
  %descr.wanted = call i64 @field(ptr %record, i64 8)
  %right.descr = icmp eq i64 %descr, %descr.wanted
  %at.nd = getelementptr i8, ptr %x, i64 {ArrayOffset.NDIM}
  %nd.short = load i32, ptr %at.nd
  %nd = sext i32 %nd.short to i64
  %nd.wanted = call i64 @field(ptr %record, i64 16)
  %right.nd = icmp eq i64 %nd, %nd.wanted
  %at.flags = getelementptr i8, ptr %x, i64 {ArrayOffset.FLAGS}
  %flags = load i32, ptr %at.flags
  %flags.here = and i32 %flags, {READABLE}
  %right.flags = icmp eq i32 %flags.here, {READABLE}
  %right.1 = and i1 %right.descr, %right.nd
  %right.2 = and i1 %right.1, %right.flags
  br i1 %right.2, label %shape, label %refuse
shape:
  %dims.word = call i64 @field(ptr %x, i64 {ArrayOffset.DIMENSIONS})
  %dims.wanted.word = call i64 @field(ptr %record, i64 24)
  %dims = inttoptr i64 %dims.word to ptr
  %dims.wanted = inttoptr i64 %dims.wanted.word to ptr
  br label %axis
axis:
  %j = phi i64 [0, %shape], [%j.next, %axis.compare]
  %more.axes = icmp slt i64 %j, %nd
  br i1 %more.axes, label %axis.compare, label %array.right
axis.compare:
  %j.next = add i64 %j, 1
  %at.n = getelementptr i64, ptr %dims, i64 %j
  %n = load i64, ptr %at.n
  %at.n.wanted = getelementptr i64, ptr %dims.wanted, i64 %j
  %n.wanted = load i64, ptr %at.n.wanted
  %right.n = icmp eq i64 %n, %n.wanted
  br i1 %right.n, label %axis, label %refuse
array.right:
  %data.array = call i64 @field(ptr %x, i64 {ArrayOffset.DATA})
  br label %argument.known
scalar:
  %type.wanted = call i64 @field(ptr %record, i64 32)
  %right.type = icmp eq i64 %type, %type.wanted
  br i1 %right.type, label %scalar.right, label %refuse
scalar.right:
  %at.number = getelementptr i8, ptr %x, i64 {SCALAR_OFFSET}
  %data.scalar = ptrtoint ptr %at.number to i64
  %int.will.do = call i64 @field(ptr %record, i64 40)
  %is.int = icmp ne i64 %int.will.do, 0
  br i1 %is.int, label %int, label %argument.known
int:
  %int.value = call i64 @cotan_PyLong_AsLongLongAndOverflow(ptr %x, ptr %overflow)
  %over = load i32, ptr %overflow
  %at.int = getelementptr i64, ptr %numbers, i64 %k
  store i64 %int.value, ptr %at.int
  %data.int = ptrtoint ptr %at.int to i64
  %fits = icmp eq i32 %over, 0
  br i1 %fits, label %argument.known, label %refuse
argument.known:
  %data = phi i64 [%data.constant, %argument.constant], [%data.array, %array.right], [%data.scalar, %scalar.right], [%data.int, %int]
  %at.data.in = getelementptr i64, ptr %data.in, i64 %k
  store i64 %data, ptr %at.data.in
  %k.next = add i64 %k, 1
  br label %argument
refuse:
  %not.implemented = inttoptr i64 %NOT_IMPLEMENTED to ptr
  call void @cotan_Py_IncRef(ptr %not.implemented)
  ret ptr %not.implemented

; ---- memory for the results and the workspace -----------------------------------------------------------------------------------
make:
  %m = phi i64 [0, %argument], [%m.next, %made]
  %more.out = icmp slt i64 %m, %COUNT_OUT
  br i1 %more.out, label %make.one, label %memory
make.one:
  %out.word = mul i64 %m, {OUTPUT_SLOTS}
  %out = getelementptr i64, ptr %outputs, i64 %out.word
  %out.descr.word = call i64 @field(ptr %out, i64 0)
  %out.nd.long = call i64 @field(ptr %out, i64 8)
  %out.nd = trunc i64 %out.nd.long to i32
  %out.dims.word = call i64 @field(ptr %out, i64 16)
  %out.dims = inttoptr i64 %out.dims.word to ptr
  %out.descr = inttoptr i64 %out.descr.word to ptr
  %out.type = inttoptr i64 %ARRAY to ptr
  %new.array = inttoptr i64 %NEW_ARRAY to ptr
  call void @cotan_Py_IncRef(ptr %out.descr)
  %donor = call i64 @field(ptr %out, i64 24)
  %maker.word = call i64 @field(ptr %out, i64 32)
  %maker = inttoptr i64 %maker.word to ptr
  %is.fresh = icmp slt i64 %donor, 0
  br i1 %is.fresh, label %make.fresh, label %donated
make.fresh:
  %y.fresh = call ptr %maker(ptr %out.type, ptr %out.descr, i32 %out.nd, ptr %out.dims, ptr null, ptr null, i32 0, ptr null)
  %none = icmp eq ptr %y.fresh, null
  br i1 %none, label %give.up, label %made
donated:
  %donor.number = sub i64 %donor, %CONSTANTS
  %at.donor = getelementptr ptr, ptr %args, i64 %donor.number
  %x.donor = load ptr, ptr %at.donor
  %at.data.donor = getelementptr i64, ptr %data.in, i64 %donor
  %data.donor = load i64, ptr %at.data.donor
  %from = inttoptr i64 %data.donor to ptr
  %may.write = inttoptr i64 %MAY_WRITE to ptr
  %all.bytes = inttoptr i64 %BYTES to ptr
  %owner = call ptr %may.write(ptr %x.donor, i64 %donor, ptr %data.in, ptr %all.bytes, i64 %COUNT_IN, i64 %NDARRAY, i64 %ARRAY)
  %refused = icmp eq ptr %owner, null
  br i1 %refused, label %make.copy, label %make.view
make.copy:
  %y.copy = call ptr %maker(ptr %out.type, ptr %out.descr, i32 %out.nd, ptr %out.dims, ptr null, ptr null, i32 0, ptr null)
  %no.copy = icmp eq ptr %y.copy, null
  br i1 %no.copy, label %give.up, label %fill
fill:
  %data.copy = call i64 @field(ptr %y.copy, i64 {ArrayOffset.DATA})
  %to = inttoptr i64 %data.copy to ptr
  %at.bytes = getelementptr i64, ptr %all.bytes, i64 %donor
  %bytes.donor = load i64, ptr %at.bytes
  call ptr @memcpy(ptr %to, ptr %from, i64 %bytes.donor)
  store i64 %data.copy, ptr %at.data.donor
  br label %made
make.view:
  %y.view = call ptr %new.array(ptr %out.type, ptr %out.descr, i32 %out.nd, ptr %out.dims, ptr null, ptr %from, i32 {PLAIN}, ptr null)
  %no.view = icmp eq ptr %y.view, null
  br i1 %no.view, label %give.up, label %own
own:
  call void @cotan_Py_IncRef(ptr %owner)
  %at.base = getelementptr i8, ptr %y.view, i64 {ArrayOffset.BASE}
  store ptr %owner, ptr %at.base
  br label %made
made:
  %y = phi ptr [%y.fresh, %make.fresh], [%y.copy, %fill], [%y.view, %own]
  %at.flags.y = getelementptr i8, ptr %y, i64 {ArrayOffset.FLAGS}
  %flags.y = load i32, ptr %at.flags.y
  %flags.of.number = and i32 %flags.y, {~ArrayFlag.WRITEABLE}
  %is.number = icmp eq i32 %out.nd, 0
  %flags.settled = select i1 %is.number, i32 %flags.of.number, i32 %flags.y
  store i32 %flags.settled, ptr %at.flags.y
  %at.result = getelementptr ptr, ptr %results, i64 %m
  store ptr %y, ptr %at.result
  %data.y = call i64 @field(ptr %y, i64 {ArrayOffset.DATA})
  %at.data.out = getelementptr i64, ptr %data.out, i64 %m
  store i64 %data.y, ptr %at.data.out
  %m.next = add i64 %m, 1
  br label %make
give.up:
  call void @drop(ptr %results, i64 %m)
  ret ptr null
memory:
  %needs.memory = icmp ne i64 %WORKSPACE_BYTES, 0
  br i1 %needs.memory, label %memory.spare, label %run
memory.spare:
  %spare.word = atomicrmw xchg ptr %at.SPARE, i64 0 seq_cst
  %is.spare = icmp ne i64 %spare.word, 0
  br i1 %is.spare, label %run, label %memory.new
memory.new:
  %bytes = add i64 %WORKSPACE_BYTES, {ALIGNMENT}
  %fresh = call ptr @malloc(i64 %bytes)
  %fresh.word = ptrtoint ptr %fresh to i64
  %no.memory = icmp eq ptr %fresh, null
  br i1 %no.memory, label %failed, label %run

; ---- the call -------------------------------------------------------------------------------------------------------------------------
run:
  %block = phi i64 [0, %memory], [%spare.word, %memory.spare], [%fresh.word, %memory.new]
  %block.end = add i64 %block, {ALIGNMENT - 1}
  %block.aligned = and i64 %block.end, -{ALIGNMENT}
  %workspace = inttoptr i64 %block.aligned to ptr
  %main = inttoptr i64 %MAIN to ptr
  %functions = inttoptr i64 %FUNCTIONS to ptr
  %release = icmp ne i64 %RELEASE, 0
  br i1 %release, label %run.alone, label %run.here
run.here:
  %status.here = call i32 %main(ptr %data.in, ptr %data.out, ptr %workspace, ptr %functions)
  br label %ran
run.alone:
  %thread = call ptr @cotan_PyEval_SaveThread()
  %status.alone = call i32 %main(ptr %data.in, ptr %data.out, ptr %workspace, ptr %functions)
  call void @cotan_PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  %status.main = phi i32 [%status.here, %run.here], [%status.alone, %run.alone]
  %had.memory = icmp ne i64 %block, 0
  br i1 %had.memory, label %memory.back, label %judge
memory.back:
  %other.word = atomicrmw xchg ptr %at.SPARE, i64 %block seq_cst
  %other = inttoptr i64 %other.word to ptr
  call void @free(ptr %other)
  br label %judge
judge:
  %fine = icmp eq i32 %status.main, 0
  br i1 %fine, label %give, label %failed
failed:
  %status = phi i32 [{Status.OUT_OF_MEMORY}, %memory.new], [%status.main, %judge]
  call void @drop(ptr %results, i64 %COUNT_OUT)
  %error = call ptr @cotan_PyErr_Occurred()
  %raised = icmp ne ptr %error, null
  br i1 %raised, label %raise, label %say
raise:
  ret ptr null
say:
  %status.long = sext i32 %status to i64
  %answer = call ptr @cotan_PyLong_FromLong(i64 %status.long)
  ret ptr %answer

; ---- the results ----------------------------------------------------------------------------------------------------------------------
give:
  %single = icmp ne i64 %SINGLE, 0
  br i1 %single, label %give.one, label %give.all
give.one:
  %only = load ptr, ptr %results
  ret ptr %only
give.all:
  %tuple = call ptr @cotan_PyTuple_New(i64 %COUNT_OUT)
  %no.tuple = icmp eq ptr %tuple, null
  br i1 %no.tuple, label %lost, label %item
lost:
  call void @drop(ptr %results, i64 %COUNT_OUT)
  ret ptr null
item:
  %i = phi i64 [0, %give.all], [%i.next, %item.set]
  %more.items = icmp slt i64 %i, %COUNT_OUT
  br i1 %more.items, label %item.set, label %whole
item.set:
  %at.item = getelementptr ptr, ptr %results, i64 %i
  %item.value = load ptr, ptr %at.item
  call i32 @cotan_PyTuple_SetItem(ptr %tuple, i64 %i, ptr %item.value)
  %i.next = add i64 %i, 1
  br label %item
whole:
  ret ptr %tuple
}}

define void @give_back(ptr %block) nounwind {{
  call void @free(ptr %block)
  ret void
}}

define internal void @drop(ptr %results, i64 %count) nounwind {{
entry:
  br label %head
head:
  %k = phi i64 [0, %entry], [%next, %turn]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %turn, label %done
turn:
  %at = getelementptr ptr, ptr %results, i64 %k
  %y = load ptr, ptr %at
  call void @cotan_Py_DecRef(ptr %y)
  %next = add i64 %k, 1
  br label %head
done:
  ret void
}}
"""

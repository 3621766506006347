"""The caching allocator: keeps the memory of large results that are freed, for the next large results.

The first access to a fresh page costs as much as to compute the 512 numbers on it. So a handler of our own (NEP 49) allocates
the large results of compiled code. The arrays own their data as any others do; when NumPy frees them, the handler caches the
block for a result of about that size. The cache is bounded in bytes and in blocks, the oldest block is freed first, and
`release` frees all of them. `call.caller` takes `maker` for its results.

The functions of the handler are machine code that lives until the process ends: arrays may be freed after all Python modules.
They never wait: a caller that finds the list of blocks locked uses malloc and free. NumPy calls them with the GIL held, so
this is rare, and no fork finds the list locked.

    slots of the state:  lock, number of blocks, bytes cached, bound of bytes; then (data, bytes) of each block, oldest first
    a block:             ... | start from malloc, bytes | data, at a multiple of 64 ...
"""

from __future__ import annotations

import ctypes
import os
import sys
from enum import IntEnum

from .capi import Slot, add_python_functions, keep_forever, new_capsule, numpy_function
from .compile_lock import lazy_singleton
from .symbols import Jit

__all__ = ["LEAST", "MOST_BLOCKS", "CachingAllocator", "Handler", "State", "caching_allocator", "kept", "maker", "most_bytes", "release"]

LEAST = 1 << 19
"""The bytes of the smallest result whose memory is cached. Smaller ones cost the same from malloc, which caches them itself."""
HUGE = 1 << 22
"""The bytes of the smallest block for which huge pages are asked for, as NumPy does."""
MOST_BLOCKS = 64
MOST_BYTES, SHARE = 1 << 28, 16
"""The cache is bounded by `MOST_BLOCKS`, by `MOST_BYTES`, and by the memory of the machine divided by `SHARE`."""
SIZE_LIMIT = 1 << 62
"""A request of so many bytes or more is refused: the size of a block, which is larger than the request, must not overflow."""


class State(IntEnum):
    """The slots before the blocks."""

    LOCK = 0
    COUNT = 1
    KEPT = 2
    MOST = 3
    BLOCKS = 4


def most_bytes() -> int:
    """The bound of the cache in bytes: COTAN_KEEP_BYTES, or a small part of the memory of the machine."""
    setting = os.environ.get("COTAN_KEEP_BYTES", "").strip()
    if setting.isdecimal():
        return int(setting)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return MOST_BYTES
    return min(MOST_BYTES, memory // SHARE)


class Allocator(ctypes.Structure):
    """PyDataMemAllocator."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free"))


class Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", Allocator))


class CachingAllocator:
    """The handler and its state, for the life of the process."""

    def __init__(self, most: int, jit: Jit):
        self.state = (ctypes.c_int64 * (State.BLOCKS + 2 * MOST_BLOCKS))()
        self.state[State.MOST] = most
        functions = {"new": Slot.NEW_FROM_DESCR, "set_handler": Slot.SET_HANDLER, "get_handler": Slot.GET_HANDLER}
        for name, slot in functions.items():
            jit.add_symbol(f"cotan_numpy_{name}", numpy_function(slot))
        jit.add_symbol("cotan_numpy_default", numpy_function(Slot.DEFAULT_HANDLER))
        add_python_functions(jit, "Py_DecRef")
        jit.add_symbol("cotan_recycled", ctypes.addressof(self.state))
        self.capsule_address = ctypes.c_void_p()
        jit.add_symbol("cotan_recycler", ctypes.addressof(self.capsule_address))
        names = ["take", "take_zeros", "take_again", "give", "empty", "new_array"]
        found = jit.compile(allocator_ir(), names, 0, forever=True)
        self.new_array = found["new_array"]
        self.empty = ctypes.PYFUNCTYPE(ctypes.c_int64)(found["empty"])
        addresses = [found[name] for name in ("take", "take_zeros", "take_again", "give")]
        self.handler = Handler(b"cotan", 1, Allocator(None, *addresses))
        self.name = b"mem_handler"
        self.capsule = new_capsule(ctypes.addressof(self.handler), self.name)
        self.capsule_address.value = id(self.capsule)
        keep_forever(self)  # arrays may outlive the modules


@lazy_singleton
def caching_allocator(jit: Jit) -> CachingAllocator | None:
    """The caching allocator, made for the first large result; None if the bound is 0, or NumPy has no such interface."""
    most = most_bytes()
    return CachingAllocator(most, jit) if most and all(map(numpy_function, Slot)) else None


def maker(nbytes: int, jit: Jit) -> int:
    """The address of the function that allocates an array of so many bytes; its arguments are those of PyArray_NewFromDescr."""
    found = caching_allocator(jit) if nbytes >= LEAST else None
    return numpy_function(Slot.NEW_FROM_DESCR) if found is None else found.new_array


def existing() -> CachingAllocator | None:
    """The caching allocator, if it has been made."""
    return caching_allocator.found[0] if caching_allocator.done else None


def kept() -> int:
    """The bytes in the cache."""
    found = existing()
    return int(found.state[State.KEPT]) if found is not None else 0


def release() -> int:
    """Free all blocks of the cache; their bytes."""
    found = existing()
    return int(found.empty()) if found is not None else 0


# ---- the functions --------------------------------------------------------------------------------------------------------------------
def allocator_ir() -> str:
    """The allocator functions as LLVM IR."""
    slots = {name: State[name].value for name in State.__members__}
    found = FUNCTIONS
    for name, value in {**slots, "LEAST": LEAST, "MOST_BLOCKS": MOST_BLOCKS, "SIZE_LIMIT": SIZE_LIMIT}.items():
        found = found.replace(f"<{name}>", str(value))
    return found + (ADVICE.replace("<HUGE>", str(HUGE)) if sys.platform == "linux" else NO_ADVICE)


FUNCTIONS = """
@cotan_recycled = external global [<BLOCKS> x i64]
@cotan_recycler = external global ptr
@cotan_numpy_default = external global ptr
declare ptr @cotan_numpy_new(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @cotan_numpy_set_handler(ptr)
declare ptr @cotan_numpy_get_handler()
declare void @cotan_Py_DecRef(ptr)
declare ptr @malloc(i64)
declare void @free(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.umin.i64(i64, i64)

define internal ptr @slot(i64 %k) alwaysinline {
  %at = getelementptr i64, ptr @cotan_recycled, i64 %k
  ret ptr %at
}

define internal ptr @block(i64 %k) alwaysinline {
  %twice = shl i64 %k, 1
  %at = add i64 %twice, <BLOCKS>
  %found = call ptr @slot(i64 %at)
  ret ptr %found
}

define internal i1 @lock() alwaysinline {
  %at = call ptr @slot(i64 <LOCK>)
  %pair = cmpxchg ptr %at, i64 0, i64 1 acquire monotonic
  %done = extractvalue { i64, i1 } %pair, 1
  ret i1 %done
}

define internal void @unlock() alwaysinline {
  %at = call ptr @slot(i64 <LOCK>)
  store atomic i64 0, ptr %at release, align 8
  ret void
}

; Take block k out of the list.
define internal ptr @remove(i64 %k) {
  %at = call ptr @block(i64 %k)
  %data = load ptr, ptr %at
  %at.bytes = getelementptr i64, ptr %at, i64 1
  %bytes = load i64, ptr %at.bytes
  %at.count = call ptr @slot(i64 <COUNT>)
  %count = load i64, ptr %at.count
  %fewer = sub i64 %count, 1
  store i64 %fewer, ptr %at.count
  %at.kept = call ptr @slot(i64 <KEPT>)
  %kept = load i64, ptr %at.kept
  %less = sub i64 %kept, %bytes
  store i64 %less, ptr %at.kept
  %behind = sub i64 %fewer, %k
  %size = shl i64 %behind, 4
  %next = getelementptr i64, ptr %at, i64 2
  call void @llvm.memmove.p0.p0.i64(ptr %at, ptr %next, i64 %size, i1 false)
  ret ptr %data
}

define internal void @free_block(ptr %data) {
  %at = getelementptr i8, ptr %data, i64 -16
  %start = load ptr, ptr %at
  call void @free(ptr %start)
  ret void
}

define internal i64 @size_of(ptr %data) alwaysinline {
  %at = getelementptr i8, ptr %data, i64 -8
  %bytes = load i64, ptr %at
  ret i64 %bytes
}

; Of the blocks that are large enough, and not larger by more than a quarter, the smallest; null if there is none.
define internal ptr @find(i64 %wanted) {
entry:
  %free = call i1 @lock()
  br i1 %free, label %search, label %none
search:
  %at.count = call ptr @slot(i64 <COUNT>)
  %count = load i64, ptr %at.count
  %quarter = lshr i64 %wanted, 2
  %most = add i64 %wanted, %quarter
  br label %head
head:
  %k = phi i64 [0, %search], [%k.next, %turn]
  %best = phi i64 [-1, %search], [%best.next, %turn]
  %least = phi i64 [%most, %search], [%least.next, %turn]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %turn, label %judge
turn:
  %at = call ptr @block(i64 %k)
  %at.bytes = getelementptr i64, ptr %at, i64 1
  %bytes = load i64, ptr %at.bytes
  %enough = icmp uge i64 %bytes, %wanted
  %small = icmp ule i64 %bytes, %least
  %better = and i1 %enough, %small
  %best.next = select i1 %better, i64 %k, i64 %best
  %least.next = select i1 %better, i64 %bytes, i64 %least
  %k.next = add i64 %k, 1
  br label %head
judge:
  %is.none = icmp slt i64 %best, 0
  br i1 %is.none, label %leave, label %found
leave:
  call void @unlock()
  br label %none
found:
  %data = call ptr @remove(i64 %best)
  call void @unlock()
  ret ptr %data
none:
  ret ptr null
}

define ptr @take(ptr %context, i64 %size) {
entry:
  %sane = icmp ult i64 %size, <SIZE_LIMIT>
  br i1 %sane, label %look, label %refuse
look:
  %up = add i64 %size, 4095
  %wanted = and i64 %up, -4096
  %kept = call ptr @find(i64 %wanted)
  %is.kept = icmp ne ptr %kept, null
  br i1 %is.kept, label %again, label %fresh
again:
  ret ptr %kept
fresh:
  %all = add i64 %wanted, 80
  %first = call ptr @malloc(i64 %all)
  %missing = icmp eq ptr %first, null
  br i1 %missing, label %release, label %made
release:
  call i64 @empty()
  %second = call ptr @malloc(i64 %all)
  %gone = icmp eq ptr %second, null
  br i1 %gone, label %refuse, label %made
made:
  %start = phi ptr [%first, %fresh], [%second, %release]
  %word = ptrtoint ptr %start to i64
  %end = add i64 %word, 79
  %aligned = and i64 %end, -64
  %data = inttoptr i64 %aligned to ptr
  %at.start = getelementptr i8, ptr %data, i64 -16
  store ptr %start, ptr %at.start
  %at.bytes = getelementptr i8, ptr %data, i64 -8
  store i64 %wanted, ptr %at.bytes
  call void @advise(i64 %aligned, i64 %wanted)
  ret ptr %data
refuse:
  ret ptr null
}

define ptr @take_zeros(ptr %context, i64 %count, i64 %each) {
entry:
  %product = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %count, i64 %each)
  %size = extractvalue { i64, i1 } %product, 0
  %over = extractvalue { i64, i1 } %product, 1
  br i1 %over, label %refuse, label %take
take:
  %data = call ptr @take(ptr %context, i64 %size)
  %missing = icmp eq ptr %data, null
  br i1 %missing, label %refuse, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %data, i8 0, i64 %size, i1 false)
  ret ptr %data
refuse:
  ret ptr null
}
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)

define ptr @take_again(ptr %context, ptr %old, i64 %size) {
entry:
  %new = call ptr @take(ptr %context, i64 %size)
  %missing = icmp eq ptr %new, null
  %nothing = icmp eq ptr %old, null
  %done = or i1 %missing, %nothing
  br i1 %done, label %leave, label %move
move:
  %bytes = call i64 @size_of(ptr %old)
  %part = call i64 @llvm.umin.i64(i64 %bytes, i64 %size)
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %part, i1 false)
  call void @give(ptr %context, ptr %old, i64 %bytes)
  br label %leave
leave:
  ret ptr %new
}

define void @give(ptr %context, ptr %data, i64 %size) {
entry:
  %nothing = icmp eq ptr %data, null
  br i1 %nothing, label %leave, label %look
look:
  %bytes = call i64 @size_of(ptr %data)
  %at.most = call ptr @slot(i64 <MOST>)
  %most = load i64, ptr %at.most
  %large = icmp ugt i64 %bytes, %most
  %small = icmp ult i64 %bytes, <LEAST>
  %not.kept = or i1 %large, %small
  br i1 %not.kept, label %away, label %try
try:
  %free = call i1 @lock()
  br i1 %free, label %room, label %away
room:
  %at.count = call ptr @slot(i64 <COUNT>)
  %count = load i64, ptr %at.count
  %at.kept = call ptr @slot(i64 <KEPT>)
  %kept = load i64, ptr %at.kept
  %sum = add i64 %kept, %bytes
  %too.much = icmp ugt i64 %sum, %most
  %too.many = icmp eq i64 %count, <MOST_BLOCKS>
  %full = or i1 %too.much, %too.many
  br i1 %full, label %oldest, label %keep
oldest:
  %old = call ptr @remove(i64 0)
  call void @free_block(ptr %old)
  br label %room
keep:
  %at = call ptr @block(i64 %count)
  store ptr %data, ptr %at
  %at.bytes = getelementptr i64, ptr %at, i64 1
  store i64 %bytes, ptr %at.bytes
  %more = add i64 %count, 1
  store i64 %more, ptr %at.count
  store i64 %sum, ptr %at.kept
  call void @unlock()
  br label %leave
away:
  call void @free_block(ptr %data)
  br label %leave
leave:
  ret void
}

; Free all blocks; how many bytes they had.
define i64 @empty() {
entry:
  %free = call i1 @lock()
  br i1 %free, label %begin, label %none
begin:
  %at.kept = call ptr @slot(i64 <KEPT>)
  %kept = load i64, ptr %at.kept
  %at.count = call ptr @slot(i64 <COUNT>)
  br label %head
head:
  %count = load i64, ptr %at.count
  %more = icmp sgt i64 %count, 0
  br i1 %more, label %turn, label %done
turn:
  %last = sub i64 %count, 1
  %data = call ptr @remove(i64 %last)
  call void @free_block(ptr %data)
  br label %head
done:
  call void @unlock()
  ret i64 %kept
none:
  ret i64 0
}

; PyArray_NewFromDescr with this handler, unless the user has set one of his own. It takes over a reference to the descr, as that does.
define ptr @new_array(ptr %type, ptr %descr, i32 %nd, ptr %dims, ptr %strides, ptr %data, i32 %flags, ptr %object) {
entry:
  %now = call ptr @cotan_numpy_get_handler()
  %default = load ptr, ptr @cotan_numpy_default
  %is.default = icmp eq ptr %now, %default
  %missing = icmp eq ptr %now, null
  br i1 %missing, label %plain, label %known
known:
  call void @cotan_Py_DecRef(ptr %now)
  br i1 %is.default, label %set, label %plain
plain:
  %usual = tail call ptr @cotan_numpy_new(ptr %type, ptr %descr, i32 %nd, ptr %dims, ptr %strides, ptr %data, i32 %flags, ptr %object)
  ret ptr %usual
set:
  %ours = load ptr, ptr @cotan_recycler
  %before = call ptr @cotan_numpy_set_handler(ptr %ours)
  %refused = icmp eq ptr %before, null
  br i1 %refused, label %plain, label %make
make:
  %y = call ptr @cotan_numpy_new(ptr %type, ptr %descr, i32 %nd, ptr %dims, ptr %strides, ptr %data, i32 %flags, ptr %object)
  %after = call ptr @cotan_numpy_set_handler(ptr %before)
  call void @cotan_Py_DecRef(ptr %before)
  %is.after = icmp ne ptr %after, null
  br i1 %is.after, label %drop, label %leave
drop:
  call void @cotan_Py_DecRef(ptr %after)
  br label %leave
leave:
  ret ptr %y
}
"""
ADVICE = """
declare i32 @madvise(ptr, i64, i32)

define internal void @advise(i64 %data, i64 %bytes) {
entry:
  %large = icmp uge i64 %bytes, <HUGE>
  br i1 %large, label %say, label %leave
say:
  %up = add i64 %data, 4095
  %page = and i64 %up, -4096
  %at = inttoptr i64 %page to ptr
  %skipped = sub i64 %page, %data
  %rest = sub i64 %bytes, %skipped
  %size = and i64 %rest, -4096
  call i32 @madvise(ptr %at, i64 %size, i32 14)
  br label %leave
leave:
  ret void
}
"""
NO_ADVICE = """
define internal void @advise(i64 %data, i64 %bytes) alwaysinline {
  ret void
}
"""

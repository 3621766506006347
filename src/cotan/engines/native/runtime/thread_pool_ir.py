"""The LLVM IR of the thread pool (`thread_pool`): the loop of its workers, and the division of a job into chunks.

One 64-bit word says which chunks are left: the number of the job (32 bits), the end of the chunks that are left (16) and the
first of them (16). A thread takes a chunk by a compare-and-swap of that word, so a worker that is late cannot take a chunk of
a later job for one of its own. The caller takes the first chunk, workers take the last: so in loops that follow each other
each thread has much the same part, which is in its cache.

To wake a worker takes the caller about as long as a small job. So a small job that finds all workers asleep is run by its
caller, unless another small job ended just before: then there may be more, and the workers are woken. Where other processes
use the processors, a small job would wait for a worker that has a chunk and no processor. After such a wait small jobs are
run by their callers for a while.
"""

from __future__ import annotations

import os
import platform
import sys
from enum import IntEnum

from .clock import posix_clock

__all__ = ["MOST_CHUNKS", "POOL_BYTES", "SERIAL", "thread_pool_ir"]

MOST_CHUNKS = 64
"""The most chunks of a job."""
POOL_BYTES = 2048
SPINS = 3000
"""The number of times that a worker polls for a job before it sleeps."""
HELD_UP, KEEP_OFF = 300_000, 20
"""A small job that waits longer than `HELD_UP` nanoseconds for a worker finds other work on its processor. For `KEEP_OFF` times as long,
small jobs are run by their callers: then no more than a twentieth of the time is lost by trying again."""
JUST_BEFORE = 150_000
"""A small job that begins at most so many nanoseconds after the end of another one is taken for one of many."""


class PoolOffset(IntEnum):
    """The offset in bytes of each field of the pool. The word of the job is at its start. Fields that several threads use at the same time
    have cache lines of their own.
    """

    FUNCTION = 64
    CONTEXT = 72
    """The first argument of the function."""
    THREADS = 80
    """The number of threads that may take part in the job."""
    PENDING = 128
    """The number of chunks that have not ended."""
    CHUNKS = 136
    """The number of chunks of the job."""
    TAKEN = 192
    """Whether a caller uses the pool."""
    SLEEPING = 256
    """The number of workers that sleep."""
    MUTEX = 320
    CONDITION = 448
    WORKER_COUNT = 576
    LAST_SMALL_JOB = 640
    """The time in nanoseconds at which the last small job that found all workers asleep ended."""
    CALLERS_PROCESSOR = 704
    """The number, plus one, of the processor that workers keep off."""
    ALONE_UNTIL = 768
    """The time in nanoseconds until which callers run small jobs alone; 0 if they need not."""
    PROCESSORS = 1024
    """The processors that workers may use, one bit each."""
    WORKERS = 1152
    """The identifiers of the workers' threads, 8 bytes each, by the number of the worker."""


def thread_pool_ir() -> str:
    """The pool as LLVM IR, for this system and processor."""
    if os.name != "posix":
        return NO_THREADS + ALONE
    declaration, call = PAUSES.get(platform.machine(), ("", ""))
    threads = POSIX_THREADS + ALONE + (LINUX_ELSEWHERE if sys.platform == "linux" else ANYWHERE) + posix_clock()
    values = {
        "SETMASK": 3 if sys.platform == "darwin" else 2, "PAUSE": call, "SPINS": SPINS, "JUST_BEFORE": JUST_BEFORE,
        "MOST_CHUNKS": MOST_CHUNKS, "HELD_UP": HELD_UP, "KEEP_OFF": KEEP_OFF, "POOL_BYTES": POOL_BYTES,
    }  # fmt: skip
    for name, value in {**values, **{name: offset.value for name, offset in PoolOffset.__members__.items()}}.items():
        threads = threads.replace(f"<{name}>", str(value))
    return declaration + threads


X86, ARM = (
    ("declare void @llvm.x86.sse2.pause()\n", "call void @llvm.x86.sse2.pause()"),
    ("declare void @llvm.aarch64.hint(i32)\n", "call void @llvm.aarch64.hint(i32 1)"),
)
PAUSES = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}
"""The instruction between two polls of a memory location, by processor: its declaration and its call."""
ALONE = """
define internal void @alone(ptr %function, ptr %context, i32 %chunks) {
entry:
  br label %turn
turn:
  %k = phi i32 [0, %entry], [%next, %turn]
  call void %function(ptr %context, i32 %k, i32 %chunks)
  %next = add i32 %k, 1
  %more = icmp slt i32 %next, %chunks
  br i1 %more, label %turn, label %done
done:
  ret void
}
"""
SERIAL = ALONE.replace(
    "@alone(ptr %function, ptr %context, i32 %chunks)", "@cotan_parallel(ptr %function, ptr %context, i32 %chunks, i32, i1)"
)
"""``cotan_parallel`` for code that runs outside of this process, and so without the pool."""
NO_THREADS = """
define void @cotan_parallel(ptr %function, ptr %context, i32 %chunks, i32 %threads, i1 %small) {
  call void @alone(ptr %function, ptr %context, i32 %chunks)
  ret void
}
define void @cotan_reset_pool() {
  ret void
}
"""
ANYWHERE = """
define internal void @note_processors() {
  ret void
}
define internal void @elsewhere() {
  ret void
}
"""
LINUX_ELSEWHERE = """
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.vector.reduce.or.v16i64(<16 x i64>)

; Before workers are made: the processors that this process may use.
define internal void @note_processors() noinline {
  %all = getelementptr i8, ptr @cotan_pool, i64 <PROCESSORS>
  %off.at = getelementptr i8, ptr @cotan_pool, i64 <CALLERS_PROCESSOR>
  store i32 0, ptr %off.at
  %a = call i32 @sched_getaffinity(i32 0, i64 128, ptr %all)
  ret void
}

; Before workers are woken: keep them off the processor of the caller.
define internal void @elsewhere() noinline {
entry:
  %off.at = getelementptr i8, ptr @cotan_pool, i64 <CALLERS_PROCESSOR>
  %all = getelementptr i8, ptr @cotan_pool, i64 <PROCESSORS>
  %workers = getelementptr i8, ptr @cotan_pool, i64 <WORKERS>
  %count.at = getelementptr i8, ptr @cotan_pool, i64 <WORKER_COUNT>
  %rest = alloca [16 x i64], align 16
  %here = call i32 @sched_getcpu()
  %off = load i32, ptr %off.at
  %here1 = add i32 %here, 1
  %same = icmp eq i32 %here1, %off
  br i1 %same, label %done, label %moved
moved:
  store i32 %here1, ptr %off.at
  %known = icmp ult i32 %here, 1024
  br i1 %known, label %leave.out, label %done
leave.out:
  call void @llvm.memcpy.p0.p0.i64(ptr %rest, ptr %all, i64 128, i1 false)
  %place = lshr i32 %here, 6
  %word.at = getelementptr i64, ptr %rest, i32 %place
  %bit = and i32 %here, 63
  %bit.wide = zext i32 %bit to i64
  %mask = shl i64 1, %bit.wide
  %others = xor i64 %mask, -1
  %word = load i64, ptr %word.at
  %left = and i64 %word, %others
  store i64 %left, ptr %word.at
  %words = load <16 x i64>, ptr %rest, align 16
  %any = call i64 @llvm.vector.reduce.or.v16i64(<16 x i64> %words)
  %none = icmp eq i64 %any, 0
  br i1 %none, label %done, label %turns
turns:
  %count = load i64, ptr %count.at
  br label %turn
turn:
  %k = phi i64 [0, %turns], [%next, %set]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %set, label %done
set:
  %next = add i64 %k, 1
  %worker.at = getelementptr i64, ptr %workers, i64 %next
  %worker = load i64, ptr %worker.at
  %a = call i32 @pthread_setaffinity_np(i64 %worker, i64 128, ptr %rest)
  br label %turn
done:
  ret void
}
"""
"""Linux may wake a worker on the processor of its caller if both processors were busy a moment ago. The worker waits there for some
milliseconds, while the caller does all the work."""
POSIX_THREADS = """
@cotan_pool = external global i8
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_yield()
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define void @cotan_reset_pool() {
  call void @llvm.memset.p0.i64(ptr @cotan_pool, i8 0, i64 <POOL_BYTES>, i1 false)
  %mutex = getelementptr i8, ptr @cotan_pool, i64 <MUTEX>
  %condition = getelementptr i8, ptr @cotan_pool, i64 <CONDITION>
  %a = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %b = call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}

; Take chunks of the job of this number until there are none.
define internal void @work(i64 %job, i1 %from.first) noinline {
entry:
  %function.at = getelementptr i8, ptr @cotan_pool, i64 <FUNCTION>
  %context.at = getelementptr i8, ptr @cotan_pool, i64 <CONTEXT>
  %pending.at = getelementptr i8, ptr @cotan_pool, i64 <PENDING>
  %count.at = getelementptr i8, ptr @cotan_pool, i64 <CHUNKS>
  %step = select i1 %from.first, i64 1, i64 -65536
  br label %look
look:
  %word = load atomic i64, ptr @cotan_pool acquire, align 64
  %number = lshr i64 %word, 32
  %same = icmp eq i64 %number, %job
  %first = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %end = and i64 %shifted, 65535
  %left = icmp ult i64 %first, %end
  %go = and i1 %same, %left
  br i1 %go, label %take, label %done
take:
  %after = add i64 %word, %step
  %pair = cmpxchg ptr @cotan_pool, i64 %word, i64 %after acq_rel monotonic, align 64
  %taken = extractvalue { i64, i1 } %pair, 1
  br i1 %taken, label %run, label %look
run:
  %function = load ptr, ptr %function.at
  %context = load ptr, ptr %context.at
  %chunks = load i32, ptr %count.at
  %last = sub i64 %end, 1
  %k = select i1 %from.first, i64 %first, i64 %last
  %chunk = trunc i64 %k to i32
  call void %function(ptr %context, i32 %chunk, i32 %chunks)
  %before = atomicrmw sub ptr %pending.at, i32 1 acq_rel
  br label %look
done:
  ret void
}

define internal ptr @worker(ptr %argument) {
entry:
  %index = ptrtoint ptr %argument to i64
  %limit.at = getelementptr i8, ptr @cotan_pool, i64 <THREADS>
  %sleepers = getelementptr i8, ptr @cotan_pool, i64 <SLEEPING>
  %mutex = getelementptr i8, ptr @cotan_pool, i64 <MUTEX>
  %condition = getelementptr i8, ptr @cotan_pool, i64 <CONDITION>
  br label %again
again:
  %last = phi i64 [0, %entry], [%number, %skip]
  br label %spin
spin:
  %turns = phi i32 [0, %again], [%more, %pause]
  %word = load atomic i64, ptr @cotan_pool acquire, align 64
  %seen = lshr i64 %word, 32
  %new = icmp ne i64 %seen, %last
  br i1 %new, label %found, label %pause
pause:
  <PAUSE>
  %more = add i32 %turns, 1
  %enough = icmp sgt i32 %more, <SPINS>
  br i1 %enough, label %sleep, label %spin
sleep:
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  %b = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %check
check:
  %word2 = load atomic i64, ptr @cotan_pool seq_cst, align 64
  %seen2 = lshr i64 %word2, 32
  %new2 = icmp ne i64 %seen2, %last
  br i1 %new2, label %awake, label %wait
wait:
  %c = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
awake:
  %d = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  %e = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %found
found:
  %number = phi i64 [%seen, %spin], [%seen2, %awake]
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %mine = icmp slt i64 %index, %limit
  br i1 %mine, label %help, label %skip
help:
  call void @work(i64 %number, i1 false)
  br label %skip
skip:
  br label %again
}

; Workers 1 ... threads - 1, with all signals blocked: those are for the threads of Python.
define internal void @grow(i64 %threads) noinline {
entry:
  %count.at = getelementptr i8, ptr @cotan_pool, i64 <WORKER_COUNT>
  %workers = getelementptr i8, ptr @cotan_pool, i64 <WORKERS>
  %signals = alloca [128 x i8], align 16
  %kept = alloca [128 x i8], align 16
  %thread = alloca i64
  call void @llvm.memset.p0.i64(ptr %signals, i8 255, i64 128, i1 false)
  %a = call i32 @pthread_sigmask(i32 <SETMASK>, ptr %signals, ptr %kept)
  %first = load i64, ptr %count.at
  call void @note_processors()
  br label %turn
turn:
  %k = phi i64 [%first, %entry], [%next, %made]
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %threads
  br i1 %more, label %make, label %done
make:
  %index = inttoptr i64 %next to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr %index)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %done, label %made
made:
  %id = load i64, ptr %thread
  %worker.at = getelementptr i64, ptr %workers, i64 %next
  store i64 %id, ptr %worker.at
  %b = call i32 @pthread_detach(i64 %id)
  store i64 %next, ptr %count.at
  br label %turn
done:
  %c = call i32 @pthread_sigmask(i32 <SETMASK>, ptr %kept, ptr null)
  ret void
}

define void @cotan_parallel(ptr %function, ptr %context, i32 %chunks, i32 %threads, i1 %small) {
entry:
  %taken.at = getelementptr i8, ptr @cotan_pool, i64 <TAKEN>
  %count.at = getelementptr i8, ptr @cotan_pool, i64 <WORKER_COUNT>
  %many = icmp sgt i32 %chunks, 1
  br i1 %many, label %ask, label %alone
ask:
  %until.at = getelementptr i8, ptr @cotan_pool, i64 <ALONE_UNTIL>
  br i1 %small, label %look.back, label %try
look.back:
  %until = load atomic i64, ptr %until.at monotonic, align 8
  %never = icmp eq i64 %until, 0
  br i1 %never, label %try, label %look.now
look.now:
  %moment = call i64 @now()
  %over = icmp sge i64 %moment, %until
  br i1 %over, label %forget, label %alone
forget:
  store atomic i64 0, ptr %until.at monotonic, align 8
  br label %try
try:
  %pair = cmpxchg ptr %taken.at, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %have, label %alone
have:
  %too.many = icmp sgt i32 %threads, <MOST_CHUNKS>
  %useful = select i1 %too.many, i32 <MOST_CHUNKS>, i32 %threads
  %wanted = sext i32 %useful to i64
  %count = load i64, ptr %count.at
  %with.me = add i64 %count, 1
  %few = icmp slt i64 %with.me, %wanted
  br i1 %few, label %grow, label %look
look:
  %sleepers.at = getelementptr i8, ptr @cotan_pool, i64 <SLEEPING>
  %sleeping = load atomic i32, ptr %sleepers.at monotonic, align 4
  %sleeping.wide = sext i32 %sleeping to i64
  %none.awake = icmp sge i64 %sleeping.wide, %count
  %perhaps = and i1 %small, %none.awake
  br i1 %perhaps, label %time, label %publish
time:
  %now = call i64 @now()
  %last.at = getelementptr i8, ptr @cotan_pool, i64 <LAST_SMALL_JOB>
  %last = load atomic i64, ptr %last.at monotonic, align 8
  %since = sub i64 %now, %last
  %rare = icmp sgt i64 %since, <JUST_BEFORE>
  br i1 %rare, label %leave, label %publish
leave:
  store atomic i32 0, ptr %taken.at release, align 4
  call void @alone(ptr %function, ptr %context, i32 %chunks)
  %end = call i64 @now()
  store atomic i64 %end, ptr %last.at monotonic, align 8
  ret void
grow:
  call void @grow(i64 %wanted)
  br label %publish
publish:
  %function.at = getelementptr i8, ptr @cotan_pool, i64 <FUNCTION>
  %context.at = getelementptr i8, ptr @cotan_pool, i64 <CONTEXT>
  %limit.at = getelementptr i8, ptr @cotan_pool, i64 <THREADS>
  %pending.at = getelementptr i8, ptr @cotan_pool, i64 <PENDING>
  %sleepers = getelementptr i8, ptr @cotan_pool, i64 <SLEEPING>
  %mutex = getelementptr i8, ptr @cotan_pool, i64 <MUTEX>
  %condition = getelementptr i8, ptr @cotan_pool, i64 <CONDITION>
  store ptr %function, ptr %function.at
  store ptr %context, ptr %context.at
  %chunks.at = getelementptr i8, ptr @cotan_pool, i64 <CHUNKS>
  store i32 %chunks, ptr %chunks.at
  store atomic i64 %wanted, ptr %limit.at monotonic, align 8
  store atomic i32 %chunks, ptr %pending.at monotonic, align 4
  %old = load atomic i64, ptr @cotan_pool monotonic, align 64
  %number = lshr i64 %old, 32
  %number1 = add i64 %number, 1
  %high = shl i64 %number1, 32
  %job = lshr i64 %high, 32
  %n = zext i32 %chunks to i64
  %middle = shl i64 %n, 16
  %word = or i64 %high, %middle
  store atomic i64 %word, ptr @cotan_pool seq_cst, align 64
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %wake = icmp sgt i32 %asleep, 0
  br i1 %wake, label %call, label %work
call:
  call void @elsewhere()
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  %b = call i32 @pthread_cond_broadcast(ptr %condition)
  %c = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %work
work:
  call void @work(i64 %job, i1 true)
  br label %wait
wait:
  %turns = phi i32 [0, %work], [%turns1, %pause]
  %since.when = phi i64 [0, %work], [%began, %pause]
  %pending = load atomic i32, ptr %pending.at acquire, align 4
  %done = icmp eq i32 %pending, 0
  br i1 %done, label %waited, label %pause.or.yield
pause.or.yield:
  %turns1 = add i32 %turns, 1
  %long = icmp sgt i32 %turns1, <SPINS>
  br i1 %long, label %yield, label %pause
yield:
  %first.time = icmp eq i64 %since.when, 0
  br i1 %first.time, label %begin, label %go.on
begin:
  %beginning = call i64 @now()
  br label %go.on
go.on:
  %known.when = phi i64 [%since.when, %yield], [%beginning, %begin]
  %d = call i32 @sched_yield()
  br label %pause
pause:
  %began = phi i64 [%since.when, %pause.or.yield], [%known.when, %go.on]
  <PAUSE>
  br label %wait
waited:
  %at.once = icmp eq i64 %since.when, 0
  %large = xor i1 %small, true
  %fine = or i1 %at.once, %large
  br i1 %fine, label %release, label %held.up
held.up:
  %after = call i64 @now()
  %lost = sub i64 %after, %since.when
  %much = icmp sgt i64 %lost, <HELD_UP>
  br i1 %much, label %keep.off, label %release
keep.off:
  %times = mul i64 %lost, <KEEP_OFF>
  %then = add i64 %after, %times
  store atomic i64 %then, ptr %until.at monotonic, align 8
  br label %release
release:
  store atomic i32 0, ptr %taken.at release, align 4
  ret void
alone:
  call void @alone(ptr %function, ptr %context, i32 %chunks)
  ret void
}
"""

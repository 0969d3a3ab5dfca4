"""The pool of threads as emitted code: who works on a kernel's units, and how they go to sleep and wake.

`i64 tj_launch(main, words, units, threads)` runs all units of a kernel (see `abi`) and returns its code.  It takes the
workers that are idle right now, gives everybody an equal, contiguous share of the units, and works itself.  A
participant takes pieces of what is left of its own share, each half of that, and then of the others'; so the same
part of an array goes to the same core from one launch to the next, and one that wakes late, or whose core is busy
elsewhere, costs little.  A worker that is not awake by the time that all is done is not waited for.

Workers linger for a moment and then sleep on a condition variable of their own, in threads that know nothing of
Python; a launch whose caller finds none idle runs alone, so no launch waits for another.  Each participant wakes two
more before it works: the last of n is awake after log n wake-ups.

Where the system lets us, a worker that ran on the caller's CPU last is kept off it: see `_emit_move`.

`void tj_reset_pool()` forgets all workers: before the first launch, and in the child of a fork, which has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from tracejit.lower import llvm_types
from tracejit.lower.integers import smaller
from tracejit.lower.interpreter import field, is_null
from tracejit.lower.linking import LAUNCH, PLACING, RESET, SYSTEM
from tracejit.lower.llvm_types import I1, I8, I32, I64, POINTER, VOID, word

MAIN = ir.FunctionType(I64, [POINTER, I64, I64])
"""A kernel's main function."""

ROOM = 64
"""Bytes for a mutex or a condition variable (48 on Linux, 64 on macOS at the most), and for a share: a cache line."""

SIGNALS = 128
"""Bytes of a set of signals."""

CPUS = 1024
"""CPUs that a set of them has room for, a bit each."""

_LOCK, _WAKE, _FINISHED, _JOB, _NUMBER, _DONE, _AWAITED, _NEXT = (0, 64, 128, 192, 200, 208, 216, 224)
"""Offsets in a worker: its mutex; conditions to wake it and to tell that it has finished; the launch that it is to
work on, and its number there; whether it has finished, and whether someone sleeps until then; the next idle one."""

_THREAD, _CPU, _WORKER = 232, 240, 256
"""Then its thread; the CPU that it was last seen on, or -1.  Its size."""

_KERNEL, _WORDS, _COUNT, _GRAIN, _CODE, _WORKERS, _SHARES, _LAUNCH = range(0, 64, 8)
"""Offsets in a launch: the kernel and its words; participants; units that a piece is a multiple of; the error code; the
workers; the shares, each a cache line with the first unit that nobody has taken yet and the end.  Its size."""

_IDLE, _STARTED, _POOL = 64, 72, 80
"""Offsets in the pool, after its mutex: the first idle worker; how many there are.  Its size."""

PIECES = 32
"""The smallest piece is a share divided by this, or a little less."""

PATIENCE = 200
"""How often a worker looks for its next launch before it sleeps: for about as long as it takes to be woken where a
virtual machine has given its idle CPU back (50 microseconds), so that waiting costs no more than it saves (Karlin, Li,
Manasse and Owicki, Empirical Studies of Competitive Spinning, 1991).  Each look lets others run, BLAS's threads too."""

YIELDS = 64
"""How often a caller with nothing left to do looks whether a worker has finished before it sleeps until then.  What it
waits for is less than one piece; each look lets others run."""


def emit_pool(set_mask: int, placing: bool) -> Any:
    """A module with both functions; set_mask: the system's number for SIG_SETMASK; placing: are there `PLACING`?"""
    module = ir.Module("tracejit_pool")
    pool = ir.GlobalVariable(module, ir.ArrayType(I8, _POOL), "tj_pool")
    pool.initializer = ir.Constant(pool.value_type, None)
    pool.linkage, pool.align = "internal", 64
    _emit_reset(module)
    _emit_work(module)
    _emit_rouse(module)
    _emit_linger(module, placing)
    _emit_worker(module, placing)
    _emit_new_worker(module, set_mask)
    _emit_take(module)
    _emit_await(module)
    if placing:
        _emit_move(module)
    _emit_launch(module, placing)
    return module


# ---- the language of what follows


class _Function:
    """A function under construction."""

    def __init__(self, module: Any, name: str, result: Any, *parameters: Any) -> None:
        self.module = module
        self.function = ir.Function(module, ir.FunctionType(result, parameters), name)
        self.function.attributes.add("nounwind")
        self.arguments = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))

    def system(self, name: str, *arguments: Any) -> Any:
        """Call the C library."""
        result, *parameters = (getattr(llvm_types, kind) for kind in (SYSTEM | PLACING)[name])
        known = self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(result, parameters), name)
        return self.builder.call(known, arguments)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of this module."""
        return self.builder.call(self.module.globals[name], arguments)

    def pool(self) -> Any:
        """Where the pool is."""
        return self._untyped(self.module.globals["tj_pool"])

    def memory(self, size: Any) -> Any:
        """So many bytes of the stack, from the start of a cache line."""
        room = self.builder.alloca(I8, size=size)
        room.align = ROOM
        return self._untyped(room)

    def _untyped(self, pointer: Any) -> Any:
        return self.builder.inttoptr(self.builder.ptrtoint(pointer, I64), POINTER)

    def at(self, base: Any, offset: int) -> Any:
        """A pointer to bytes further on."""
        return self.builder.gep(base, [word(offset)], inbounds=True, source_etype=I8)

    def get(self, base: Any, offset: int, llvm_type: Any = I64) -> Any:
        """A field."""
        return field(self.builder, base, offset, llvm_type)

    def put(self, base: Any, offset: int, value: Any) -> None:
        """Set a field."""
        self.builder.store(value, self.at(base, offset))

    def item(self, items: Any, number: Any) -> Any:
        """The pointer at a place in an array of pointers."""
        return self.builder.gep(items, [number], inbounds=True, source_etype=POINTER)

    def shared(self, base: Any, offset: int) -> Any:
        """A pointer to a field that several threads change; llvmlite wants it typed for atomic access."""
        address = self.builder.add(self.builder.ptrtoint(base, I64), word(offset))
        return self.builder.inttoptr(address, I64.as_pointer())

    def load_shared(self, base: Any, offset: int) -> Any:
        """Such a field, and with it all that its writer wrote before."""
        return self.builder.load_atomic(self.shared(base, offset), "acquire", 8)

    def store_shared(self, base: Any, offset: int, value: Any) -> None:
        """Set such a field."""
        self.builder.store_atomic(value, self.shared(base, offset), "release", 8)

    def lock(self, mutex: Any) -> None:
        """Wait for a mutex, which is the first field of what it guards."""
        self.system("pthread_mutex_lock", mutex)

    def unlock(self, mutex: Any) -> None:
        """Give it back."""
        self.system("pthread_mutex_unlock", mutex)

    def equal(self, first: Any, second: Any) -> Any:
        return self.builder.icmp_signed("==", first, second)

    @contextmanager
    def repeat(self) -> Iterator[Any]:
        """A loop without an end; `leave_if(condition, after)` with what it yields leaves it."""
        body, after = (self.function.append_basic_block(name) for name in ("repeat", "after"))
        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield after
        self.builder.branch(body)
        self.builder.position_at_end(after)

    def leave_if(self, condition: Any, after: Any) -> None:
        """Leave a `repeat`."""
        stay = self.function.append_basic_block("stay")
        self.builder.cbranch(condition, after, stay)
        self.builder.position_at_end(stay)

    @contextmanager
    def count(self, first: Any, end: Any) -> Iterator[Any]:
        """The numbers from first to before end."""
        counter = self.builder.alloca(I64)
        self.builder.store(first, counter)
        with self.repeat() as after:
            number = self.builder.load(counter, typ=I64)
            self.leave_if(self.builder.icmp_signed(">=", number, end), after)
            yield number
            self.builder.store(self.builder.add(number, word(1)), counter)


NULL = ir.Constant(POINTER, None)


# ---- working


def _emit_work(module: Any) -> None:
    """work(launch, number): pieces of this participant's share, then of the others', until nothing is left."""
    f = _Function(module, "tj_work", VOID, POINTER, I64)
    builder, (launch, number) = f.builder, f.arguments
    count, grain, shares = f.get(launch, _COUNT), f.get(launch, _GRAIN), f.get(launch, _SHARES, POINTER)
    kernel, words = f.get(launch, _KERNEL, MAIN.as_pointer()), f.get(launch, _WORDS, POINTER)
    with f.count(word(0), count) as turn:
        owner = builder.srem(builder.add(number, turn), count)
        share = builder.gep(shares, [builder.mul(owner, word(ROOM))], inbounds=True, source_etype=I8)
        end = f.get(share, 8)
        with f.repeat() as exhausted:
            begin = f.load_shared(share, 0)
            left = builder.sub(end, begin)
            f.leave_if(builder.icmp_signed("<=", left, word(0)), exhausted)
            f.leave_if(builder.icmp_signed("!=", f.load_shared(launch, _CODE), word(0)), exhausted)
            # half of what is left, rounded up to whole grains
            grains = builder.sdiv(builder.add(builder.sdiv(left, word(2)), grain), grain)
            stop = smaller(builder, builder.add(begin, builder.mul(grains, grain)), end)
            taken = builder.cmpxchg(f.shared(share, 0), begin, stop, "acq_rel", "acquire")
            with builder.if_then(builder.extract_value(taken, 1)):
                code = builder.call(kernel, [words, begin, stop])
                with builder.if_then(builder.icmp_signed("!=", code, word(0))):
                    f.store_shared(launch, _CODE, code)
    builder.ret_void()


def _emit_rouse(module: Any) -> None:
    """rouse(launch, number): wake the two participants that it is up to this one to wake."""
    f = _Function(module, "tj_rouse", VOID, POINTER, I64)
    builder, (launch, number) = f.builder, f.arguments
    first = builder.add(builder.mul(number, word(2)), word(1))
    end = smaller(builder, builder.add(first, word(2)), f.get(launch, _COUNT))
    with f.count(first, end) as other:
        workers = f.get(launch, _WORKERS, POINTER)
        worker = builder.load(f.item(workers, builder.sub(other, word(1))), typ=POINTER)
        f.system("pthread_cond_signal", f.at(worker, _WAKE))
    builder.ret_void()


def _emit_linger(module: Any, placing: bool) -> None:
    """linger(worker): stay awake for a while, until there is a launch to work on."""
    f = _Function(module, "tj_linger", VOID, POINTER)
    builder, worker = f.builder, f.arguments[0]
    with f.count(word(0), word(PATIENCE)):
        with builder.if_then(builder.icmp_signed("!=", f.load_shared(worker, _JOB), word(0))):
            builder.ret_void()
        f.system("sched_yield")
        if placing:
            _note_cpu(f, worker)
    builder.ret_void()


def _note_cpu(f: _Function, worker: Any) -> None:
    f.put(worker, _CPU, f.builder.sext(f.system("sched_getcpu"), I64))


def _emit_worker(module: Any, placing: bool) -> None:
    """worker(itself): the life of a thread."""
    f = _Function(module, "tj_worker", POINTER, POINTER)
    builder, worker = f.builder, f.arguments[0]
    with f.repeat():
        f.call("tj_linger", worker)
        f.lock(worker)
        with builder.if_then(is_null(builder, f.get(worker, _JOB, POINTER))):
            f.system("pthread_cond_wait", f.at(worker, _WAKE), worker)
        launch, number = f.get(worker, _JOB, POINTER), f.get(worker, _NUMBER)
        f.put(worker, _JOB, NULL)
        f.unlock(worker)
        # It may have woken too late for the launch; then it lingers, and is in time for the next.
        with builder.if_then(builder.not_(is_null(builder, launch))):
            _emit_turn(f, worker, launch, number, placing)
    builder.unreachable()


def _emit_turn(f: _Function, worker: Any, launch: Any, number: Any, placing: bool) -> None:
    """Work on a launch, and say so when it is done."""
    builder = f.builder
    f.call("tj_rouse", launch, number)
    if placing:
        _note_cpu(f, worker)
    f.call("tj_work", launch, number)
    f.lock(worker)
    awaited = f.get(worker, _AWAITED)
    f.store_shared(worker, _DONE, word(1))  # from here on the launch may be gone
    f.unlock(worker)
    with builder.if_then(builder.icmp_signed("!=", awaited, word(0))):
        f.system("pthread_cond_signal", f.at(worker, _FINISHED))


# ---- the pool


def _emit_reset(module: Any) -> None:
    """reset(): no workers."""
    f = _Function(module, RESET, VOID)
    pool = f.pool()
    f.system("pthread_mutex_init", pool, NULL)
    f.put(pool, _IDLE, NULL)
    f.put(pool, _STARTED, word(0))
    f.builder.ret_void()


def _emit_new_worker(module: Any, set_mask: int) -> None:
    """new_worker(): a worker and its thread, or NULL.  The thread takes no signals: they are for Python's threads."""
    f = _Function(module, "tj_new_worker", POINTER)
    builder = f.builder
    all_signals, before, thread = (f.memory(word(size)) for size in (SIGNALS, SIGNALS, 8))
    worker = f.system("calloc", word(1), word(_WORKER))
    with builder.if_then(is_null(builder, worker), likely=False):
        builder.ret(NULL)
    f.system("pthread_mutex_init", worker, NULL)
    f.system("pthread_cond_init", f.at(worker, _WAKE), NULL)
    f.system("pthread_cond_init", f.at(worker, _FINISHED), NULL)
    f.system("sigfillset", all_signals)
    f.system("pthread_sigmask", I32(set_mask), all_signals, before)
    failed = f.system("pthread_create", thread, NULL, module.globals["tj_worker"], worker)
    f.system("pthread_sigmask", I32(set_mask), before, NULL)
    with builder.if_then(builder.icmp_signed("!=", failed, I32(0)), likely=False):
        f.system("free", worker)
        builder.ret(NULL)
    f.system("pthread_detach", f.get(thread, 0, POINTER))
    f.put(worker, _THREAD, f.get(thread, 0))
    f.put(worker, _CPU, word(-1))
    builder.ret(worker)


def _emit_take(module: Any) -> None:
    """take(workers, wanted): idle workers into an array, new ones while the pool is smaller than that; how many."""
    f = _Function(module, "tj_take", I64, POINTER, I64)
    builder, (workers, wanted), pool = f.builder, f.arguments, f.pool()
    taken, found = builder.alloca(I64), builder.alloca(POINTER)
    builder.store(word(0), taken)
    f.lock(pool)
    with f.repeat() as enough:
        count = builder.load(taken, typ=I64)
        f.leave_if(f.equal(count, wanted), enough)
        idle, started = f.get(pool, _IDLE, POINTER), f.get(pool, _STARTED)
        none_idle = is_null(builder, idle)
        f.leave_if(builder.and_(none_idle, builder.icmp_signed(">=", started, wanted)), enough)
        with builder.if_else(none_idle) as (start, reuse):
            with start:
                builder.store(f.call("tj_new_worker"), found)
                f.put(pool, _STARTED, builder.add(started, word(1)))
            with reuse:
                builder.store(idle, found)
                f.put(pool, _IDLE, f.get(idle, _NEXT, POINTER))
        worker = builder.load(found, typ=POINTER)
        f.leave_if(is_null(builder, worker), enough)
        builder.store(worker, f.item(workers, count))
        builder.store(builder.add(count, word(1)), taken)
    f.unlock(pool)
    builder.ret(builder.load(taken, typ=I64))


def _emit_await(module: Any) -> None:
    """await(worker): until it has finished; it need not begin if it has not."""
    f = _Function(module, "tj_await", VOID, POINTER)
    builder, worker = f.builder, f.arguments[0]
    f.lock(worker)
    asleep = builder.not_(is_null(builder, f.get(worker, _JOB, POINTER)))
    f.put(worker, _JOB, NULL)
    f.unlock(worker)
    with builder.if_then(asleep):
        builder.ret_void()
    with f.count(word(0), word(YIELDS)):
        with builder.if_then(builder.icmp_signed("!=", f.load_shared(worker, _DONE), word(0))):
            builder.ret_void()
        f.system("sched_yield")
    f.lock(worker)
    f.put(worker, _AWAITED, word(1))
    with f.repeat() as finished:
        f.leave_if(builder.icmp_signed("!=", f.load_shared(worker, _DONE), word(0)), finished)
        f.system("pthread_cond_wait", f.at(worker, _FINISHED), worker)
    f.unlock(worker)
    builder.ret_void()


def _emit_move(module: Any) -> None:
    """move(worker, cpu): let a worker run where the calling thread may, but not on this CPU, which that is on itself.

    A woken thread goes back to the CPU that it was on, and if another is running there, the kernel does not look for
    an idle one unless most of them are: where there are two CPUs, not from a fifth of load on (Linux,
    kernel/sched/fair.c, `select_idle_cpu` and `update_idle_cpu_scan`).  So a caller and its worker that once got onto
    one CPU would stay there, taking turns, until the balancer comes round.
    """
    f = _Function(module, "tj_move", VOID, POINTER, I64)
    builder, (worker, cpu) = f.builder, f.arguments
    allowed, left = f.memory(word(CPUS // 8)), builder.alloca(I64)
    with builder.if_then(builder.icmp_unsigned(">=", cpu, word(CPUS))):
        builder.ret_void()
    for offset in range(0, CPUS // 8, 8):
        f.put(allowed, offset, word(0))
    failed = f.system("sched_getaffinity", I32(0), word(CPUS // 8), allowed)
    with builder.if_then(builder.icmp_signed("<", failed, I32(0))):
        builder.ret_void()
    own = builder.gep(allowed, [builder.lshr(cpu, word(6))], inbounds=True, source_etype=I64)
    bit = builder.shl(word(1), builder.and_(cpu, word(63)))
    builder.store(builder.and_(builder.load(own, typ=I64), builder.not_(bit)), own)
    builder.store(word(0), left)
    for offset in range(0, CPUS // 8, 8):
        builder.store(builder.or_(builder.load(left, typ=I64), f.get(allowed, offset)), left)
    with builder.if_then(builder.icmp_signed("!=", builder.load(left, typ=I64), word(0))):
        f.system("pthread_setaffinity_np", f.get(worker, _THREAD), word(CPUS // 8), allowed)
        f.put(worker, _CPU, word(-1))
    builder.ret_void()


def _emit_launch(module: Any, placing: bool) -> None:
    """launch(main, words, units, threads): see the module's docstring."""
    f = _Function(module, LAUNCH, I64, MAIN.as_pointer(), POINTER, I64, I64)
    builder, (kernel, words, units, threads) = f.builder, f.arguments
    wanted = builder.sub(smaller(builder, threads, units), word(1))
    with builder.if_then(builder.icmp_signed("<=", wanted, word(0))):
        builder.ret(builder.call(kernel, [words, word(0), units]))
    workers = f.memory(builder.mul(wanted, word(8)))
    found = f.call("tj_take", workers, wanted)
    with builder.if_then(f.equal(found, word(0)), likely=False):
        builder.ret(builder.call(kernel, [words, word(0), units]))
    count = builder.add(found, word(1))
    shares, launch = f.memory(builder.mul(count, word(ROOM))), f.memory(word(_LAUNCH))
    grain = _grain(f, units, count)
    fields = [kernel, words, count, grain, word(0), workers, shares]
    for offset, value in zip(range(0, _LAUNCH, 8), fields, strict=True):
        f.put(launch, offset, value)
    _emit_shares(f, shares, units, count, grain)
    here = builder.sext(f.system("sched_getcpu"), I64) if placing else None
    with f.count(word(0), found) as place:
        worker = builder.load(f.item(workers, place), typ=POINTER)
        if placing:
            together = f.equal(f.get(worker, _CPU), here)
            with builder.if_then(builder.and_(together, builder.icmp_signed(">=", here, word(0))), likely=False):
                f.call("tj_move", worker, here)
        f.lock(worker)
        f.put(worker, _NUMBER, builder.add(place, word(1)))
        f.put(worker, _DONE, word(0))
        f.put(worker, _AWAITED, word(0))
        f.put(worker, _JOB, launch)
        f.unlock(worker)
    f.call("tj_rouse", launch, word(0))
    f.call("tj_work", launch, word(0))
    with f.count(word(0), found) as place:
        f.call("tj_await", builder.load(f.item(workers, place), typ=POINTER))
    pool = f.pool()
    f.lock(pool)
    with f.count(word(1), count) as turn:  # the last first, so that they are taken in the same order again
        worker = builder.load(f.item(workers, builder.sub(found, turn)), typ=POINTER)
        f.put(worker, _NEXT, f.get(pool, _IDLE, POINTER))
        f.put(pool, _IDLE, worker)
    f.unlock(pool)
    builder.ret(f.load_shared(launch, _CODE))


def _grain(f: _Function, units: Any, count: Any) -> Any:
    """The power of two not above units / (count * PIECES), or 1: pieces keep vectors and cache lines whole."""
    builder = f.builder
    piece = builder.sdiv(units, builder.mul(count, word(PIECES)))
    zeros = builder.ctlz(builder.or_(piece, word(1)), I1(1))
    return builder.shl(word(1), builder.sub(word(63), zeros))


def _emit_shares(f: _Function, shares: Any, units: Any, count: Any, grain: Any) -> None:
    """Equal shares, in whole grains but for the last."""
    builder = f.builder
    grains = builder.sdiv(units, grain)

    def bound(number: Any) -> Any:
        whole = builder.mul(builder.sdiv(builder.mul(grains, number), count), grain)
        return builder.select(f.equal(number, count), units, whole)

    with f.count(word(0), count) as number:
        share = builder.gep(shares, [builder.mul(number, word(ROOM))], inbounds=True, source_etype=I8)
        f.put(share, 0, bound(number))
        f.put(share, 8, bound(builder.add(number, word(1))))

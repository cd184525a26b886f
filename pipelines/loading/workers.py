"""Batches of finished views without a GPU: made by worker processes, in order, handed over in shared memory.

Workers take samples one by one from a common queue and write their views straight into the batch's memory. Which
worker makes which sample changes nothing: a sample is a function of its position. A batch's memory is used again when
no tensor shows it any more. Neither torch nor DALI is imported.

Legend: B videos of a batch, F frames, S crop side.
"""

import contextlib
import ctypes
import logging
import mmap
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import NamedTuple, Protocol

import numpy as np

from pipelines.errors import InputError, LoaderError
from pipelines.loading.sample import Ids, Problems, Sample

log = logging.getLogger(__name__)

MAX_DEATHS = 2
"""A sample at which so many workers have died is not tried again."""
MAX_IDLE_DEATHS = 20
"""Workers that do not even start are not started for ever."""
STALL_SECONDS, MAX_STALL_SECONDS = 60.0, 600.0
"""A worker that takes longer over one sample than the first is named; than the second, it is ended and replaced."""
IDLE_SECONDS = 5.0
"""Nobody at work, nothing queued and nothing heard for so long: a sample was lost."""
UNGUARDED = 77
"""Exit code of a worker that would start workers of its own while it imports its script."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""
KEPT_BYTES = 1 << 25
"""Most free memory that a worker keeps at the top of its heap."""
_TASK = struct.Struct("=qqi")  # batch, memory, row


class ViewBatch(NamedTuple):
    """One batch as it was made."""

    views: tuple[np.ndarray, ...]  # each (B, F, S, S, 3) uint8
    ids: np.ndarray  # (B, 4) int64, as `Ids`
    problems: Problems


class ViewSource(Protocol):
    """What workers ask of a source with finished views."""

    @property
    def batch_size(self) -> int: ...
    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]: ...
    def sample_at(self, iteration: int, place: int) -> Sample: ...
    def path_at(self, iteration: int, place: int) -> str: ...


class OwnProcess:
    """Makes each batch when it is asked for, in this process."""

    def __init__(self, source: ViewSource) -> None:
        self._source, self._num_taken = source, 0

    def next(self) -> ViewBatch:
        """The next batch."""
        samples = [self._source.sample_at(self._num_taken, place) for place in range(self._source.batch_size)]
        self._num_taken += 1
        return ViewBatch(
            views=tuple(_stacked(views) for views in zip(*(sample.media for sample in samples), strict=True)),
            ids=np.array([sample.ids for sample in samples], dtype=np.int64),
            problems=tuple(problem for sample in samples for problem in sample.problems),
        )

    def close(self) -> None:
        """Has nothing to end."""


class _Memory:
    """Shared memory of one batch, without a name: it is gone when the last process that knows it is."""

    def __init__(self, number: int, num_bytes: int) -> None:
        self.number = number
        self.handle = os.memfd_create(f"cmpl-batch-{number}")
        os.ftruncate(self.handle, num_bytes)
        self.pages = mmap.mmap(self.handle, num_bytes)
        weakref.finalize(self, os.close, self.handle)


@dataclass
class _Pending:
    """A batch that workers are at."""

    memory: _Memory
    results: list[tuple[Ids, Problems] | None]
    num_left: int
    failure: Exception | None = None  # why a sample of it cannot be made


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    task: bytes | None = None  # what it is at
    heard_at: float = 0.0  # when it took it
    was_named: bool = False  # as stalled, at this task


class Workers:
    """Makes batches ahead in worker processes.

    A worker that dies, or stalls for minutes, is named in the log and replaced, and its sample made again. Raises
    LoaderError from `next` where a sample cannot be made for a reason outside of the program, as with the video's path
    where workers die of it; RuntimeError with the worker's traceback for any other. `close` ends the processes; so does
    the death of this one.
    """

    def __init__(self, source: ViewSource, *, num_workers: int, num_ahead: int) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            os._exit(UNGUARDED)  # a worker that imports the script which starts it; its trainer says so
        self._source, self._num_ahead = source, num_ahead
        self._shapes = [(source.batch_size, *shape) for shape in source.view_shapes]
        self._num_bytes = sum(int(np.prod(shape)) for shape in self._shapes)
        self._pending: deque[_Pending] = deque()
        self._num_taken = 0
        self._memories: list[_Memory] = []
        self._free: deque[_Memory] = deque()
        self._deaths: dict[bytes | None, int] = {}
        self._tasks, self._tasks_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._unsent: deque[bytes] = deque()
        self._tasks.setblocking(False)
        self._pickled = pickle.dumps(source)
        with interrupts_ignored():
            self._workers = [self._started() for _ in range(num_workers)]

    def next(self) -> ViewBatch:
        """Waits for the next batch. Its arrays stay as they are for as long as somebody holds them."""
        while len(self._pending) <= self._num_ahead:
            self._request()
        batch = self._pending[0]
        while batch.num_left:
            if batch.failure:
                raise batch.failure
            self._collect()
        self._pending.popleft()
        self._num_taken += 1
        while len(self._pending) <= self._num_ahead:  # workers go on while this batch is learned from
            self._request()
        return self._handed_over(batch)

    def close(self) -> None:
        """Ends the workers and waits for them."""
        self._tasks.close()
        self._tasks_end.close()
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self._workers = []

    @property
    def processes(self) -> tuple[BaseProcess, ...]:
        """The worker processes."""
        return tuple(worker.process for worker in self._workers)

    def _started(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=_work, args=(self._pickled, self._tasks_end, theirs), daemon=True)
        try:
            process.start()
        except OSError as error:
            raise LoaderError(f"a worker cannot be started ({error.strerror}); fewer --workers may do") from error
        theirs.close()
        worker = _Worker(process=process, connection=ours)
        for memory in self._memories:
            send_handle(ours, memory.handle, process.pid)
        return worker

    def _request(self) -> None:
        """Puts the samples of one more batch into the queue."""
        memory = self._free.popleft() if self._free else self._new_memory()
        number = self._num_taken + len(self._pending)
        size = self._source.batch_size
        self._pending.append(_Pending(memory=memory, results=[None] * size, num_left=size))
        self._unsent.extend(_TASK.pack(number, memory.number, row) for row in range(size))
        self._send()

    def _send(self) -> None:
        """Sends tasks as far as the queue takes them; the rest goes when results come."""
        while self._unsent:
            try:
                self._tasks.send(self._unsent[0])
            except BlockingIOError:
                return
            self._unsent.popleft()

    def _new_memory(self) -> _Memory:
        try:
            memory = _Memory(len(self._memories), self._num_bytes)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LoaderError(
                f"a batch's {self._num_bytes / 2**20:.1f} MiB of shared memory are not to be had ({reason}); a smaller "
                "batch or runtime.prefetch may do"
            ) from error
        self._memories.append(memory)
        for worker in self._workers:
            with contextlib.suppress(ConnectionError):  # a dead one is replaced when results are collected
                send_handle(worker.connection, memory.handle, worker.process.pid)
        return memory

    def _collect(self) -> None:
        """Waits for workers and takes what they say."""
        by_connection = {worker.connection: worker for worker in self._workers}
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        ready = wait([*by_connection, *sentinels], timeout=IDLE_SECONDS)
        if not ready and not any(worker.task for worker in self._workers) and self._queue_is_empty():
            self._ask_again()
        for item in ready:
            if item in by_connection:
                worker = by_connection[item]
                with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
                    while worker.connection.poll():
                        self._hear(worker, worker.connection.recv())
        for item in ready:
            if item in sentinels and sentinels[item] in self._workers:
                self._replace(sentinels[item])
        self._look_for_stalls()
        self._send()

    def _look_for_stalls(self) -> None:
        """Names each worker that has been at one sample for long; ends those that have been for very long."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.task is None or now - worker.heard_at < STALL_SECONDS:
                continue
            seconds = now - worker.heard_at
            if not worker.was_named:
                worker.was_named = True
                log.warning(
                    "worker %d has been at %s for %.0f s", worker.process.pid, self._path_of(worker.task), seconds
                )
            if seconds > MAX_STALL_SECONDS:
                worker.process.kill()

    def _path_of(self, task: bytes) -> str:
        batch, _, row = _TASK.unpack(task)
        return self._source.path_at(batch, row)

    def _hear(self, worker: _Worker, message: tuple) -> None:
        kind, *content = message
        if kind == "took":
            (worker.task,) = content
            worker.heard_at, worker.was_named = time.monotonic(), False
        elif kind == "made":
            task, ids, problems = content
            worker.task = None
            if _TASK.unpack(task)[0] < self._num_taken:  # made twice, after a worker was lost
                return
            pending, row = self._pending_of(task), _TASK.unpack(task)[2]
            if pending.results[row] is None:
                pending.results[row] = Ids(*ids), problems
                pending.num_left -= 1
        else:
            task, text, problems = content
            worker.task = None
            refused = LoaderError(text, problems=problems)
            self._pending_of(task).failure = refused if kind == "refused" else RuntimeError(f"a worker failed:\n{text}")

    def _pending_of(self, task: bytes) -> _Pending:
        return self._pending[_TASK.unpack(task)[0] - self._num_taken]

    def _queue_is_empty(self) -> bool:
        """Whether all tasks were taken; workers that are still starting leave them where they are."""
        try:
            return not self._tasks_end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True

    def _ask_again(self) -> None:
        """Queues what nobody is at: samples that a worker took and died of before it could say so."""
        for place, batch in enumerate(self._pending):
            for row, result in enumerate(batch.results):
                if result is None:
                    self._unsent.append(_TASK.pack(self._num_taken + place, batch.memory.number, row))

    def _replace(self, worker: _Worker) -> None:
        """Starts another worker in the place of a dead one, and has its sample made again."""
        worker.process.join(5)
        code, task = worker.process.exitcode, worker.task
        worker.connection.close()
        if code == UNGUARDED:
            raise InputError(
                "workers: received a script that makes batches as it is imported, and workers import it; accepted: the "
                'loop under `if __name__ == "__main__":`, or workers=0'
            )
        with interrupts_ignored():
            self._workers[self._workers.index(worker)] = self._started()
        num_deaths = self._deaths[task] = self._deaths.get(task, 0) + 1
        if task is None:
            if num_deaths > MAX_IDLE_DEATHS:
                raise LoaderError(f"workers died {num_deaths} times between samples ({_cause(code)})")
        elif num_deaths < MAX_DEATHS:
            self._unsent.appendleft(task)
            log.warning("a worker died at %s (%s); another makes the clip again", self._path_of(task), _cause(code))
        else:
            self._pending_of(task).failure = LoaderError(
                f"workers died {num_deaths} times at {self._path_of(task)} ({_cause(code)}); the kernel "
                "kills where memory is short: fewer workers or a smaller batch may do"
            )

    def _handed_over(self, batch: _Pending) -> ViewBatch:
        whole = np.frombuffer(batch.memory.pages, dtype=np.uint8)
        weakref.finalize(whole, self._free.append, batch.memory)
        views, first = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape))
            views.append(whole[first : first + size].reshape(shape))
            first += size
        results = [result for result in batch.results if result is not None]
        return ViewBatch(
            views=tuple(views),
            ids=np.array([ids for ids, _ in results], dtype=np.int64),
            problems=tuple(problem for _, problems in results for problem in problems),
        )


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _work(pickled: bytes, tasks: socket.socket, connection: Connection) -> None:
    """What a worker does until the queue ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to handle
    keep_memory()
    source: ViewSource = pickle.loads(pickled)
    memories: list[mmap.mmap] = []
    with contextlib.suppress(EOFError, ConnectionError):  # the trainer is gone, or closed the queue
        while task := tasks.recv(_TASK.size):
            connection.send(("took", task))
            batch, memory, row = _TASK.unpack(task)
            while len(memories) <= memory:  # they come in their order, each before its first task
                handle = recv_handle(connection)
                memories.append(mmap.mmap(handle, os.fstat(handle).st_size))
                os.close(handle)
            try:
                sample = source.sample_at(batch, row)
                _write(sample.media, memories[memory], row, num_rows=source.batch_size)
            except LoaderError as error:
                connection.send(("refused", task, str(error), error.problems))
                continue
            except Exception:
                connection.send(("failed", task, traceback.format_exc(), ()))
                continue
            connection.send(("made", task, tuple(sample.ids), sample.problems))


def _stacked(views: tuple[np.ndarray, ...]) -> np.ndarray:
    """The views of a batch (B, F, S, S, 3), pixel after pixel."""
    batch = np.empty((len(views), *views[0].shape), dtype=np.uint8)
    for view, own in zip(views, batch, strict=True):
        _copy(view, own)
    return batch


def _copy(view: np.ndarray, own: np.ndarray) -> None:
    """Copies a view, which may lie plane after plane, to memory where it lies pixel after pixel."""
    if view.flags.c_contiguous:
        own[...] = view
    else:
        for channel in range(view.shape[-1]):  # several times faster than numpy's own way from planes to pixels
            own[..., channel] = view[..., channel]


def keep_memory() -> None:
    """Has the C library keep what is freed for the next sample; given back, a sample costs a thousand page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is not None:
        for parameter, num_bytes in ((_TRIM_THRESHOLD, KEPT_BYTES), (_MMAP_THRESHOLD, KEPT_BYTES // 4)):
            mallopt(parameter, num_bytes)


def _write(views: tuple[np.ndarray, ...], pages: mmap.mmap, row: int, *, num_rows: int) -> None:
    """Copies a sample's views to its rows of the batch's memory, where view after view lies whole."""
    first = 0
    for view in views:
        own = np.frombuffer(pages, dtype=np.uint8, count=view.size, offset=first + row * view.size)
        _copy(view, own.reshape(view.shape))
        first += num_rows * view.size


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started in the block inherit that Ctrl-C is ignored: it is the trainer's to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)

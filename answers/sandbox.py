"""Ask math-verify whether two answers are equal, in worker processes that can be killed.

math-verify reads more than the canonical form does, but some inputs keep it for ever inside one big-integer
power that no signal interrupts (Math-Verify issue #65), its own time-outs need the main thread, replace the
caller's alarm and come back as plain False. Hence a worker process for each comparison at a time: the parent
waits for a fixed time, then kills the worker and starts another. A worker is a plain subprocess that talks lines of
JSON over pipes, not a `multiprocessing` one: it works off the main thread and inside daemon processes, and never
imports the caller's main module or touches the caller's signals.

A worker ends at the end of its input, when its parent is gone, and by RLIMIT_CPU when neither can reach it.
"""

import contextlib
import importlib
import json
import logging
import os
import pathlib
import re
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

EQUAL, UNEQUAL, UNKNOWN = "equal", "unequal", "unknown"
FAULTS = ("timeout", "crash", "memory", "error", "rejected", "poisoned", "absent")

MAX_ASKED_CHARS = 4096
_MAX_NESTING = 64
_MAX_DIGITS = 256
# 2^99999 has 30,103 digits and is computed in microseconds; a sixth digit begins to cost seconds.
_MAX_EXPONENT_DIGITS = 5
# 9999! has 35,660 digits and takes 10 ms.
_MAX_FACTORIAL_DIGITS = 4
# The import of math-verify takes 0.3 to 1 s; a machine under load or a cold disk may need many times that.
_START_SECONDS = 60.0
# One form may use up its limit in this many comparisons in a row; then it is not asked any more.
_MAX_STRIKES = 2
# How often an idle worker looks whether its parent still lives, for pipes that a fork of the parent keeps open.
_IDLE_SECONDS = 5.0

_SCAN = re.compile(r"\^|\*\*|[({\[]|[)}\]]|[0-9]+|!+|\\[A-Za-z]+|\\.|[^\s]", re.DOTALL)
_LONG_NUMBER = re.compile(rf"\d{{{_MAX_DIGITS + 1}}}")
_LARGE_NUMBER = re.compile(rf"[0-9]{{{_MAX_FACTORIAL_DIGITS + 1}}}|[0-9)}}]\s*(?:\^|\*\*)")
# Never to blame for a lost worker; `5` meets the odd answers of many problems.
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:[/.][0-9]+)?")
_BOOT = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).serve(float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))"
)

Pair = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """What math-verify says of a pair: `value` is "equal", "unequal" or "unknown".

    Unknown verdicts name their fault: "timeout", "crash" (the worker died), "memory", "error" (math-verify
    raised), "rejected" (too large to ask), "poisoned" (one side used up its limit twice in a row before) or
    "absent" (nobody there to ask).
    """

    value: str
    fault: str | None = None

    def __post_init__(self) -> None:
        if self.value not in (EQUAL, UNEQUAL, UNKNOWN):
            raise ValueError(f"verdict must be equal, unequal or unknown, got {self.value!r}")
        if (self.fault is not None) != (self.value == UNKNOWN) or self.fault not in (None, *FAULTS):
            raise ValueError(f"verdict {self.value!r} cannot have fault {self.fault!r}")


def rejects(text: str) -> bool:
    """Whether a text is too large or explosive to be computed at all, in one pass over at most 4,096 characters.

    True for longer texts, digit runs over 256, brackets nested over 64 deep, powers of numbers inside exponents
    (`9^{9^{9}}`), exponents of six digits, factorials and binomials of powers or of five digits.
    """
    if len(text) > MAX_ASKED_CHARS or _LONG_NUMBER.search(text) or _factorial_of_large(text):
        return True
    exponents: list[bool] = []  # for every open bracket, whether it or one around it is an exponent
    last, bare = "", False  # the token before, and whether it was an exponent without brackets
    for match in _SCAN.finditer(text):
        token = match[0]
        inside = bool(exponents) and exponents[-1]
        power = last in ("^", "**")
        if token in ("^", "**"):
            if (inside or bare) and (last.isdigit() or last in (")", "}", "]")):
                return True
        elif token in ("(", "{", "["):
            exponents.append(inside or power)
            if len(exponents) > _MAX_NESTING:
                return True
        elif token in (")", "}", "]"):
            if exponents:
                exponents.pop()
        elif token.isdigit() and (inside or power) and len(token) > _MAX_EXPONENT_DIGITS:
            return True
        bare = power and token not in ("(", "{", "[")
        last = token
    return False


def _factorial_of_large(text: str) -> bool:
    factorials = text.replace("!=", "").count("!")
    if not factorials and "binom" not in text:
        return False
    return factorials > 2 or _LARGE_NUMBER.search(text) is not None


class SandboxError(RuntimeError):
    """No worker can be started: math-verify is missing, or the memory limit is too small to import it."""


class _Worker:
    """One subprocess; `job` is the index of the pair it works on."""

    def __init__(self, seconds: float, memory: int) -> None:
        if not sys.executable:
            raise SandboxError("sys.executable is empty: no Python to start a worker with")
        path = [os.path.abspath(entry or os.curdir) for entry in sys.path]
        arguments = [json.dumps(path), __name__, str(seconds), str(memory), str(os.getpid())]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Ctrl-C in a terminal reaches the caller alone, who then ends its workers.
            start_new_session=True,
            # Symbols in sympy's sums and products are ordered by their hashes: fixed, so that verdicts are.
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        self.ready = False
        self.job: int | None = None
        self.deadline = time.monotonic() + _START_SECONDS
        self._buffer = b""

    def fileno(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, job: int, pair: Pair, seconds: float) -> bool:
        """Give the worker a pair; False when it is dead. Never blocks: a request is under the 64 KiB of a pipe."""
        assert self.process.stdin is not None
        line = json.dumps(pair, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        try:
            self.process.stdin.write(line)
        except BrokenPipeError:
            return False
        self.job, self.deadline = job, time.monotonic() + seconds
        return True

    def receive(self) -> list[Any] | None:
        """The next message once it is complete, else None. Raises EOFError when the worker is gone."""
        data = os.read(self.fileno(), 65536)
        if not data:
            raise EOFError("worker ended")
        self._buffer += data
        if not self._buffer.endswith(b"\n"):
            return None
        message, self._buffer = json.loads(self._buffer), b""
        return message

    def end(self) -> int:
        """Kill and reap the process; returns its exit status, minus the signal's number where one ended it."""
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                # Unsent bytes cannot be flushed to a dead process.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return status


@dataclass
class _Batch:
    """The pairs of one call, their verdicts, and the forms that run out of their limit.

    Verdicts count for `strikes` in the order of the pairs, never in the order of their arrival, so that any
    number of workers gives the same verdicts.
    """

    pairs: Sequence[Pair]
    strikes: Counter[str]
    verdicts: list[Verdict | None]
    waiting: deque[int] = field(init=False)
    _final: int = 0

    def __post_init__(self) -> None:
        self.waiting = deque(index for index, verdict in enumerate(self.verdicts) if verdict is None)
        self._finish()

    def put(self, index: int, verdict: Verdict) -> None:
        self.verdicts[index] = verdict
        self._finish()

    def next(self) -> int | None:
        """The next pair to ask, passing over pairs of forms that have used up their strikes."""
        while self.waiting:
            index = self.waiting.popleft()
            if not self._poisoned(index):
                return index
            self.put(index, Verdict(UNKNOWN, "poisoned"))
        return None

    def _poisoned(self, index: int) -> bool:
        return any(self.strikes[form] >= _MAX_STRIKES for form in self.pairs[index])

    def _finish(self) -> None:
        while self._final < len(self.verdicts) and (verdict := self.verdicts[self._final]) is not None:
            if verdict.fault != "rejected" and self._poisoned(self._final):
                self.verdicts[self._final] = Verdict(UNKNOWN, "poisoned")
            elif verdict.fault in ("timeout", "crash", "memory"):
                self.strikes.update({form for form in self.pairs[self._final] if not _PLAIN_NUMBER.fullmatch(form)})
            elif verdict.fault is None:
                for form in self.pairs[self._final]:
                    self.strikes.pop(form, None)
            self._final += 1


def _end_all(workers: list[_Worker], owner: int) -> None:
    # A fork of the owner inherits the list but not the right to end what is in it.
    if os.getpid() == owner:
        for worker in workers:
            worker.end()
    workers.clear()


class Sandbox:
    """Workers that answer whether two texts are equal answers, each comparison within a hard limit.

    `workers` processes start at the first question and import math-verify once each (0.3 to 1 s). `seconds`
    of wall clock is the limit of a comparison; a worker that reaches it is killed and replaced. `memory` bytes
    is the address space of a worker. Use it as a context manager or `close` it; it can be used again
    afterwards. Safe in any thread (calls wait for each other) and in a fork, which starts its own workers.

    Raises ValueError for limits that are not positive.
    """

    def __init__(self, *, workers: int = 1, seconds: float = 2.0, memory: int = 2 << 30) -> None:
        if workers < 1 or seconds <= 0 or memory <= 0:
            raise ValueError(f"workers, seconds and memory must be positive, got {workers}, {seconds}, {memory}")
        self.workers, self.seconds, self.memory = workers, seconds, memory
        # Workers started so far, and the CPU seconds they spent before their first pair.
        self.started, self.start_seconds = 0, 0.0
        self._rejects: Callable[[str], bool] = rejects
        self._strikes: Counter[str] = Counter()
        self._adopt()

    def _adopt(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._alive: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _end_all, self._alive, self._owner)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End every worker and wait until it is gone."""
        if os.getpid() == self._owner:
            with self._lock:
                _end_all(self._alive, self._owner)

    def ask(self, pairs: Iterable[Pair]) -> list[Verdict]:
        """The verdicts of pairs of answers, without their `\\boxed{}`, in the order of the pairs.

        "equal" only when math-verify says so in both directions. The same verdicts for any number of workers,
        as far as the clock allows. Raises SandboxError when no worker can start; nothing in the texts raises.
        """
        if os.getpid() != self._owner:
            self._adopt()
        pairs = list(pairs)
        rejected = Verdict(UNKNOWN, "rejected")
        refused: dict[str, bool] = {text: self._rejects(text) for pair in pairs for text in pair}
        verdicts = [rejected if refused[a] or refused[b] else None for a, b in pairs]
        with self._lock:
            batch = _Batch(pairs, self._strikes, verdicts)
            done = False
            try:
                self._run(batch)
                done = True
            finally:
                # After Ctrl-C a busy worker would answer the next call with the verdict of this one.
                if not done:
                    _end_all(self._alive, self._owner)
        return [verdict for verdict in batch.verdicts if verdict is not None]

    def _run(self, batch: _Batch) -> None:
        while True:
            self._hand_out(batch)
            busy = [worker for worker in self._alive if worker.job is not None or not worker.ready]
            if not batch.waiting and all(worker.job is None for worker in busy):
                return
            with selectors.DefaultSelector() as selector:
                for worker in busy:
                    selector.register(worker, selectors.EVENT_READ)
                until = min(worker.deadline for worker in busy)
                heard = [key.fileobj for key, _ in selector.select(max(0.0, until - time.monotonic()))]
            for worker in busy:
                if worker in heard:
                    self._hear(worker, batch)
                elif time.monotonic() >= worker.deadline:
                    self._lose(worker, batch, "timeout")

    def _hand_out(self, batch: _Batch) -> None:
        for worker in list(self._alive):
            index = batch.next() if worker.ready and worker.job is None else None
            if index is not None and not worker.send(index, batch.pairs[index], self.seconds):
                # It died while idle: that is no fault of the pair.
                batch.waiting.appendleft(index)
                self._lose(worker, batch, "crash")
        starting = sum(not worker.ready for worker in self._alive)
        for _ in range(min(self.workers - len(self._alive), len(batch.waiting) - starting)):
            self._alive.append(_Worker(self.seconds, self.memory))
            self.started += 1

    def _hear(self, worker: _Worker, batch: _Batch) -> None:
        try:
            message = worker.receive()
        except EOFError:
            self._lose(worker, batch, "crash")
            return
        if message is None:
            return
        if not worker.ready:
            if message[0] != "ready":
                raise SandboxError(f"the answer sandbox cannot start: {message[1]}")
            worker.ready = True
            self.start_seconds += message[1]
            return
        value, fault = message
        if fault == "memory":
            # What a failed allocation left behind is not worth knowing.
            self._lose(worker, batch, fault)
        elif worker.job is not None:
            batch.put(worker.job, Verdict(value, fault))
            worker.job = None

    def _lose(self, worker: _Worker, batch: _Batch, fault: str) -> None:
        self._alive.remove(worker)
        # The kernel's CPU limit ends a worker like the clock does.
        if worker.end() == -signal.SIGXCPU:
            fault = "timeout"
        if worker.job is not None:
            batch.put(worker.job, Verdict(UNKNOWN, fault))
        elif not worker.ready:
            raise SandboxError(f"the answer sandbox cannot start ({fault}); its memory limit is {self.memory:,} bytes")


# Makes sympy and antlr load what they load late, 0.4 s of CPU that would count against the first pairs.
_WARM_UP = ((r"\frac{x+1}{2}", r"\sin(y)"), (r"\{1,2\}", "(1,x]"), ("(1,2)", "[1,2)"), ("x>2", "3 apples"))
# What sympy, antlr and math-verify raise over odd input. Anything else ends the worker, which the parent sees.
_LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def serve(seconds: float, memory: int, parent: int) -> None:
    """The worker: answer lines of JSON on standard input until it ends. `memory` in bytes, `parent` a process id."""
    # A caller that blocks signals passes the blocked set on.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.dup(1)
    # What a library prints must not pass for a message.
    os.dup2(2, 1)

    def reply(*message: object) -> None:
        os.write(out, json.dumps(message).encode() + b"\n")

    try:
        compare = _comparison()
        for a, b in _WARM_UP:
            compare(a, b)
    except ImportError as error:
        reply("failed", f"math-verify cannot be imported ({error}); install it with `pip install math-verify`")
        return
    except MemoryError:
        reply("failed", f"{memory:,} bytes of memory are too few to import math-verify")
        return
    reply("ready", time.process_time())
    _, most_cpu = resource.getrlimit(resource.RLIMIT_CPU)
    for line in _lines(parent):
        used = resource.getrusage(resource.RUSAGE_SELF)
        # Backstop for a worker whose parent is gone or stopped; in whole seconds, so a little above the limit.
        limit = int(used.ru_utime + used.ru_stime + seconds) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (limit if most_cpu < 0 else min(limit, most_cpu), most_cpu))
        try:
            value, fault = compare(*json.loads(line))
        except MemoryError:
            value, fault = UNKNOWN, "memory"
        # math-verify catches MemoryError itself and says False: a worker that came near its limit is not believed.
        if value == UNEQUAL and _peak_memory() > memory // 2:
            value, fault = UNKNOWN, "memory"
        reply(value, fault)


def _peak_memory() -> int:
    """The most bytes this process held at once, 0 where the system does not say.

    `ru_maxrss` will not do: a process made by vfork starts with the peak of its parent, who may hold a model.
    """
    try:
        status = pathlib.Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*([0-9]+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _lines(parent: int) -> Iterable[str]:
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while os.getppid() == parent:
            if not selector.select(_IDLE_SECONDS):
                continue
            data = os.read(0, 1 << 17)
            if not data:
                return
            buffer += data
            if buffer.endswith(b"\n"):
                yield buffer.decode("utf-8", "surrogatepass")
                buffer = b""


def _comparison() -> Callable[[str, str], tuple[str, str | None]]:
    """math-verify's comparison in both directions. Raises ImportError where it is not installed.

    Its time-outs are off, for they work by signals and come back as False. Only what stands in the box is read,
    as LaTeX: its other readers fall back to the first number they find, so that `7 + √69` equals `7 + √11`.
    """
    # By name: math-verify is optional, and type checkers need not find it.
    library: Any = importlib.import_module("math_verify")
    logging.disable(logging.CRITICAL)
    config = [library.LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)]

    # One class representative is compared with several others in a row.
    @lru_cache(maxsize=256)
    def parsed(text: str) -> list[Any]:
        return library.parse(rf"\boxed{{{text}}}", config, parsing_timeout=None, raise_on_error=True)

    def same(left: list[Any], right: list[Any]) -> tuple[str, str | None]:
        fault = None
        for a in left:
            for b in right:
                try:
                    if library.verify(a, b, timeout_seconds=None, raise_on_error=True):
                        return EQUAL, None
                except _LIBRARY_ERRORS:
                    fault = "error"
        return (UNKNOWN, fault) if fault else (UNEQUAL, None)

    def compare(a: str, b: str) -> tuple[str, str | None]:
        try:
            left, right = parsed(a), parsed(b)
        except _LIBRARY_ERRORS:
            return UNKNOWN, "error"
        there = same(left, right)
        return there if there[0] == UNEQUAL else min(there, same(right, left), key=_doubt)

    return compare


def _doubt(verdict: tuple[str, str | None]) -> int:
    """Order in which one direction overrules the other: one "unequal" is enough, then one "unknown"."""
    return (UNEQUAL, UNKNOWN, EQUAL).index(verdict[0])

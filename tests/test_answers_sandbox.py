"""The sandbox: verdicts, limits that really end a worker, and what it leaves alone in its caller."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selftrain.answers import Judge, Sandbox, SandboxError, Verdict, equivalent
from selftrain.answers.equivalence import as_latex
from selftrain.answers.sandbox import rejects

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)

TOWER = r"\dfrac{5^{(5^{(5^{(5^5)})} - 4)} - 5}{16}"
EQUAL, UNEQUAL = Verdict("equal"), Verdict("unequal")
TIMEOUT, CRASH, MEMORY = (Verdict("unknown", fault) for fault in ("timeout", "crash", "memory"))

# Stands for math-verify where the test is about processes: the text says what happens.
FAKE = """
import os, time

class LatexExtractionConfig:
    def __init__(self, **options):
        pass

def parse(text, config, parsing_timeout, raise_on_error):
    text = text.removeprefix("\\\\boxed{").removesuffix("}")
    if text == "parse error":
        raise ValueError(text)
    return [text]

def verify(gold, target, timeout_seconds, raise_on_error):
    assert timeout_seconds is None
    texts = (gold, target)
    if any(text.startswith("sleep") for text in texts):
        time.sleep(3600)
    if "hang" in texts:
        2 ** 10**10
    if "die" in texts:
        os._exit(3)
    if "odd" in texts:
        raise OSError("not an error of a library")
    if "hungry" in texts:
        bytearray(1 << 45)
    if "error" in texts:
        raise TypeError("odd types")
    if "swallowed" in texts:
        keep = bytearray(300 << 20)
        return False
    if "forward" in texts:
        return gold == "forward"
    print("noise on standard output")
    return gold.strip() == target.strip()
"""


def children() -> set[int]:
    """Ids of this process's children that are alive, unreaped ones included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and only waits for whoever inherits orphans."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for math-verify in front of the module path, which workers take over."""
    package = tmp_path / "fake" / "math_verify"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(package.parent))
    return package.parent


@pytest.fixture
def sandbox(fake: Path) -> Iterator[Sandbox]:
    before = children()
    with Sandbox(seconds=1.0, memory=1 << 30) as box:
        yield box
    assert children() == before


def test_nothing_starts_before_the_first_question(sandbox: Sandbox) -> None:
    assert sandbox.started == 0
    assert sandbox.ask([]) == []
    assert sandbox.ask([("9" * 300, "1"), ("1", "x" * 5000)]) == [Verdict("unknown", "rejected")] * 2
    assert sandbox.started == 0
    assert sandbox.ask([("a", "a"), ("a", "b")]) == [EQUAL, UNEQUAL]
    assert sandbox.started == 1


def test_both_directions_must_agree(sandbox: Sandbox) -> None:
    assert sandbox.ask([("forward", "b"), ("b", "forward")]) == [UNEQUAL, UNEQUAL]


def test_any_text_passes_the_pipe(sandbox: Sandbox) -> None:
    texts = ["", "\n", "\0", "\ud800", "é٣", '"\\', "\x1b[31m", "\u202e1", "😀" * 4096, "\x01" * 4096]
    assert sandbox.ask([(text, text + "x") for text in texts[:-2]]) == [UNEQUAL] * 8
    assert sandbox.ask([(text, text) for text in texts]) == [EQUAL] * 10
    assert sandbox.started == 1


@pytest.mark.parametrize(
    ("text", "verdict", "starts"),
    [
        ("sleep", TIMEOUT, 2),
        ("hang", TIMEOUT, 2),
        ("die", CRASH, 2),
        ("odd", CRASH, 2),
        ("hungry", MEMORY, 2),
        ("error", Verdict("unknown", "error"), 1),
        ("parse error", Verdict("unknown", "error"), 1),
    ],
)
def test_a_fault_costs_one_pair_and_the_worker_is_replaced(
    sandbox: Sandbox, text: str, verdict: Verdict, starts: int
) -> None:
    assert sandbox.ask([("a", "a"), (text, "b"), ("a", "b")]) == [EQUAL, verdict, UNEQUAL]
    assert sandbox.started == starts


def test_no_after_nearly_running_out_of_memory_is_not_believed(fake: Path) -> None:
    with Sandbox(memory=512 << 20) as box:
        assert box.ask([("swallowed", "1"), ("a", "b")]) == [MEMORY, UNEQUAL]


def test_a_form_that_runs_out_of_its_limit_twice_is_not_asked_again(sandbox: Sandbox) -> None:
    began = time.monotonic()
    verdicts = sandbox.ask([("sleep", str(n)) for n in range(40)])
    assert verdicts == [TIMEOUT] * 2 + [Verdict("unknown", "poisoned")] * 38
    assert time.monotonic() - began < 30
    # A plain number is never to blame, and an answer in between clears a form.
    assert sandbox.ask([("sleep x", "7"), ("sleep y", "7"), ("7", "7")])[2] == EQUAL
    assert sandbox.ask([("sleep u", "c"), ("c", "d"), ("sleep v", "c"), ("c", "c")])[3] == EQUAL


def test_several_workers_give_the_verdicts_of_one(fake: Path) -> None:
    pairs = [("sleep", str(n)) if n % 3 else ("a", "b" if n % 2 else "a") for n in range(18)]
    with Sandbox(seconds=1.0) as one, Sandbox(seconds=1.0, workers=3) as three:
        assert one.ask(pairs) == three.ask(pairs)
        assert three.started >= 3


def test_a_worker_that_died_while_idle_is_no_fault(sandbox: Sandbox) -> None:
    before = children()
    sandbox.ask([("a", "a")])
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: ended(pid))
    assert sandbox.ask([("a", "a"), ("a", "b")]) == [EQUAL, UNEQUAL]
    assert sandbox.started == 2


def test_closed_sandbox_starts_again_and_close_may_be_repeated(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert sandbox.ask([("a", "a")]) == [EQUAL]
        sandbox.close()
        sandbox.close()
    assert sandbox.started == 2


def test_limits_must_be_positive_and_a_start_that_fails_says_why(fake: Path) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Sandbox(workers=0)
    before = children()
    for source, message in (
        ("raise ImportError('not here')", "not here.*pip install math-verify"),
        ("raise MemoryError", "too few"),
        ("import os; os._exit(1)", "cannot start .crash"),
    ):
        # Another length, so that the compiled module of the same second is not taken.
        (fake / "math_verify" / "__init__.py").write_text(source)
        with pytest.raises(SandboxError, match=message):
            Sandbox().ask([("a", "b")])
    assert children() == before


def test_the_callers_signal_handlers_and_alarm_are_untouched(sandbox: Sandbox) -> None:
    rang: list[int] = []
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    old = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert sandbox.ask([("sleep", "a"), ("b", "b")]) == [TIMEOUT, EQUAL]
        assert rang == [1]
        signal.setitimer(signal.ITIMER_REAL, 100)
        sandbox.ask([("a", "b")])
        assert 90 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


def test_an_interrupted_call_ends_its_workers(sandbox: Sandbox) -> None:
    before = children()
    sandbox.ask([("a", "a")])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            sandbox.ask([("sleep", "a")])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert children() == before
    assert sandbox.ask([("a", "a")]) == [EQUAL]


def test_threads_share_one_sandbox(sandbox: Sandbox) -> None:
    got: list[list[Verdict]] = []
    threads = [threading.Thread(target=lambda: got.append(sandbox.ask([("a", "a"), ("sleep", "b")]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [[EQUAL, TIMEOUT]] * 2


DAEMON = """
import multiprocessing
import sys

from selftrain.answers import Sandbox


def ask(connection):
    with Sandbox(seconds=0.5) as box:
        connection.send([verdict.value for verdict in box.ask([("a", "a"), ("a", "b")])])


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    here, there = context.Pipe()
    process = context.Process(target=ask, args=(there,), daemon=True)
    process.start()
    print(here.recv() if here.poll(60) else "no answer")
    process.join(30)
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_works_in_a_daemon_process(fake: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON)
    done = subprocess.run([sys.executable, script, method], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['equal', 'unequal']", done.stderr
    assert done.returncode == 0


def test_a_fork_leaves_the_workers_of_its_parent_alone(sandbox: Sandbox) -> None:
    sandbox.ask([("a", "a")])
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def child() -> None:
        there.send((sandbox.ask([("a", "b")]), len(children())))
        sandbox.close()

    process = context.Process(target=child)
    process.start()
    assert here.poll(60)
    assert here.recv() == ([UNEQUAL], 1)
    process.join(30)
    assert sandbox.ask([("a", "a")]) == [EQUAL]
    assert sandbox.started == 1


@pytest.mark.parametrize(
    ("doing", "how"),
    [("idle", signal.SIGKILL), ("hang", signal.SIGKILL), ("idle", signal.SIGINT), ("hang", signal.SIGINT), ("idle", 0)],
)
def test_no_worker_outlives_its_caller(fake: Path, doing: str, how: int) -> None:
    """Killed, interrupted or ended without `close`, idle or inside a power that no signal handler interrupts."""
    script = f"""
        import signal, sys, threading, time
        # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path[:] = {sys.path!r}
        from pathlib import Path
        from selftrain.answers import Sandbox
        def workers():
            return Path("/proc/self/task/%d/children" % threading.main_thread().native_id).read_text().split()
        box = Sandbox(seconds=1.5)
        box.ask([("a", "a")])
        print(*workers(), flush=True)
        if {doing!r} == "hang":
            box.ask([("hang", "a")])
        elif {how}:
            time.sleep(60)
    """
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with caller:
        assert caller.stdout is not None
        worker = int(caller.stdout.readline())
        time.sleep(0.2)
        if how:
            caller.send_signal(how)
        caller.wait(30)
    assert wait_until(lambda: ended(worker))


REJECTED = [
    "9^{9^{9}}",
    "9^9^9",
    "9**9**9",
    "9 ^ (9 ^ 9)",
    TOWER,
    "2^{2^{10}}",
    "10^{1000000}",
    "2^{10^8}",
    "10^{100000}!",
    "(10^9)!",
    "123456!",
    "((9!)!)!",
    r"\binom{10^9}{5 \cdot 10^8}",
    "1" * 257,
    "(" * 65,
    "x" * 4097,
    r"\sum_{k=1}^{10^9} k",
]
ASKED = ["e^{x^2}", "2^{2024}", "10!", r"\binom{100}{50}", "x^2+y^2", "1" * 256, "(" * 64, "x!=2", r"2^{n^{2}}", ")}]^"]


@pytest.mark.parametrize("text", REJECTED)
def test_explosive_texts_are_rejected(text: str) -> None:
    assert rejects(text)


@pytest.mark.parametrize("text", ASKED)
def test_ordinary_texts_are_not_rejected(text: str) -> None:
    assert not rejects(text)


def test_verdicts_are_consistent() -> None:
    for value, fault in (("maybe", None), ("equal", "timeout"), ("unknown", None), ("unknown", "bored")):
        with pytest.raises(ValueError, match="verdict"):
            Verdict(value, fault)


class Recorder:
    """Stands for a sandbox: says "equal" to the pairs it is given, and records what it is asked."""

    def __init__(self, *equal: tuple[str, str]) -> None:
        self.equal, self.batches, self.closed = set(equal), [], False

    def ask(self, pairs) -> list[Verdict]:
        self.batches.append(list(pairs))
        return [EQUAL if pair in self.equal else UNEQUAL for pair in self.batches[-1]]

    def close(self) -> None:
        self.closed = True


def test_the_memo_answers_before_the_sandbox() -> None:
    asker = Recorder()
    with Judge(asker) as judge:
        assert not judge.equal("sin(x)", "cos(x)")
        assert not judge.equal(r"\cos(x)", r"\sin(x)")
        assert judge.equal("0.5", "1/2")
        assert not judge.equal("1", "2")
        assert not judge.equal("10\\%", "2516_8")
    assert asker.closed
    assert len(asker.batches) == 1
    assert judge.known("sin(x)", "cos(x)") == UNEQUAL
    assert judge.rows() == [{"form_a": "cos(x)", "form_b": "sin(x)", "verdict": "unequal", "fault": None}]
    assert not equivalent("sin(x)", "cos(x)")
    assert not equivalent("sin(x)", "cos(x)", judge)


def test_a_memo_can_be_stored_and_loaded() -> None:
    rows = [
        {"form_a": "cos(x)", "form_b": "sin(x)", "verdict": "equal", "fault": None},
        {"form_a": "cos(x)", "form_b": "tan(x)", "verdict": "unknown", "fault": "timeout"},
    ]
    judge = Judge()
    judge.load(rows)
    judge.load(rows)
    assert judge.rows() == rows
    assert judge.equal("sin(x)", "cos(x)")
    assert equivalent("sin(x)", "cos(x)", judge)
    assert not judge.equal("cos(x)", "tan(x)")
    assert not judge.equal("sin(x)", "tan(x)")
    assert judge.rows() == rows
    with pytest.raises(ValueError, match="two verdicts"):
        judge.load([{**rows[0], "verdict": "unequal"}])
    with pytest.raises(ValueError, match="empty"):
        judge.load([{**rows[0], "form_a": None}])
    with pytest.raises(ValueError, match="fault"):
        judge.load([{**rows[0], "fault": "timeout"}])


def test_forms_are_asked_as_latex() -> None:
    assert as_latex("sqrt(x+1)^(-1)*sin(x)") == r"\sqrt{x+1}^{-1} \cdot \sin(x)"
    assert as_latex("((2)^(x))<=arcsin(3)") == r"((2)^{x})\le \arcsin(3)"
    assert as_latex(r"text:\sqrt{2}*)(") == r"\sqrt{2} \cdot )("


@needs_math_verify
def test_the_tower_of_issue_65_is_killed() -> None:
    before = children()
    with Sandbox(seconds=1.0) as box:
        assert box.ask([(TOWER, "1"), ("x > 2", "2 < x")]) == [Verdict("unknown", "rejected"), EQUAL]
        box._rejects = lambda text: False
        began = time.monotonic()
        assert box.ask([(TOWER, "1"), ("x > 2", "2 < x"), ("x > 2", "x < 2")]) == [TIMEOUT, EQUAL, UNEQUAL]
        assert time.monotonic() - began < 30
        assert box.started == 2
    assert children() == before


@needs_math_verify
@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (r"\tan^2(y)+1", r"\sec^2(y)", True),
        ("x>2", "2<x", True),
        ("7 + √69", "7 + √11", False),
        ("2516_8", "2516_9", False),
        ("10\\%", "0.1", False),
        (r"\{1,2\}", "(1,2)", False),
        (r"\sqrt{x^2+2x+1+y}", r"\sqrt{(x+1)^2+y}", True),
        (r"\frac{1}{\sqrt{x+1}}", r"\frac{\sqrt{x+1}}{x+1}", True),
        (r"\frac{1}{\sqrt{x+1}}", r"\frac{\sqrt{x+2}}{x+1}", False),
        (r"\sin(2x)", r"2\sin(x)\cos(x)", True),
        ("cat", "act", False),
    ],
)
def test_math_verify_settles_what_forms_cannot(a: str, b: str, equal: bool) -> None:
    with Judge.start() as judge:
        assert judge.equal(a, b) == judge.equal(b, a) == equal
        assert judge.equal(a, a)

"A process that is killed at a chosen moment, played inside this one: from then on nothing it does reaches the disk."
import os
import signal
import sys
from contextlib import contextmanager

OPERATIONS = ("replace", "rename", "mkdir", "rmdir", "unlink",
              "remove") # of `os`; `pathlib`, `shutil` and `tempfile` work through them


class Killed(BaseException):
    "What no `except Exception` catches"


@contextmanager
def killed_after(monkeypatch, steps):
    """Let so many file operations through; then every further one fails, those of `finally` too.

    Gives the list of those that were asked for."""
    asked = []
    def counted(work):
        def step(*args, **options):
            asked.append(args)
            if len(asked) > steps: raise Killed
            return work(*args, **options)
        return step
    with monkeypatch.context() as patched:
        for name in OPERATIONS: patched.setattr(os, name, counted(getattr(os, name)))
        yield asked


def every_step(monkeypatch, work, before, after):
    """Kill `work` at each of its file operations in turn, with `before` ahead of it and `after` behind it.

    Gives how many there were."""
    for steps in range(100):
        before()
        with killed_after(monkeypatch, steps) as asked:
            try: work()
            except Killed: pass
        after()
        if len(asked) <= steps: return len(asked)
    raise AssertionError("it never ends")


# The same for real: a child process that is ended by the system, with nothing tidied up

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime",
          "shutil.rmtree", "tempfile.mkdtemp"} # what Python announces before it touches a file


def kill_at(number):
    "From now on, end this process as `kill -9` does just before its next but `number` file operation"
    seen = []
    def count(event, arguments):
        if event not in EVENTS: return
        seen.append(event)
        if len(seen) > number: os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count) # there is no way to take it off again


def in_a_child(work):
    "Run a function in a child process: 'killed', 'done', or 'failed' where it raised something"
    if not (child := os.fork()):
        status = 1
        try: work(); status = 0
        finally: os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "killed" if code == -signal.SIGKILL else "done" if code == 0 else "failed"


def killed_everywhere(work, before, after, first=0, most=10_000):
    """Kill `work` at each of its file operations in turn: `before` prepares, `after` raises where something is lost.

    Gives how many times that was done; `first` skips some, `most` is an end for functions that never get done."""
    for number in range(first, first + most):
        before()
        def child(number=number): kill_at(number); work()
        end = in_a_child(child)
        assert end != "failed", f"it raised an error at operation {number}"
        after()
        if end == "done": return number - first
    return most

"A process that is killed at a chosen moment, played inside this one: from then on nothing it does reaches the disk."
import os
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

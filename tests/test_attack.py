"The attack at its shortest: each fault a few times. `python tests/attack.py` goes on for ten minutes"
import os
import signal

import pytest
from attack import ATTACKS, Lost, Row, attack, lost_unless
from killing import killed_everywhere

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_moment_of_each_fault(name):
    for row in attack(0, name): assert row.clean, row.shown


def test_what_goes_wrong_is_counted():
    def fail(error): raise error
    row = Row("any")
    for attempt in (lambda: None, lambda: lost_unless(False, "gone"), lambda: fail(KeyError("x"))):
        row.count(attempt, "")
    assert (row.tries, row.lost, row.outside, row.tracebacks, row.hangs) == (3, 1, 0, 1, 0) and not row.clean
    assert "gone" in row.shown[0] and "KeyError" in row.shown[1]


@pytest.mark.parametrize("name, careful", [("careless", False), ("careful", True)])
def test_a_careless_writer_is_found_out(tmp_path, name, careful):
    "The harness can fail: a file that is removed and written again is gone in between"
    file = tmp_path/"note"
    def work():
        if careful: (tmp_path/"new").write_text("two"); os.replace(tmp_path/"new", file)
        else: file.unlink(); file.write_text("two")
    def after(): lost_unless(file.exists() and file.read_text() in ("one", "two"), "gone")
    def run(): return killed_everywhere(work, lambda: file.write_text("one"), after)
    if careful: assert run() == 2
    else:
        with pytest.raises(Lost): run()


def test_a_child_ends_by_the_signal():
    assert killed_everywhere(lambda: None, lambda: None, lambda: None) == 0
    with pytest.raises(AssertionError, match="raised an error at operation 0"):
        killed_everywhere(lambda: signal.no_such_name, lambda: None, lambda: None)

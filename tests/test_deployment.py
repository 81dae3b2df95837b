"What lesson 2 exports, and what its last full run measured"
import statistics
from types import SimpleNamespace

import pytest

from course_lib import deployment
from course_lib.lesson.results import load_run


def test_times_are_medians_of_rounds_and_first_calls_do_not_count(monkeypatch):
    now, order = [0.], []
    monkeypatch.setattr(deployment, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    def call(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds.pop(0)
        return run
    calls = {"a": call("a", [9, 0.001, 0.002, 0.5]), "b": call("b", [9, 0.004, 0.004, 0.004])}
    times = deployment.median_times(calls, repeats=3)
    assert times == pytest.approx({"a": 2, "b": 4}) and "".join(order) == "ab"*4


# What this lesson promises, held against its last full run

@pytest.fixture(scope="module")
def run(): return load_run("02_deployment")


def measured(run, row, what, setting=""):
    "The one figure of a row whose name and setting begin so"
    [found] = [m for m in run.measured if m.row == row and m.what.startswith(what) and m.setting.startswith(setting)]
    return found


CEILINGS = [ # (row, what, setting, largest median); before cleaning, a tenth of the labels is wrong on purpose
    ("D4", "three bears, before cleaning", "judged by its labels", 0.27),
    ("D4", "three bears, before cleaning", "judged by what", 0.06), ("D7", "cat or dog, exported", "", 0.03),
    ("D6", "three bears, after cleaning", "judged by its labels", 0.1),
    ("D6", "three bears, after cleaning", "judged by what", 0.06)]
FLOORS = [ # (row, what, setting, least median)
    ("D5", "wrong labels found", "", 0.7),
    ("D12", "times as fast as learn.predict", "as it was", 2.5),
    ("D12", "times as fast as learn.predict", "eight bits", 4.),
    ("D12", "same label as learn.predict", "as it was", 1.), ("D12", "same label as learn.predict", "eight bits", 0.98)]


@pytest.mark.parametrize("row, what, setting, most", CEILINGS)
def test_errors_of_the_last_full_run(run, row, what, setting, most):
    figure = measured(run, row, what, setting)
    assert figure.metric == "error_rate" and statistics.median(figure.values) <= most


@pytest.mark.parametrize("row, what, setting, least", FLOORS)
def test_figures_of_the_last_full_run(run, row, what, setting, least):
    figure = measured(run, row, what, setting)
    assert statistics.median(figure.values) >= least
    assert figure.metric == "ratio" or figure.value <= 1


def test_a_model_may_be_better_than_its_labels_and_cleaning_mends_the_judge(run):
    "The same pictures judge, once by labels of which some are wrong, and once by what they show"
    error = lambda row, what, how: measured(run, row, f"three bears, {what} cleaning", f"judged by {how}").value
    assert error("D4", "before", "what") < error("D4", "before", "its labels")
    assert error("D6", "after", "its labels") < error("D4", "before", "its labels")


def test_the_last_full_run_used_real_data(run):
    assert run.comparable and {d["name"] for d in run.data} == {"bears", "pets"}
    assert run.device and run.versions["torch"] and run.date

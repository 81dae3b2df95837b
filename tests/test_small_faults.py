"Small faults of the rooms below the lessons: dates in tables, arrays of results, losses below zero, names in credits"
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib.base import web
from course_lib.base.env import CourseError
from course_lib.base.files import part_name
from course_lib.dives.features_and_submission import check_submission
from course_lib.figures.descent import plot_descents
from course_lib.lesson.results import new_measured
from course_lib.pictures.gather import CREDIT_COLUMNS, read_credits, write_credits
from course_lib.tables.columns import learn_columns


def test_dates_are_no_numbers():
    days = pd.to_datetime(pd.Series(["2024-01-01", None, "2024-03-01"]))
    for column in (days, days - days.min()):
        with pytest.raises(CourseError, match="Column sold holds dates or times"):
            learn_columns(pd.DataFrame({"sold": column}))


@pytest.mark.parametrize("kind", [np.array, pd.Series, torch.tensor, list, tuple], ids=lambda kind: kind.__name__)
def test_results_of_any_kind(kind):
    assert new_measured("M7", "x", kind([0.5, 0.25]), seconds=kind([1., 2.])).values == [0.5, 0.25]


def test_results_that_do_not_fit():
    with pytest.raises(CourseError, match="3 times"): new_measured("M7", "x", [0.5, 0.25], seconds=[1., 2., 3.])
    with pytest.raises(CourseError, match="should be numbers"): new_measured("M7", "x", np.zeros((2, 2)))
    assert new_measured("M7", "x", [0.5, 0.25], seconds=3.).seconds == [3.]


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2,3\n4\n5,6,7,8\n"])
def test_a_submission_that_is_no_table(tmp_path, content):
    if content is not None: (tmp_path/"s.csv").write_text(content)
    with pytest.raises(CourseError, match="s.csv cannot be read"): check_submission(tmp_path/"s.csv", [1, 2])


class Counted:
    "An id that counts how often it is hashed"
    hashed = 0
    def __init__(self, number): self.number = number
    def __eq__(self, other): return self.number == getattr(other, "number", other)
    def __hash__(self): Counted.hashed += 1; return hash(self.number)


def test_a_submission_is_compared_in_one_go(tmp_path):
    pd.DataFrame({"PassengerId": range(200), "Survived": 0}).to_csv(tmp_path/"s.csv", index=False)
    check_submission(tmp_path/"s.csv", [Counted(number) for number in range(200)])
    assert 0 < Counted.hashed <= 600


@pytest.mark.parametrize("losses", [[-1., -2., -3.], [-0.01, -0.02, 9., -0.01], [0., 0., 0.]])
def test_losses_below_zero(losses):
    import matplotlib.pyplot as plt
    ax = plot_descents({"run": losses})
    assert ax.get_yscale() == ("symlog" if max(losses) > 1 else "linear")
    plt.close(ax.figure)


@pytest.mark.parametrize("name", ["@home", "+1", "=x", "bird"])
def test_credits_come_back_as_they_were(tmp_path, name):
    rows = {f"{name}/1.jpg": dict.fromkeys(CREDIT_COLUMNS, "x") | {"file": f"{name}/1.jpg", "title": "=1+1"}}
    for _ in range(2): write_credits(tmp_path, rows); assert read_credits(tmp_path) == rows
    assert ",'=1+1," in (tmp_path/"ATTRIBUTION.csv").read_text()


def test_every_thread_writes_a_part_of_its_own(tmp_path):
    names = [part_name(tmp_path/"x")]
    thread = threading.Thread(target=lambda: names.append(part_name(tmp_path/"x")))
    thread.start(); thread.join()
    assert len(set(names)) == 2


@pytest.mark.parametrize("later, answer", [(59, True), (61, False)])
def test_a_yes_of_the_network_expires(monkeypatch, later, answer):
    monkeypatch.setattr(web, "_answers", {"example.org": (1000., True)})
    monkeypatch.setattr(web, "_responds", lambda url, seconds: False)
    monkeypatch.setattr(web.time, "monotonic", lambda: 1000. + later)
    assert web.reachable("https://example.org/x") is answer

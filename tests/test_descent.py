"Descent: pictures of good and of diverged runs, from histories of many forms; bad ones are named"
import math
import re

import numpy as np
import pytest
from course_lib.base.env import CourseError
from course_lib.figures.descent import MOST_FRAMES, animate_descent, diverged_at, frame_steps, plot_descents
from figure_examples import CORNERS, FOLDED, X, Y, animate, descent

RANDOM = np.random.RandomState(42)

NO_NUMBERS = [[1.1]*3, [4, 2, 1], [math.nan]*3, [1, 1, 1]]


@pytest.mark.parametrize("history, frames, last", [
    (descent(0.1, 40), 41, "step 40: MSE 0.5435"), (descent(0.1, 500), 60, "step 500: MSE"),
    (descent(0.5, 40), 7, "diverged at step 6: MSE"),
    (descent(0.5, 400), 7, "diverged at step 6: MSE"), (NO_NUMBERS, 3, "diverged at step 2: MSE not a number"),
    ([[1.1]*3], 1, "step 0: MSE"),
    ([[1.1]*3, [1e200]*3], 2, "diverged at step 1: MSE not a number"), ([[1.1]*3]*3, 3, "step 2: MSE"),
], ids=["good", "long", "wild", "infinite", "nan", "start only", "overflow", "no move"])
def test_descent_is_shown_to_its_end(history, frames, last):
    picture = animate(history)
    assert len(picture.figure.frames) == frames and picture.figure.frames[-1].layout.title.text.startswith(last)
    page = picture.page()
    assert len(page) < 250_000 and not re.search(r"\bNaN\b|\bInfinity\b", page.split("const after")[0])


def test_descent_of_many_parameters_on_many_examples_stays_small():
    x = RANDOM.uniform(-1, 1, 500)
    names = [f"{kind}{n}" for n in range(8) for kind in "mbw"]
    expression = " + ".join(f"w{n}*relu(m{n}*x + b{n})" for n in range(8))
    history = [dict(zip(names, row, strict=True)) for row in RANDOM.normal(size=(1000, 24)).cumsum(0)/50]
    assert len(animate_descent(expression, x, np.sin(5*x), history, loss="mae").page()) < 250_000


@pytest.mark.parametrize("changes, words", [
    (dict(history=[]), "history is empty"), (dict(history=[[1, 2]]), "got shape (1, 2)"),
    (dict(names=None), "Name the columns"),
    (dict(history=[dict(a=1, b=2, c=3), dict(a=1)]), "Row 1 of the history has other names"),
    (dict(history=[[math.nan]*3]), "first row of the history holds nan"),
    (dict(history=[[1, 2, 3], [1, 2]]), "in equal rows"), (dict(map_params="ad"), "no parameter `d`"),
    (dict(map_params="a"), "two different parameters, got a"),
    (dict(map_params="abc"), "two different parameters"), (dict(loss="msa"), "Did you mean"),
    (dict(x=CORNERS, y=FOLDED), "has two columns"), (dict(expression="a*x + b"), "does not use the parameter `c`"),
    (dict(expression="a*x + b + c + d"), "uses `d`"),
    (dict(expression="a*log(x) + b + c"), "no value at the start"), (dict(name="1st"), "starts with a letter"),
])
def test_bad_histories_are_named(changes, words):
    given = dict(expression="a*x**2 + b*x + c", x=X, y=Y, history=descent(0.1, 3), names="abc") | changes
    with pytest.raises(CourseError, match=re.escape(words)): animate_descent(**given)


def test_the_map_keeps_the_others_where_the_loss_was_lowest():
    history = descent(0.1, 40)
    lowest = ((history[-1] @ np.stack([X**2, X, X**0]) - Y)**2).mean()
    assert 10**np.min(animate(history, map_params="ac").figure.data[2].z) == pytest.approx(lowest, rel=0.05)


@pytest.mark.parametrize("count", [1, 2, MOST_FRAMES, MOST_FRAMES + 1, 1000])
def test_chosen_steps_keep_both_ends(count):
    steps = frame_steps(count)
    assert len(steps) == min(count, MOST_FRAMES) and steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, count - 1)


@pytest.mark.parametrize("losses, step", [([3, 2, 1], None), ([3, math.nan, 1], 1), ([1, 1, math.inf], 2),
                                          ([1, 1e7, 1], 1), ([0, 9e5], None)])
def test_a_run_diverges_at_a_step(losses, step): assert diverged_at(losses) == step


@pytest.mark.parametrize("runs, scale, labels", [
    ({"steady": [3, 2, 1]}, "linear", ["steady"]), ({"steep": [1000, 10, 1]}, "log", ["steep"]),
    ({"exact": [1000, 1, 1, 0]}, "symlog", ["exact"]),
    ({"good": [10, 1], "wild": [10, 1e4, 1e9]}, "log", ["good", "wild (diverged at step 2)"]),
    ({"broken": [1, math.nan]}, "linear", ["broken (diverged at step 1)"]),
    ({"up": [1, 2]}, "linear", ["up (rising)"]), ({"zero": [0, 0]}, "linear", ["zero"]),
])
def test_runs_are_compared(runs, scale, labels):
    from matplotlib.figure import Figure
    ax = plot_descents(runs, ax=Figure().subplots())
    assert ax.get_yscale() == scale and [text.get_text() for text in ax.get_legend().texts] == labels
    assert sum(line.get_marker() == "X" for line in ax.lines) == sum("diverged" in label for label in labels)


@pytest.mark.parametrize("runs", [{}, {"none": []}, {"bad": [math.nan, 1]}])
def test_runs_without_a_start_are_refused(runs):
    with pytest.raises(CourseError): plot_descents(runs)

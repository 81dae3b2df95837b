"What lesson 3 exports, at its edges; and what its last full run measured"
import math

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib import foundations
from course_lib.base.env import CourseError
from course_lib.lesson.results import load_run, published
from course_lib.data.standins import TITANIC_RULE, build_standin

WAYS = [foundations.matmul_loops, foundations.matmul_rows, foundations.matmul_broadcast]


def bowl(params): return (params**2).sum()


@pytest.mark.parametrize("low, high", [(1, 1), (2, -2), (math.nan, 1)])
def test_a_range_without_width_is_refused(low, high):
    with pytest.raises(CourseError, match="must be below"): foundations.plot_function(torch.abs, low=low, high=high)


@pytest.mark.parametrize("loss", [foundations.mae, foundations.mse])
@pytest.mark.parametrize("preds, targs", [((20, 1), (20,)), ((3,), (4,)), ((2, 3), (3, 2))])
def test_losses_refuse_to_broadcast(loss, preds, targs):
    with pytest.raises(CourseError, match="same shape"): loss(torch.zeros(preds), torch.zeros(targs))


def test_noise_is_the_published_one():
    x = torch.linspace(-2, 2, steps=20)[:, None]
    y = foundations.add_noise(foundations.quad(3, 2, 1, x), 0.15, 1.5, np.random.RandomState(42))
    assert f"{foundations.mae(foundations.quad(1.1, 1.1, 1.1, x), y):.4f}" == published()["F3-a-b-c-1-1"].value


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf])
def test_descent_refuses_a_learning_rate_that_cannot_work(lr):
    with pytest.raises(CourseError, match="above 0"): foundations.descend(bowl, torch.ones(2), lr, steps=3)


@pytest.mark.parametrize("steps", [0, -3])
def test_descent_needs_a_step(steps):
    with pytest.raises(CourseError, match="At least 1 step"): foundations.descend(bowl, torch.ones(2), 0.1, steps)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_data_is_not_taken_for_a_bad_rate(bad):
    with pytest.raises(CourseError, match="missing or infinite"):
        foundations.descend(lambda p: bowl(p) + bad, torch.ones(2), 0.1, steps=3)


@pytest.mark.parametrize("lr, lost", [(0.9, False), (1.1, True), (1e30, True)])
def test_divergence_is_noticed_at_the_edge_of_the_bowl(lr, lost):
    start = torch.ones(2)
    run = foundations.descend(bowl, start, lr, steps=400)
    assert run.diverged == lost and ("smaller learning rate" in repr(run)) == lost
    assert len(run.losses) == len(run.params) and (len(run.losses) < 401) == lost
    assert torch.equal(start, torch.ones(2)) and math.isfinite(run.losses[0])


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_parameter_vector_of_the_wrong_length_is_named(count):
    with pytest.raises(CourseError, match=f"got {count}"): foundations.relu_sum(torch.zeros(count), torch.zeros(4, 1))


@pytest.mark.parametrize("n, n_inputs", [(1, 1), (7, 2), (3, 10)])
def test_relu_sum_is_the_network_it_says(n, n_inputs):
    params, x = foundations.relu_params(n, n_inputs), torch.randn(6, n_inputs)
    slopes, heights, weights, constant = params.split([n*n_inputs, n, n, 1])
    net = torch.relu(x @ slopes.view(n_inputs, n) + heights) @ weights[:, None] + constant
    assert torch.allclose(foundations.relu_sum(params, x), net, atol=1e-5)


@pytest.mark.parametrize("multiply", WAYS)
@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (2, 3, 4), (5, 1, 2), (3, 0, 2), (0, 3, 2)])
def test_every_way_to_multiply_agrees(multiply, n, k, m):
    a, b = torch.randn(n, k), torch.randn(k, m)
    assert torch.allclose(multiply(a, b), a @ b, atol=1e-5) and multiply(a, b).shape == (n, m)


@pytest.mark.parametrize("multiply", WAYS)
@pytest.mark.parametrize("a, b", [((2, 3), (2, 3)), ((3,), (3, 2)), ((2, 3), (3,)), ((1, 2, 3), (3, 2))])
def test_shapes_that_do_not_fit_are_named(multiply, a, b):
    with pytest.raises(CourseError, match="cannot be multiplied"): multiply(torch.zeros(a), torch.zeros(b))


@pytest.fixture(scope="module")
def passengers(tmp_path_factory):
    return pd.read_csv(build_standin("titanic", tmp_path_factory.mktemp("standin"))/"train.csv")


def test_training_finds_the_planted_rule(passengers):
    x, y, names = foundations.clean_titanic(passengers)
    assert names == list(TITANIC_RULE)
    found = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    rule = torch.tensor(list(TITANIC_RULE.values()), dtype=x.dtype)
    chance = x @ rule
    inverse = torch.linalg.inv(x.T @ x)
    spread = (inverse @ (x.T*chance*(1-chance)) @ x @ inverse).diagonal().sqrt()
    assert ((found-rule).abs() < 3*spread).all() and spread.max() < 0.15
    assert found[names.index("Male")] < -0.35, "the strongest effect"


@pytest.mark.parametrize("column", ["Age", "Fare", "Sex", "Survived", "Embarked"])
def test_a_missing_column_is_named(passengers, column):
    with pytest.raises(CourseError, match=column): foundations.clean_titanic(passengers.drop(columns=column))


@pytest.fixture(scope="module")
def run(): return load_run("03_foundations")


def measured(run, row, what): return [m for m in run.measured if m.row == row and m.what.startswith(what)]


@pytest.mark.parametrize("key", [key for key in published("03_foundations") if key.startswith("F3-")])
def test_the_worked_example_equals_the_published(run, key):
    [figure] = [m for m in run.measured if m.published == key]
    wanted = published()[key].value
    assert f"{figure.value:.{len(wanted.split('.')[1])}f}" == wanted


def test_the_linear_model_equals_the_published_and_its_rows_are_said(run):
    drop, fill = measured(run, "F7", "linear")
    assert f"{drop.value:.8f}" == published()["F7-linear"].value and "age and port" in drop.setting
    assert 0.1415 < fill.value < 0.1421 and "filled" in fill.setting


def test_the_network_is_a_median_of_five_seeds_and_beats_the_published(run):
    median, best, *_ = measured(run, "F7", "two-ReLU network")
    assert len(median.values) == len(set(median.seeds)) == 5 and best.value <= min(median.values)
    assert median.value < float(published()["F7-two-relu-network"].value)


def test_a_single_relu_explains_the_published_network(run):
    [single] = measured(run, "F7", "a single ReLU")
    assert f"{single.value:.8f}" == published()["F7-two-relu-network"].value


def test_the_counts_of_the_merged_tables_add_up(run):
    counts = ("rows joined", "of these", "models with accuracy and speed")
    naive, agree, merged = (measured(run, "F9", what)[0].value for what in counts)
    assert naive > agree > merged > 1000

"What lesson 3 exports, at its edges; and what its last full run and those of its dives measured"
import math

import pandas as pd
import pytest
import torch

from course_lib import foundations
from course_lib.lesson.results import load_run, published
from course_lib.data.standins import TITANIC_RULE, build_standin
from course_lib.tables.titanic import cleaned_columns, titanic_rows

WAYS = [foundations.matmul_loops, foundations.matmul_rows, foundations.matmul_broadcast]


def bowl(params): return (params**2).sum()


@pytest.mark.parametrize("lr, lost", [(0.9, False), (1.1, True), (1e30, True)])
def test_divergence_is_noticed_at_the_edge_of_the_bowl(lr, lost):
    start = torch.ones(2)
    path, losses = foundations.descend(bowl, start, lr, steps=400)
    assert len(losses) == len(path) and (len(losses) < 401) == lost and (not losses[-1] < 1e9) == lost
    assert torch.equal(start, torch.ones(2)) and torch.equal(path[0], start) and math.isfinite(losses[0])


def test_a_start_that_wants_gradients_is_left_alone():
    start = torch.ones(2, requires_grad=True)
    path, _ = foundations.descend(bowl, start, 0.1, steps=2)
    assert len(path) == 3 and start.grad is None


@pytest.mark.parametrize("way", WAYS)
def test_matrices_that_do_not_fit_have_no_product(way):
    with pytest.raises((AssertionError, RuntimeError)): way(torch.ones(2, 3), torch.ones(2, 2))


def test_descent_is_what_the_optimizer_does():
    path, losses = foundations.descend(bowl, torch.tensor([1., -2.]), 0.1, steps=5)
    params = torch.tensor([1., -2.], requires_grad=True)
    optimizer = torch.optim.SGD([params], lr=0.1)
    for row, loss in zip(path, losses, strict=True):
        assert torch.allclose(row, params.detach()) and loss == pytest.approx(bowl(params).item())
        optimizer.zero_grad()
        bowl(params).backward()
        optimizer.step()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_descent_stops_at_a_loss_that_is_no_number(bad):
    path, losses = foundations.descend(lambda p: bowl(p) + bad, torch.ones(2), 0.1, steps=3)
    assert len(path) == len(losses) == 1


@pytest.mark.parametrize("multiply", WAYS)
@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (2, 3, 4), (5, 1, 2), (3, 0, 2)])
def test_every_way_to_multiply_agrees(multiply, n, k, m):
    a, b = torch.randn(n, k), torch.randn(k, m)
    assert torch.allclose(multiply(a, b), a @ b, atol=1e-5) and multiply(a, b).shape == (n, m)


@pytest.fixture(scope="module")
def passengers(tmp_path_factory):
    return pd.read_csv(build_standin("titanic", tmp_path_factory.mktemp("standin"))/"train.csv")


def test_training_finds_the_planted_rule(passengers):
    rows = titanic_rows(passengers)
    inputs = cleaned_columns(rows)
    names = list(inputs)
    assert names == list(TITANIC_RULE)
    x, y = torch.tensor(inputs.to_numpy()), torch.tensor(rows["Survived"].to_numpy(float))
    found = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    rule = torch.tensor(list(TITANIC_RULE.values()), dtype=x.dtype)
    chance = x @ rule
    inverse = torch.linalg.inv(x.T @ x)
    spread = (inverse @ (x.T*chance*(1-chance)) @ x @ inverse).diagonal().sqrt()
    assert ((found-rule).abs() < 3*spread).all() and spread.max() < 0.15
    assert found[names.index("Male")] < -0.35, "the strongest effect"


def measured(page, row, what): return [m for m in load_run(page).measured if m.row == row and m.what.startswith(what)]


@pytest.mark.parametrize("key", [key for key in published("03_foundations") if key.startswith("F3-")])
def test_the_worked_example_equals_the_published(key):
    [figure] = [m for m in load_run("03_foundations").measured if m.published == key]
    wanted = published()[key].value
    assert f"{figure.value:.{len(wanted.split('.')[1])}f}" == wanted


def test_the_linear_model_equals_the_published_and_its_rows_are_said():
    drop, fill = measured("dives/03_spreadsheet", "F7", "linear")
    assert f"{drop.value:.8f}" == published()["F7-linear"].value and "age and port" in drop.setting
    assert 0.1415 < fill.value < 0.1421 and "filled" in fill.setting


def test_the_network_is_a_median_of_five_seeds_and_beats_the_published():
    median, best, *_ = measured("dives/03_spreadsheet", "F7", "two-ReLU network")
    assert len(median.values) == len(set(median.seeds)) == 5 and best.value <= min(median.values)
    assert median.value < float(published()["F7-two-relu-network"].value)


def test_a_single_relu_explains_the_published_network():
    [single] = measured("dives/03_spreadsheet", "F7", "a single ReLU")
    assert f"{single.value:.8f}" == published()["F7-two-relu-network"].value


def test_the_workbook_equals_the_tensors():
    [worst] = measured("dives/03_spreadsheet", "F7", "workbook")
    assert worst.value < 1e-6


def test_the_limit_of_the_rate_is_where_the_descent_explodes():
    [limit] = measured("dives/03_descent", "F5", "limit")
    assert 0.2 < limit.value < 0.25


def test_the_simple_model_wins_on_new_passengers():
    new = {m.setting: m.value for m in measured("03_foundations", "F11", "survived")}
    assert min(new, key=new.get) == "linear, all columns" and new["network of 200 bends"] > new["linear, one column"]


def test_the_counts_of_the_merged_tables_add_up():
    counts = ("rows joined", "of these", "models with accuracy and speed")
    naive, agree, merged = (measured("dives/03_which_model", "F9", what)[0].value for what in counts)
    assert naive > agree > merged > 1000

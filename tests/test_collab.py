"What lesson 7 exports, at its edges; ratings with a planted truth; the workbook; and what its last full run measured"
import functools
import re
import shutil
import statistics
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from browser import find_browser
from course_lib import collab
from course_lib.base.env import CourseError, checkout
from course_lib.data import standin_ratings
from course_lib.data.standins import build_standin
from course_lib.figures.factors import factor_table
from course_lib.lesson.results import load_run
from course_lib.tables.factors import (
    factor_step, factor_workbook, start_factors, toy_rate, toy_ratings, toy_steps, write_factor_example)
from course_lib.tables.sheets import read_values, recalculate
from openpyxl import load_workbook

FOUND = shutil.which("soffice") or shutil.which("libreoffice")
office = pytest.mark.skipif(not FOUND, reason="LibreOffice is not installed")


def table(*rows): return pd.DataFrame(rows, columns=["user", "title", "rating"])


# Tables as they come

GOOD = (1, "Up", 4), (1, "Heat", 2), (2, "Up", 5), (2, "Heat", 1)
BAD = {
    "too high": ((3, "Up", 6), "rating outside of 1 to 5: left out"),
    "zero for not seen": ((3, "Up", 0), "rating outside of 1 to 5: left out"),
    "infinite": ((3, "Up", float("inf")), "rating outside of 1 to 5: left out"),
    "in words": ((3, "Up", "five"), "rating is no number: left out"),
    "no rating": ((3, "Up", None), "rating is no number: left out"),
    "no title": ((3, None, 4), "item missing: left out"),
    "empty title": ((3, "  ", 4), "item missing: left out"),
    "fastai's place for unknowns": ((3, "#na#", 4), "item missing: left out"),
    "no user": ((None, "Up", 4), "user missing: left out"),
    "rated again": ((2, "Heat", 3), "pair rated again: the last one kept"),
}


@pytest.mark.parametrize("row, words", BAD.values(), ids=BAD)
def test_a_bad_row_is_said_and_left_out(row, words):
    rows, found = collab.read_ratings(table(*GOOD, row))
    assert found == {words: 1} and len(rows) == 4 and rows.rating.between(1, 5).all()


def test_the_later_of_two_ratings_counts():
    again = table(*GOOD, (2, "Heat", 3)).assign(when=[5, 5, 5, 9, 2])
    last = lambda **options: collab.read_ratings(again, **options)[0].set_index(["user", "item"]).rating["2", "Heat"]
    assert last() == 3 and last(time="when") == 1
    again["when"] = [5, 5, 5, 9, None]
    assert last(time="when") == 1, "one without a time is no later one"
    with pytest.raises(CourseError, match="no column 'then'"): last(time="then")


def test_ids_of_every_kind_are_the_same_text():
    for ids in ([1, 1, 2, 2], ["1", " 1", "2", "2 "], [1., 1., 2., 2.], pd.array([1, 1, 2, 2], "Int64")):
        rows, found = collab.read_ratings(table(*GOOD).assign(user=ids))
        assert list(rows.user) == ["1", "1", "2", "2"] and found == {}


def test_a_gap_does_not_turn_whole_numbers_into_other_ids():
    rows, found = collab.read_ratings(table(*GOOD, (None, "Up", 3)))
    assert set(rows.user) == {"1", "2"} and found == {"user missing: left out": 1}


def test_people_with_one_rating_are_kept_and_said():
    rows, found = collab.read_ratings(table(*GOOD, (3, "Up", 4)))
    assert len(rows) == 5 and list(found.values()) == [1] and "one rating" in next(iter(found))


def test_other_columns_scales_and_nothing_left():
    own = table(*GOOD).rename(columns={"user": "who", "title": "what", "rating": "stars"})
    rows, _ = collab.read_ratings(own.assign(stars=own.stars*2), "who", "what", "stars", high=10)
    assert rows.rating.max() == 10
    with pytest.raises(CourseError, match="no column 'user'; there are who, what, stars"): collab.read_ratings(own)
    with pytest.raises(CourseError, match="No rating is left"): collab.read_ratings(table((1, "Up", 9)))


def test_the_given_table_is_left_alone():
    given = table(*GOOD, (None, " Up ", "x"))
    before = given.copy()
    collab.read_ratings(given)
    assert given.equals(before)


# Factors

def test_features_of_a_person_are_added():
    torch.manual_seed(1)
    bags = torch.tensor([[0, 3], [1, 3], [2, 4]])
    model = collab.Factors(bags, 2, 3, mean=3.)
    x = torch.tensor([[0, 1], [2, 0]])
    person, film = model.people[[0, 2]] + model.people[[3, 4]], model.films[[1, 0]]
    wanted = 3 + person[:, 3] + film[:, 3] + (person[:, :3]*film[:, :3]).sum(1)
    assert torch.allclose(model(x), wanted) and model.people.shape == (5, 4)


@functools.cache
def planted(seed=42):
    "The stand-in's ratings, split, with the best guess for each"
    people, films = standin_ratings.planted_people(), standin_ratings.planted_films()
    rows = standin_ratings.draw_ratings()
    x = torch.tensor([(person - 1, film - 1) for person, film, *_ in rows])
    y = torch.tensor([float(stars) for _, _, stars, _ in rows])
    best = torch.tensor([standin_ratings.best_guess(standin_ratings.expected_stars(people[p], films[f]))[0]
                         for p, f in x.tolist()])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x, y, best, order[len(x)//5:], order[:len(x)//5]


@pytest.fixture(scope="module")
def trained():
    x, y, _, train, valid = planted()
    torch.manual_seed(42)
    model = collab.Factors(standin_ratings.PEOPLE, standin_ratings.FILMS, 3, y[train].mean().item())
    return model, collab.fit_factors(model, x[train], y[train], (x[valid], y[valid]), penalty=0.03)


def test_the_noise_floor_is_reached_within_three_percent(trained):
    _, y, best, _, valid = planted()
    floor = F.mse_loss(best[valid], y[valid]).item()
    assert floor**0.5 < trained[1][-1]**0.5 < 1.03*floor**0.5


def test_the_planted_geometry_is_found(trained):
    "A linear map takes the learned factors to the planted traits"
    traits = torch.tensor([film["traits"] for film in standin_ratings.planted_films()])
    factors = trained[0].films[:, :-1].detach()
    traits, factors = traits - traits.mean(0), factors - factors.mean(0)
    left = traits - factors@torch.linalg.lstsq(factors, traits).solution
    assert (1 - left.square().sum(0)/traits.square().sum(0)).min() > 0.95


def test_the_planted_biases_are_found(trained):
    planted_bias = [film["bias"] for film in standin_ratings.planted_films()]
    # a film's mean over people: its bias, and what its traits do to the mean taste
    means = torch.tensor(planted_bias)
    learned = trained[0].films[:, -1].detach()
    assert np.corrcoef(means, learned)[0, 1] > 0.9


def test_the_standin_has_the_files_and_the_encoding(tmp_path):
    folder = build_standin("ml_100k", tmp_path)
    wanted = {"u.data", "u.item", "u.user", "u.genre", "u.info", "u.occupation",
              *(f"u{n}.{part}" for n in range(1, 6) for part in ("base", "test"))}
    assert {file.name for file in folder.iterdir()} == wanted
    assert b"Caf\xe9" in (folder/"u.item").read_bytes()
    whole = sorted((folder/"u.data").read_text().splitlines())
    tests = [line for n in range(1, 6) for line in (folder/f"u{n}.test").read_text().splitlines()]
    assert sorted(tests) == whole
    assert sorted((folder/"u1.base").read_text().splitlines() + (folder/"u1.test").read_text().splitlines()) == whole


# A new person

def test_the_closed_form_is_the_lowest_point(trained):
    model, seen, stars, penalty = trained[0], [3, 8, 40], [5, 1, 4], 0.1
    films = torch.cat([model.films[:, :-1], torch.ones(len(model.films), 1)], 1).detach()
    person = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([person], max_iter=100, line_search_fn="strong_wolfe")
    def loss():
        optimizer.zero_grad()
        said = model.mean + model.films[seen, -1].detach() + films[seen]@person
        value = ((said - torch.tensor(stars))**2).mean() + penalty*(person**2).sum()
        value.backward()
        return value
    optimizer.step(loss)
    wanted = model.mean + model.films[:, -1] + films@person
    assert torch.allclose(collab.new_person(model, seen, stars, penalty), wanted, atol=1e-3)


def test_more_ratings_tell_more(trained):
    x, y, best, train, _ = planted()
    films, losses = torch.randperm(160, generator=torch.Generator().manual_seed(1)), {}
    person = dict(bias=0.3, taste=(1., -0.8))
    truth = torch.tensor([standin_ratings.best_guess(standin_ratings.expected_stars(person, film))[0]
                          for film in standin_ratings.planted_films()])
    for k in (1, 5, 40):
        guess = collab.new_person(trained[0], films[:k], truth[films[:k]], 0.03)
        losses[k] = F.mse_loss(guess, truth).item()
    assert losses[1] > losses[5] > losses[40] and losses[40] < 0.1


@pytest.mark.parametrize("seen, stars, words", [([], [], "known by no rating"), ([1, 2], [5], "2 films, 1 ratings"),
                                                ([10**6], [5], "Films are 0 to"), ([-1], [5], "Films are 0 to")])
def test_nobody_and_a_mismatch_are_said(trained, seen, stars, words):
    with pytest.raises(CourseError, match=words): collab.new_person(trained[0], seen, stars)


# Feedback

def test_a_loop_without_chance_knows_less_and_shows_less():
    closed, open_ = (collab.simulate_lists(1, explore, weeks=6, people=80).iloc[-1] for explore in (0, 2))
    assert closed["loss"] > open_["loss"] and closed["top tenth"] > open_["top tenth"]


# The workbook

def torch_descent(ratings, steps):
    "Losses before each step and after the last, and the last factors, with PyTorch's gradients"
    people, films = (torch.tensor(start).requires_grad_() for start in start_factors(ratings))
    known, stars = torch.tensor(ratings.notna().values), torch.tensor(ratings.fillna(0).values)
    losses = []
    for step in range(steps + 1):
        loss = ((people@films.T - stars)[known]**2).mean()
        losses.append(loss.item())
        if step == steps: break
        slopes = torch.autograd.grad(loss, (people, films))
        with torch.no_grad(): people -= toy_rate*slopes[0]; films -= toy_rate*slopes[1]
    return losses, people.detach(), films.detach()


@pytest.fixture(scope="module")
def workbook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("factors")
    return recalculate(factor_workbook(toy_ratings(), folder/"a.xlsx"), folder/"calculated.xlsx")


@office
def test_the_workbook_computes_what_torch_computes(workbook):
    got, (losses, people, films) = read_values(workbook), torch_descent(toy_ratings(), toy_steps)
    assert np.allclose(got["losses"], losses, atol=1e-9) and len(losses) == toy_steps + 1
    assert np.allclose(got["end_people"], people, atol=1e-9) and np.allclose(got["end_films"], films.T, atol=1e-9)
    start = start_factors(toy_ratings())
    assert np.allclose(got["predictions"], start[0]@start[1].T) and losses[-1] < losses[0]/3
    assert np.array_equal(got["known"], toy_ratings().notna())


@office
def test_a_changed_rating_changes_the_loss(workbook, tmp_path):
    book, changed = load_workbook(workbook), toy_ratings()
    cells = [cell for row in book["ratings"]["E8:S22"] for cell in row]
    assert cells[0].value == changed.iloc[0, 0]
    cells[0].value, changed.iloc[0, 0] = None, np.nan
    cells[-1].value, changed.iloc[-1, -1] = 1, 1.
    book.save(tmp_path/"changed.xlsx")
    got = read_values(recalculate(tmp_path/"changed.xlsx", tmp_path/"changed.xlsx"))
    assert np.allclose(got["losses"], torch_descent(changed, toy_steps)[0], atol=1e-9)


@office
def test_the_committed_example_is_in_step(tmp_path):
    kept = read_values(checkout()/"spreadsheets"/"factors.xlsx")
    made = read_values(write_factor_example(tmp_path/"factors.xlsx"))
    assert set(kept) == set(made) and all(np.allclose(kept[name], made[name], atol=1e-9) for name in kept)


def test_a_step_in_numpy_is_that_of_torch():
    people, films = start_factors(toy_ratings())
    for wanted in torch_descent(toy_ratings(), 3)[0]:
        people, films, loss = factor_step(people, films, toy_ratings().to_numpy(), toy_rate)
        assert loss == pytest.approx(wanted)


# The living table

def test_the_table_on_the_page_descends_as_numpy_does(tmp_path):
    "With a stand-in for Plotly: only the sums are asked for"
    page = factor_table(toy_ratings(), *start_factors(toy_ratings()), toy_rate, name="toy").page()
    stub = ("window.said = []; window.Plotly = {newPlot: async () => {}, relayout: async () => {}, "
            "update: (plot, data, layout) => window.said.push(layout['title.text'])};")
    click = ("setTimeout(() => { const [one, many, again] = document.querySelectorAll('button'); one.click(); "
             "many.click(); const select = document.querySelector('select'); select.value = 'f2'; "
             "select.dispatchEvent(new Event('change')); "
             "again.click(); document.body.innerHTML = '<pre id=report>' + window.said.join('|') + '</pre>'; }, 300);")
    (tmp_path/"page.html").write_text(f"<meta charset=utf-8><script>{stub}</script>{page}<script>{click}</script>",
                                      encoding="utf-8")
    done = subprocess.run([find_browser(), "--headless", "--no-sandbox", "--disable-gpu",
                           f"--user-data-dir={tmp_path/'profile'}", "--virtual-time-budget=3000", "--dump-dom",
                           (tmp_path/"page.html").as_uri()], capture_output=True, text=True, timeout=300)
    shown = re.search("<pre id=\"report\">(.*?)</pre>", done.stdout)
    assert shown, done.stderr[-1000:]
    people, films, losses = *start_factors(toy_ratings()), []
    for _ in range(102):
        people, films, loss = factor_step(people, films, toy_ratings().to_numpy(), toy_rate)
        losses.append(loss)
    wanted = [losses[0], losses[1], losses[101], losses[101], losses[0]]
    assert [float(text.split(": ")[1]) for text in shown[1].split("|")] == pytest.approx(wanted, abs=1e-4)


# What the last full run measured

@pytest.fixture(scope="module")
def run(): return load_run("07_collab")


def measured(run, what): return next(m for m in run.measured if m.what == what)


def test_our_model_beats_the_library_on_every_split(run):
    library, ours = measured(run, "collab_learner"), measured(run, "our fast model")
    assert library.seeds == ours.seeds == [45, 46, 47]
    assert all(mine < theirs - 0.01 for mine, theirs in zip(ours.values, library.values, strict=True))
    assert statistics.median(ours.values) < 0.84


def test_an_epoch_takes_a_small_part_of_the_time(run):
    assert measured(run, "an epoch of the fast model, ratio to collab_learner").value >= 20


@pytest.mark.parametrize("what, most", [("dot product", 1.2), ("with range", 1.0), ("with bias", 1.0),
                                        ("with weight decay", 0.88), ("collab_learner, use_nn", 0.95)])
def test_each_step_has_its_loss_beside_the_published(run, what, most):
    figure = measured(run, what)
    assert figure.value < most and figure.published


def test_the_last_full_run_used_real_data(run):
    assert run.comparable and not run.partial and {d["name"] for d in run.data} == {"ml_100k"}

"What the dives of lesson 7 define, at its edges; and what their last full runs measured"
import html
import json
import os
import re
import statistics
import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from browser import find_browser
from pages import NBS
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score

from course_lib.base.env import CourseError
from course_lib.dives import beat_the_papers, ranking
from course_lib.dives.beat_the_papers import Draws, gibbs, watched
from course_lib.figures.mixture import mixture_figure
from course_lib.lesson.results import load_run

NOISE = 0.5 # Standard deviation of chance in the planted world


def rng(seed=0): return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def world():
    "Ratings from biases and two tastes that are known; a quarter to judge with; one film that nobody rated"
    random, counts = rng(), (400, 241)
    people, films = (np.hstack([0.5*random.normal(size=(n, 1)), random.normal(size=(n, 2))]) for n in counts)
    users, items = np.nonzero(random.random(counts) < 0.8)
    users, items = users[items < 240], items[items < 240]
    truth = 3 + beat_the_papers.product(people, films, users, items)
    held = random.random(len(users)) < 0.25
    return SimpleNamespace(counts=counts, users=users, items=items, truth=truth, people=people, films=films, held=held,
                           ratings=truth + NOISE*random.normal(size=len(users)))


@pytest.fixture(scope="module")
def draws(world):
    seen = ~world.held
    return gibbs(world.users[seen], world.items[seen], world.ratings[seen], world.counts, factors=4, sweeps=60, warm=20)


def held_predictions(world, draws):
    return draws.predict(world.users[world.held], world.items[world.held], low=-99, high=99)


# The sampler

def test_the_noise_floor_is_reached_within_three_per_cent(world, draws):
    error = (held_predictions(world, draws) - world.ratings[world.held]).std()
    floor = (world.truth - world.ratings)[world.held].std()
    assert floor < error < 1.03*floor


def test_the_planted_tastes_are_found_although_the_model_has_two_factors_too_many(world, draws):
    _, films, _ = draws[-1]
    found, planted = (vectors[:240, 1:] - vectors[:240, 1:].mean(0) for vectors in (films, world.films))
    left = planted - found@np.linalg.lstsq(found, planted, rcond=None)[0]
    assert (1 - (left**2).sum(0)/(planted**2).sum(0)).min() > 0.95


def test_a_single_draw_is_worse_than_the_mean(world, draws):
    seen = world.users[world.held], world.items[world.held]
    wrong = lambda guess: ((guess - world.ratings[world.held])**2).mean()
    assert wrong(held_predictions(world, draws)) < min(map(wrong, draws.each(*seen)))


def test_the_table_is_the_mean_of_the_draws(world, draws):
    table = draws.table()
    assert table.shape == world.counts
    assert np.allclose(table[world.users, world.items], draws.predict(world.users, world.items, low=-99, high=99))


def test_a_film_that_nobody_rated_gets_what_is_expected_of_films(world, draws):
    unseen, usual = draws.table()[:, 240].mean(), world.truth.mean()
    assert abs(unseen - usual) < 0.5


def test_predictions_stay_between_the_lowest_and_the_highest_rating(world, draws):
    guesses = draws.predict(world.users, world.items, low=2.5, high=3.5)
    assert guesses.min() == 2.5 and guesses.max() == 3.5


def test_shuffled_ratings_leave_nothing_to_learn(world):
    seen, shuffled = ~world.held, rng(1).permutation(world.ratings[~world.held])
    control = gibbs(world.users[seen], world.items[seen], shuffled, world.counts, factors=4, sweeps=30, warm=10)
    error = ((held_predictions(world, control) - world.ratings[world.held])**2).mean()
    assert error == pytest.approx(world.ratings[world.held].var(), rel=0.05)


def few(seed, **more):
    "A small run: the predictions for its own ratings"
    users, items = np.nonzero(rng().random((20, 10)) < 0.5)
    ratings = rng(5).normal(size=len(users))
    drawn = gibbs(users, items, ratings, (20, 10), factors=2, sweeps=4, warm=2, seed=seed, **more)
    return drawn.predict(users, items)


def test_draws_are_their_seed():
    assert np.array_equal(few(1), few(1)) and not np.array_equal(few(1), few(2))


def test_biases_alone_are_a_model(world):
    seen = ~world.held
    biases = gibbs(world.users[seen], world.items[seen], world.ratings[seen], world.counts, factors=0, sweeps=20)
    error = ((held_predictions(world, biases) - world.ratings[world.held])**2).mean()
    assert biases[0][0].shape == (400, 1) and 1.5 < error < 0.98*world.ratings[world.held].var()


def test_the_same_rating_twice_counts_twice():
    pair, others = (np.array([0]*8), np.array([0]*8)), (np.repeat(np.arange(1, 40), 4), np.tile([0, 1], 78))
    def of_first(times):
        users, items = (np.append(a[:times], b) for a, b in zip(pair, others, strict=True))
        ratings = np.append(np.full(times, 5.), rng().normal(3, 1, len(others[0])))
        drawn = gibbs(users, items, ratings, (40, 2), factors=0, sweeps=200)
        return drawn.predict(np.array([0]), np.array([0]))[0]
    assert of_first(1) < of_first(8) - 0.3


def test_what_is_known_helps_those_who_have_not_rated():
    random = rng(3)
    known = random.normal(size=(150, 2))
    users, items = np.divmod(np.arange(150*30), 30)
    truth = (known@random.normal(size=(2, 30)))[users, items]
    seen = users < 120
    ratings = truth[seen] + 0.3*rng(4).normal(size=seen.sum())
    def error(features):
        drawn = gibbs(users[seen], items[seen], ratings, (150, 30), (features, None), factors=3, sweeps=40)
        return ((drawn.predict(users[~seen], items[~seen], low=-9, high=9) - truth[~seen])**2).mean()
    assert error(known) < 0.05*error(None)


def test_contexts_are_found_and_unknown_ones_count_nothing(world):
    seen, mood = ~world.held, np.array([0.8, -0.8, 0.])
    week = rng(2).integers(0, 3, len(world.users))
    drawn = gibbs(world.users[seen], world.items[seen], (world.ratings + mood[week])[seen], world.counts,
                  contexts=[week[seen]], factors=3, sweeps=30)
    found = sum(effects[0] for _, _, effects in drawn)/len(drawn)
    assert np.allclose(found - found.mean(), mood, atol=0.1)
    pair = np.array([0]), np.array([0])
    assert drawn.predict(*pair, [np.array([3])]) == drawn.predict(*pair, [np.array([99])]) == drawn.predict(*pair)


def test_several_contexts_share_what_they_explain():
    random = rng(6)
    users, items = np.nonzero(random.random((60, 40)) < 0.9)
    week, mood = random.integers(0, 5, len(users)), random.integers(0, 30, len(users))
    added = np.linspace(-1, 1, 5)[week] + np.linspace(-1, 1, 30)[mood]
    ratings = 3 + added + 0.3*random.normal(size=len(users))
    drawn = gibbs(users, items, ratings, (60, 40), contexts=[week, mood], factors=1, sweeps=40)
    error = drawn.predict(users, items, [week, mood], low=-9, high=9) - 3 - added
    assert error.std() < 0.1


@pytest.mark.parametrize("users, items, ratings, meant", [
    ([0, 1], [0], [3, 4], "2, 1 and 2 came"), ([], [], [], "0, 0 and 0 came"),
    ([0, 1], [0, 1], [3, np.nan], "1 of 2 ratings are no numbers"),
    ([0, 5], [0, 1], [3, 4], "Numbers of people must be whole, from 0 to 4"),
    ([0, -1], [0, 1], [3, 4], "from 0 to 4"),
    ([0, 1], [0, 3], [3, 4], "Numbers of films must be whole, from 0 to 2"),
    (["Ann", "Bo"], [0, 1], [3, 4], "pd.factorize"), ([0., 1.], [0, 1], [3, 4], "must be whole")])
def test_ratings_that_cannot_be_used_are_named(users, items, ratings, meant):
    with pytest.raises(CourseError, match=meant): gibbs(users, items, ratings, (5, 3))


@pytest.mark.parametrize("more, meant", [
    (dict(sweeps=10), "Of 10 rounds the first 15 do not count"), (dict(contexts=[np.array([0, -1, 1])]), "from 0"),
    (dict(contexts=[np.array([0, 1])]), "for each rating")])
def test_settings_that_cannot_work_are_refused(more, meant):
    with pytest.raises(CourseError, match=meant): gibbs([0, 1, 1], [0, 0, 1], [3., 4., 5.], (2, 2), **more)


def test_who_watches_what_keeps_the_angles_between_people():
    users, items = np.nonzero(rng().random((12, 30)) < 0.4)
    table = np.zeros((12, 30)); table[users, items] = 1
    table /= np.sqrt(table.sum(1, keepdims=True))
    whole, part = (watched(users, items, (12, 30), width) for width in (150, 3))
    assert np.allclose(whole@whole.T, table@table.T) and part.shape == (12, 3) and np.allclose(part, whole[:, :3])
    without = watched(users[users > 0], items[users > 0], (12, 30))[0]
    assert not without.round(12).any(), "nothing watched, nothing known"


def test_myfm_agrees_on_the_planted_world(world, monkeypatch):
    if "pkg_resources" not in sys.modules: # myfm 0.4 asks it for a version; setuptools from 82 on has none
        monkeypatch.setitem(sys.modules, "pkg_resources", stub := ModuleType("pkg_resources"))
        stub.DistributionNotFound = ImportError
        stub.get_distribution = lambda name: SimpleNamespace(version="0")
    myfm = pytest.importorskip("myfm")
    from scipy.sparse import csr_matrix
    places, n = np.arange(len(world.users)), len(world.users)
    table = csr_matrix((np.ones(2*n), (np.tile(places, 2), np.append(world.users, 400 + world.items))), (n, 641))
    model = myfm.MyFMRegressor(rank=4, random_seed=0)
    model.fit(table[~world.held], world.ratings[~world.held], n_iter=60, n_kept_samples=40,
              group_shapes=list(world.counts))
    theirs = ((model.predict(table[world.held]) - world.ratings[world.held])**2).mean()
    seen = ~world.held
    ours = gibbs(world.users[seen], world.items[seen], world.ratings[seen], world.counts, factors=4, sweeps=60, warm=20)
    error = ((held_predictions(world, ours) - world.ratings[world.held])**2).mean()
    assert error == pytest.approx(theirs, rel=0.03)


def test_no_draw_is_no_prediction():
    with pytest.raises(ZeroDivisionError): Draws(3.).predict(np.array([0]), np.array([0]))


# Lists

@pytest.fixture(scope="module")
def lists():
    random = rng(7)
    scores, liked = random.random((40, 60)), random.random((40, 60)) < 0.1
    liked[3] = False
    return scores, (random.random((40, 60)) < 0.3) & ~liked, liked


@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_ndcg_is_that_of_scikit_learn(k, lists):
    scores, seen, liked = lists
    people = liked.any(1)
    expected = ndcg_score(liked[people], np.where(seen, -1, scores)[people], k=k)
    assert ranking.judge_lists(scores, seen, liked, k)["NDCG"] == pytest.approx(expected)


WITH_RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
given = json.load(sys.stdin)
found = evaluate(Qrels(given["qrels"]), Run(given["run"]), ["precision@5", "recall@5", "ndcg@5"])
print(json.dumps([float(found[name]) for name in ("precision@5", "recall@5", "ndcg@5")]))
"""


def test_all_three_are_those_of_ranx(lists):
    if find_spec("ranx") is None: pytest.skip("ranx is not installed")
    scores, seen, liked = lists
    people = np.flatnonzero(liked.any(1))
    given = {"qrels": {f"p{p}": {f"f{f}": 1 for f in np.flatnonzero(liked[p])} for p in people},
             "run": {f"p{p}": {f"f{f}": float(scores[p, f]) for f in np.flatnonzero(~seen[p])} for p in people}}
    done = subprocess.run([sys.executable, "-c", WITH_RANX], input=json.dumps(given), capture_output=True, text=True,
                          env=os.environ | {"NUMBA_DISABLE_JIT": "1"}) # compiling would take half a minute
    assert done.returncode == 0, done.stderr
    assert list(ranking.judge_lists(scores, seen, liked, 5).values()) == pytest.approx(json.loads(done.stdout))


def test_the_list_worked_out_by_hand():
    scores, liked = np.array([[5., 4, 3, 2, 1, 0]]), np.array([[1, 0, 0, 1, 0, 1]]) == 1
    found = ranking.judge_lists(scores, np.zeros((1, 6), bool), liked, 5)
    ndcg = (1 + 1/np.log2(5))/(1 + 1/np.log2(3) + 0.5)
    assert found == pytest.approx({"precision": 0.4, "recall": 2/3, "NDCG": ndcg})


def test_the_best_possible_list_gets_one_and_seen_films_never_stand_on_it(lists):
    _, seen, liked = lists
    assert ranking.judge_lists(liked.astype(float), seen, liked, 10)["NDCG"] == pytest.approx(1)
    films = ranking.top_films(rng().random(seen.shape), seen)
    assert not np.take_along_axis(seen, films, axis=1).any()
    assert ranking.top_films(np.zeros((1, 5)), np.array([[True, False, False, True, False]]), 3).tolist() == [[1, 2, 4]]


def test_where_fewer_films_are_left_than_places_the_rest_counts_as_missed():
    seen, liked = np.array([[False, True, True]]), np.array([[True, True, False]])
    assert ranking.judge_lists(np.ones((1, 3)), seen, liked, 2)["precision"] == 0.5


def test_lists_that_cannot_be_judged_are_named(lists):
    scores, seen, liked = lists
    with pytest.raises(CourseError, match="Nobody liked anything"): ranking.judge_lists(scores, seen, liked & False)
    with pytest.raises(CourseError, match=r"\(40, 60\) and seen films \(40, 59\)"):
        ranking.top_films(scores, seen[:, 1:])
    for k in (0, 61):
        with pytest.raises(CourseError, match=f"list of {k} out of 60"): ranking.top_films(scores, seen, k)


def test_als_fills_the_holes_of_a_table_that_has_two_factors():
    random = rng(8)
    table = random.normal(size=(60, 2))@random.normal(size=(2, 40))
    table += random.normal(size=(60, 1)) + random.normal(size=40)
    weights = (random.random(table.shape) < 0.7).astype(float)
    found = ranking.als(table*weights, weights, factors=2, ridge=1e-3, rounds=60)
    assert np.abs(found - table)[weights == 0].mean() < 0.01
    assert np.array_equal(found, ranking.als(table*weights, weights, factors=2, ridge=1e-3, rounds=60))


def test_als_without_factors_shrinks_biases():
    values, weights = np.full((3, 2), 2.), np.array([[1., 1], [1, 0], [0, 0]])
    loose, tight = (ranking.als(values, weights, 0, ridge, 30) for ridge in (1e-6, 100.))
    assert np.allclose(loose[0], 2, atol=0.01) and np.abs(tight).max() < 0.2


def test_ease_is_a_ridge_regression_of_each_film_on_all_others():
    table = (rng(9).random((80, 12)) < 0.4).astype(float)
    scores = ranking.ease(table > 0, ridge=5.)
    for film in range(12):
        others = np.delete(table, film, axis=1)
        expected = Ridge(alpha=5., fit_intercept=False).fit(others, table[:, film]).predict(others)
        assert np.allclose(scores[:, film], expected)


# The slider on the page

MIXED = {"weights": [0, 0.5, 1], "quality": {"tastes": [0.1, 0.3, 0.2], "EASE": [0.4, 0.35, 0.2]},
         "filled": {"tastes": [[0.5, 0.5], [0.8, 0.2], [1, 0]], "EASE": [[0.6, 0.4], [0.9, 0.1], [1, 0]]},
         "groups": ["often", "seldom"]}


def test_the_slider_says_what_was_computed(tmp_path):
    "With a stand-in for Plotly: only what is to be drawn is asked for"
    stub = ("window.said = []; window.Plotly = {newPlot: async () => {}, restyle: (plot, data, traces) => "
            "window.said.push([traces[0], data.x?.[0], data.y[0]]), "
            "relayout: (plot, layout) => { if (layout['title.text']) window.said.push(layout['title.text']); }};")
    move = ("setTimeout(() => { window.said = []; const slider = document.querySelector('input'); slider.value = 1; "
            "slider.dispatchEvent(new Event('input')); window.said.push(document.querySelector('output').textContent); "
            "document.body.innerHTML = '<pre id=report>' + JSON.stringify(window.said) + '</pre>'; }, 300);")
    (tmp_path/"page.html").write_text(f"<meta charset=utf-8><script>{stub}</script>{mixture_figure(**MIXED).page()}"
                                      f"<script>{move}</script>", encoding="utf-8")
    done = subprocess.run([find_browser(), "--headless", "--no-sandbox", "--disable-gpu",
                           f"--user-data-dir={tmp_path/'profile'}", "--virtual-time-budget=3000", "--dump-dom",
                           (tmp_path/"page.html").as_uri()], capture_output=True, text=True, timeout=60)
    shown = re.search('<pre id="report">(.*?)</pre>', done.stdout)
    assert shown, done.stderr[-1000:]
    assert json.loads(html.unescape(shown[1])) == [
        [1, [0.5], [0.3]], [2, None, [0.8, 0.2]], [4, [0.5], [0.35]], [5, None, [0.9, 0.1]],
        "tastes: NDCG 0.300, 80 % of all places for the often<br>"
        "EASE: NDCG 0.350, 90 % of all places for the often", "50 %"]


def test_the_page_of_the_slider_holds_no_rating():
    "What the last run put on the page: numbers for each position, five groups, and no list of titles"
    page = next(cell for cell in json.loads((NBS/"dives"/"07_ranking.ipynb").read_text(encoding="utf-8"))["cells"]
                if cell["id"] == "rank-mix")
    [shown] = page["outputs"]
    mixture = json.loads(re.search(r"const mixture = (\{.*?\});", "".join(shown["data"]["text/html"]))[1])
    assert len(mixture["weights"]) == 11 and np.shape(mixture["filled"]) == (2, 11, 5)
    assert np.allclose(np.sum(mixture["filled"], axis=2), 1, atol=1e-3) and mixture["filled"][0][-1][0] > 0.99


# What the dives promise, held against their last full runs

RUNS = {name: load_run(f"dives/{name}") for name in ("07_beat_the_papers", "07_ranking")}


def measured(dive, what, setting, metric):
    "The one figure of a dive's last run of that name, setting and metric"
    [found] = [m for m in RUNS[dive].measured
               if (m.row, m.what, m.setting, m.metric) == ("C8", what, setting, metric)]
    return found


@pytest.mark.parametrize("rung, most", [("biases", 0.89), ("tastes", 0.81), ("who watches what", 0.768),
                                        ("the sitting", 0.755)])
def test_the_ladder_on_random_fifths(rung, most):
    figure = measured("07_beat_the_papers", rung, "random fifths", "MSE")
    assert figure.seeds == [1, 2, 42] and statistics.mean(figure.values) <= most


def test_the_published_figures_are_beaten_without_the_time_of_the_rating():
    assert measured("07_beat_the_papers", "who watches what", "u1", "RMSE").value <= 0.888
    folds = measured("07_beat_the_papers", "who watches what", "u1 to u5", "RMSE")
    assert len(folds.values) == 5 and statistics.mean(folds.values) <= 0.882


def test_choosing_inside_the_training_part_beats_the_published_figure_as_well():
    nested = measured("07_beat_the_papers", "who watches what, settings chosen inside the training part", "u1", "RMSE")
    assert nested.value <= 0.888


def test_the_control_stays_at_the_variance():
    [control] = [m for m in RUNS["07_beat_the_papers"].measured if m.what.startswith("trained on shuffled")]
    assert control.value == pytest.approx(1, abs=0.03)


def test_an_independent_sampler_agrees():
    ours = measured("07_beat_the_papers", "who watches what", "seed 0, on which settings were chosen", "MSE").value
    theirs = measured("07_beat_the_papers", "myFM 0.4, who watches what", "seed 0", "MSE").value
    assert theirs == pytest.approx(ours, rel=0.05)


def test_the_better_error_has_the_worse_list():
    lists = {name: measured("07_ranking", f"lists: {name}", "random fifth, seed 0", "NDCG at 10").value
             for name in ("tastes", "most popular", "implicit ALS", "EASE", "EASE, then tastes")}
    assert list(lists) == sorted(lists, key=lists.get) and lists["EASE"] > 2*lists["tastes"]
    guesses = {name: measured("07_ranking", f"guesses: {name}", "random fifth, seed 0", "MSE").value
               for name in ("tastes", "biases", "mean rating")}
    assert list(guesses) == sorted(guesses, key=guesses.get)


def test_that_is_not_the_luck_of_a_split():
    tastes, popular, ease = (measured("07_ranking", f"lists: {name}", "random fifths", "NDCG at 10")
                             for name in ("tastes", "most popular", "EASE"))
    assert tastes.seeds == [0, 1, 2]
    assert max(tastes.values) < min(popular.values) < max(popular.values) < min(ease.values)


def test_among_rated_films_the_order_turns_round():
    tastes, popular, ease = (
        measured("07_ranking", f"order of the rated films: {name}", "random fifth, seed 0", "NDCG at 5").value
        for name in ("tastes", "most popular", "EASE"))
    assert tastes > ease + 0.05 and tastes > popular + 0.05


def test_by_time_the_lead_over_popularity_is_gone():
    def figure(model, split): return measured("07_ranking", f"lists by split: {model}", split, "NDCG at 10").value
    lead = [figure("EASE", split)/figure("most popular", split) for split in ("random fifth", "by time")]
    assert lead[0] > 1.5 > 1.2 > lead[1]


@pytest.mark.parametrize("name", RUNS)
def test_the_last_full_run_used_real_data(name):
    run = RUNS[name]
    assert run.mode == "full" and run.device and run.versions["torch"] and run.date
    assert [d["name"] for d in run.data] == ["ml_100k"] and run.data[0]["source"] != "stand-in"

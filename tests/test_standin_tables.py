"Made-up tables: the same each time, with the columns and gaps of the real sets, and with rules that hold"
import csv
import random
from statistics import mean, pvariance

import pytest

from course_lib.data import standin_tables
from course_lib.data.standins import RECIPES, build_standin

FILES = {"adult_sample": "adult.csv", "ml_sample": "ratings.csv", "imdb_sample": "texts.csv"}
COLUMNS = {"adult_sample": "age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,"
                           "sex,capital-gain,capital-loss,hours-per-week,native-country,salary",
           "ml_sample": "userId,movieId,rating,timestamp", "imdb_sample": "label,text,is_valid"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("standins")
    def read(name):
        with open(build_standin(name, root)/FILES[name], encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    return {name: read(name) for name in FILES}


@pytest.mark.parametrize("name, rows", [("adult_sample", 3000), ("ml_sample", 3000), ("imdb_sample", 400)])
def test_a_table_has_the_columns_of_the_real_one(tables, name, rows):
    assert ",".join(tables[name][0]) == COLUMNS[name] and len(tables[name]) == rows


@pytest.mark.parametrize("name", FILES)
def test_a_table_is_the_same_every_time(tmp_path, name):
    first, second = ((build_standin(name, tmp_path/part)/FILES[name]).read_bytes() for part in "ab")
    assert first == second


@pytest.mark.parametrize("name, words",
                         [("adult_sample", "made-up"), ("ml_sample", "made-up"), ("imdb_sample", "grammar writes")])
def test_a_reader_is_told_that_nothing_is_real(name, words): assert words in RECIPES[name][2]


@pytest.mark.parametrize("column", COLUMNS["adult_sample"].split(","))
def test_gaps_are_where_the_real_ones_are(tables, column):
    missing = sum(row[column] == "" for row in tables["adult_sample"])
    assert 20 < missing < 80 if column in ("education-num", "occupation") else missing == 0


@pytest.mark.parametrize("column, least, words", [
    ("workclass", 7, {" Private", " ?"}), ("education", 16, {" HS-grad", " Doctorate"}),
    ("marital-status", 6, {" Married-civ-spouse"}),
    ("occupation", 14, {" Sales", " ?"}), ("relationship", 6, {" Husband", " Wife"}),
    ("native-country", 5, {" United-States", " ?"}),
    ("sex", 2, {" Male", " Female"}), ("salary", 2, {"<50k", ">=50k"})])
def test_words_are_those_of_the_real_table(tables, column, least, words):
    seen = {row[column] for row in tables["adult_sample"]}
    assert words <= seen and len(seen) >= least


def test_years_belong_to_the_name_of_the_education(tables):
    years = {name: years for name, (years, _) in standin_tables.EDUCATION.items()}
    assert all(float(row["education-num"]) == years[row["education"]] for row in tables["adult_sample"]
               if row["education-num"])


@pytest.fixture(scope="module")
def salaries(tables):
    "(chance by the rule, whether it came so) of everyone without a gap"
    rows = [row for row in tables["adult_sample"] if row["education-num"] and row["occupation"]]
    return [(standin_tables.salary_chance(row), row["salary"] == ">=50k") for row in rows]


@pytest.mark.parametrize("low, high", [(0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1)])
def test_salaries_come_as_often_as_the_rule_says(salaries, low, high):
    group = [pair for pair in salaries if low <= pair[0] < high]
    expected, seen = (mean(values) for values in zip(*group, strict=True))
    spread = (sum(p*(1 - p) for p, _ in group)**0.5)/len(group)
    assert len(group) > 100 and abs(expected - seen) < 3*spread


def test_the_rule_reaches_its_ceiling_far_above_the_base_rate(tables, salaries):
    base_rate = mean(row["salary"] == "<50k" for row in tables["adult_sample"])
    ceiling, reached = mean(max(p, 1 - p) for p, _ in salaries), mean((p > 0.5) == more for p, more in salaries)
    assert abs(base_rate - 0.76) < 0.01 and abs(reached - ceiling) < 0.015 and ceiling > base_rate + 0.08


@pytest.mark.parametrize("change, up", [
    ({"age": 50}, True), ({"age": 70}, True), ({"age": 20}, False), ({"education-num": 13}, True),
    ({"education-num": 5}, False),
    ({"marital-status": " Married-civ-spouse"}, True), ({"occupation": " Exec-managerial"}, True),
    ({"occupation": " Priv-house-serv"}, False),
    ({"hours-per-week": 60}, True), ({"hours-per-week": 10}, False)])
def test_the_rule_moves_as_it_is_described(change, up):
    person = {"age": 25, "education-num": 9, "marital-status": " Divorced", "occupation": " Craft-repair",
              "hours-per-week": 40}
    assert (standin_tables.salary_chance(person | change) > standin_tables.salary_chance(person)) == up


@pytest.mark.parametrize("column", ["userId", "movieId"])
def test_everyone_and_every_film_has_ratings_enough(tables, column):
    counts = [sum(row[column] == str(number) for row in tables["ml_sample"]) for number in range(1, 61)]
    assert sum(counts) == 3000 and min(counts) > 35


def test_ratings_are_half_stars_and_nobody_rates_twice(tables):
    rows = tables["ml_sample"]
    assert {float(row["rating"]) for row in rows} == {n/2 for n in range(1, 11)}
    assert len({(row["userId"], row["movieId"]) for row in rows}) == len(rows)


def rule_losses(rows, people, films):
    "Squared errors of the rule with these biases and factors"
    expected = [standin_tables.expected_rating(people[int(row["userId"]) - 1], films[int(row["movieId"]) - 1])
                for row in rows]
    return [(float(row["rating"]) - min(max(rule, 0.5), 5))**2 for row, rule in zip(rows, expected, strict=True)]


def test_the_planted_tastes_reach_the_noise_floor(tables):
    rows, floor = tables["ml_sample"], standin_tables.RATING_NOISE**2 + 0.5**2/12
    variance = pvariance([float(row["rating"]) for row in rows])
    assert abs(mean(rule_losses(rows, *standin_tables.planted_tastes())) - floor) < 0.03 and floor < 0.3*variance


@pytest.mark.parametrize("part", [0, 1, 2])
def test_without_a_planted_part_the_loss_is_far_higher(tables, part):
    "Bias, first and second factor of the people: each one counts"
    people, films = standin_tables.planted_tastes()
    without = [tuple(0 if number == part else value for number, value in enumerate(person)) for person in people]
    whole, less = (mean(rule_losses(tables["ml_sample"], side, films)) for side in (people, without))
    assert less > whole + 0.08


@pytest.mark.parametrize("part, count", [("True", 80), ("False", 320)])
def test_half_of_the_reviews_are_positive_in_both_parts(tables, part, count):
    labels = [row["label"] for row in tables["imdb_sample"] if row["is_valid"] == part]
    assert len(labels) == count and labels.count("positive") == count/2


def test_no_review_comes_twice(tables):
    assert len({row["text"] for row in tables["imdb_sample"]}) == 400


@pytest.mark.parametrize("positive", [True, False])
def test_not_turns_a_judgement_round(positive):
    words = {True: standin_tables.PRAISE, False: standin_tables.BLAME}
    sentences = [standin_tables.draw_sentence(positive, random.Random(seed)) for seed in range(300)]
    for sentence in sentences: assert sentence.rstrip(".").split()[-1] in words[positive != ("not" in sentence.split())]
    assert 10 < sum("not" in sentence.split() for sentence in sentences) < 60


def test_counting_words_tells_the_sentiment_of_most_reviews(tables):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    texts, labels = {}, {}
    for part in ("True", "False"):
        rows = [row for row in tables["imdb_sample"] if row["is_valid"] == part]
        texts[part], labels[part] = [row["text"] for row in rows], [row["label"] for row in rows]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts["False"], labels["False"])
    assert 0.9 < model.score(texts["True"], labels["True"]) < 1

"Made-up tables: the same on every machine, with the columns of the real sets, and with rules that hold"
import csv
import statistics

import pytest

from course_lib import standin_tables
from course_lib.standins import build_standin

COLUMNS = {"adult_sample": ("adult.csv", "age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,sex,"
                            "capital-gain,capital-loss,hours-per-week,native-country,salary"),
           "ml_sample": ("ratings.csv", "userId,movieId,rating,timestamp"), "imdb_sample": ("texts.csv", "label,text,is_valid")}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("standins")
    def read(name):
        with open(build_standin(name, root)/COLUMNS[name][0], encoding="utf-8", newline="") as file: return list(csv.DictReader(file))
    return {name: read(name) for name in COLUMNS}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_the_columns_of_the_real_one(tables, name): assert ",".join(tables[name][0]) == COLUMNS[name][1]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_is_the_same_every_time(tmp_path, name):
    first, second = ((build_standin(name, tmp_path/part)/COLUMNS[name][0]).read_bytes() for part in "ab")
    assert first == second


@pytest.mark.parametrize("column, gaps", [("education-num", True), ("occupation", True), ("age", False), ("salary", False)])
def test_gaps_are_where_the_real_ones_are(tables, column, gaps):
    missing = sum(row[column] == "" for row in tables["adult_sample"])
    assert (15 < missing < 100) if gaps else missing == 0


def test_salaries_follow_the_rule(tables):
    rows = [row for row in tables["adult_sample"] if row["education-num"] and row["occupation"]]
    chances = [standin_tables.salary_chance(row) for row in rows]
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)):
        group = [(p, row["salary"] == ">=50k") for p, row in zip(chances, rows, strict=True) if low <= p < high]
        expected, seen = (statistics.mean(values) for values in zip(*group, strict=True))
        assert len(group) > 100 and abs(expected - seen) < 0.06


def test_the_more_common_salary_is_a_weak_answer(tables):
    common = statistics.mean(row["salary"] == "<50k" for row in tables["adult_sample"])
    assert 0.7 < common < 0.8


def test_every_person_and_film_can_be_learned(tables):
    rows = tables["ml_sample"]
    people, films = ([row[name] for row in rows] for name in ("userId", "movieId"))
    assert len({(row["userId"], row["movieId"]) for row in rows}) == len(rows) == 2880
    assert all(people.count(person) == 48 for person in set(people)) and min(films.count(film) for film in set(films)) > 30
    assert {float(row["rating"]) for row in rows} <= {n/2 for n in range(1, 11)}


def test_half_of_the_reviews_are_positive_in_both_parts(tables):
    for part in ("True", "False"):
        labels = [row["label"] for row in tables["imdb_sample"] if row["is_valid"] == part]
        assert labels.count("positive") == len(labels)/2 >= 50


def test_words_of_praise_alone_are_not_enough(tables):
    "Who passes over 'not' and counter-examples is wrong sometimes, so that there is something to learn"
    right = statistics.mean((any(word in row["text"] for word in standin_tables.PRAISE)) == (row["label"] == "positive") for row in tables["imdb_sample"])
    assert 0.5 < right < 0.95

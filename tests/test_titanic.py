"The passengers of the Titanic: what is wrong with a table is named, and the cleaned columns follow the stand-in's rule"
import numpy as np
import pandas as pd
import pytest
from course_lib.base.env import CourseError
from course_lib.data.standins import TITANIC_RULE, build_standin, survival_chance
from course_lib.tables.titanic import cleaned_columns, titanic_rows


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return pd.read_csv(build_standin("titanic", tmp_path_factory.mktemp("standin"))/"train.csv").head(120)


@pytest.mark.parametrize("gaps", ["drop", "fill"])
def test_rows_have_no_gaps_and_are_left_as_they_were(small, gaps):
    before, rows = small.copy(), titanic_rows(small, gaps)
    known = small[["Age", "Embarked"]].notna().all(axis=1)
    wanted = small[known] if gaps == "drop" else small
    assert not rows.isna().any(axis=None) and list(rows.index) == list(range(len(wanted)))
    assert rows["PassengerId"].tolist() == wanted["PassengerId"].tolist() and small.equals(before)


def test_cleaned_columns_are_those_of_the_rule(small):
    "The stand-in computes them on its own, a passenger at a time; the oldest passenger is among the first rows"
    rows = titanic_rows(small)
    cleaned = cleaned_columns(rows)
    assert list(cleaned) == list(TITANIC_RULE) and set(cleaned.dtypes) == {np.dtype(float)}
    chances = [survival_chance(row) for row in rows.to_dict("records")]
    assert np.allclose(cleaned @ list(TITANIC_RULE.values()), chances, atol=1e-12)


@pytest.mark.parametrize("change, words", [
    (lambda t: t.drop(columns="Fare"), "lacks the column Fare"),
    (lambda t: t.drop(columns=["Age", "Sex"]), "lacks the columns Sex, Age"),
    (lambda t: t.drop(columns="Survived"), "test.csv has no answers"),
    (lambda t: t.head(0), "has no rows"),
    (lambda t: pd.concat([t, t[["Age"]]], axis=1), "has the column Age twice"),
    (lambda t: pd.concat([t, t], axis=1), "has the columns .* twice"),
    (lambda t: t.assign(Survived=2), "Survived should hold 0 or 1, and row 1 has 2"),
    (lambda t: t.assign(Survived=float("nan")), "Survived should hold 0 or 1, and row 1 has nothing"),
    (lambda t: t.assign(Fare=float("nan")), "Fare should hold finite numbers from 0 up, and row 1 has nothing"),
    (lambda t: t.assign(Fare=float("inf")), "row 1 has inf"),
    (lambda t: t.assign(Fare=-1.0), "row 1 has -1.0"),
    (lambda t: t.assign(Age=float("inf")), "Age should hold finite numbers"),
    (lambda t: t.assign(Age=None), "Column Age is empty"),
    (lambda t: t.assign(Age=0), "all ages are 0"),
    (lambda t: t.assign(Embarked="X"), "Embarked should hold S or C or Q, and row 1 has 'X'"),
    (lambda t: t.head(2).assign(Age=[None, 3], Embarked=["S", None]), "No row has both age and port"),
])
def test_bad_tables(change, words, small):
    with pytest.raises(CourseError, match=words): titanic_rows(change(small))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3,4\n5,6,7,8,9\n"])
def test_files_that_are_no_table(content, tmp_path):
    (tmp_path/"train.csv").write_bytes(content)
    with pytest.raises(CourseError, match="train.csv|lacks"): titanic_rows(tmp_path/"train.csv")


@pytest.mark.parametrize("gaps", ["fil", None])
def test_unknown_ways_with_gaps(small, gaps):
    with pytest.raises(CourseError, match="can be 'drop' or 'fill'"): titanic_rows(small, gaps)

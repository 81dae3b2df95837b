"Stand-ins: the same everywhere, learnable, and never half built"
import csv, hashlib, multiprocessing, os, subprocess, sys

import pytest

from course_lib.data import standins
from course_lib.base.env import CourseError
from course_lib.base.catalogue import lessons


def digest(folder):
    "One hash over the names and contents of a folder's files"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.relative_to(folder).as_posix().encode() + file.read_bytes()
                                   for file in files)).hexdigest()


OWN = [name for name,
       (fill, _, _) in standins.RECIPES.items()
       if fill.__module__ == standins.__name__] # others have tests of their own


@pytest.mark.parametrize("name", OWN)
def test_two_builds_are_equal(name, tmp_path):
    first, second = (standins.build_standin(name, tmp_path/part) for part in "ab")
    assert digest(first) == digest(second)


@pytest.mark.parametrize("name, parts, labels", [
    ("mnist_sample", ("train", "valid"), "37"), ("mnist", ("training", "testing"), "0123456789")])
def test_layout_is_that_of_the_real_set(name, parts, labels, tmp_path):
    from PIL import Image
    folder = standins.build_standin(name, tmp_path)
    for part in parts:
        assert sorted(p.name for p in (folder/part).iterdir()) == list(labels)
    with Image.open(next(folder.rglob("*.png"))) as picture:
        assert (picture.size, picture.mode) == ((28, 28), "L")


def test_parts_share_no_picture(tmp_path):
    folder = standins.build_standin("mnist", tmp_path)
    train, test = ({p.name for p in (folder/part).rglob("*.png")} for part in ("training", "testing"))
    assert not train & test and len(train) > 3*len(test)


def test_digits_can_be_learned(tmp_path):
    "The nearest average digit must be right far more often than chance: the labels belong to the pictures"
    import numpy as np
    from PIL import Image
    folder = standins.build_standin("mnist", tmp_path)
    read = lambda part, digit: np.stack([np.asarray(Image.open(p), float)
                                         for p in sorted((folder/part/str(digit)).iterdir())])
    means = np.stack([read("training", d).mean(0) for d in range(10)])
    right = [(((read("testing", d)[:, None]-means)**2).mean((2, 3)).argmin(1) == d).mean() for d in range(10)]
    assert np.mean(right) > 0.85


def test_unknown_name(tmp_path):
    with pytest.raises(CourseError, match="Did you mean 'mnist"): standins.build_standin("mnst", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.id)
def test_every_set_of_a_lesson_has_a_standin(lesson):
    "In a fresh process, as importing any other module might have registered it"
    program = ("from course_lib.lesson.start import RECIPES; "
               f"print([name for name in {lesson.datasets} if name not in RECIPES])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("number, words", [(28, "No space left"), (30, "Read-only")])
def test_full_or_read_only_disk(number, words, tmp_path, monkeypatch):
    def fail(folder): raise OSError(number, os.strerror(number))
    monkeypatch.setitem(standins.RECIPES, "mnist", (fail, 1, ""))
    with pytest.raises(CourseError, match=words): standins.build_standin("mnist", tmp_path)
    assert not list(tmp_path.iterdir())


def build(root): return str(standins.build_standin("mnist_sample", root))


def test_two_processes_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.map(build, [tmp_path]*2)
    assert len(set(folders)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mnist_sample-v1"]


TITANIC_COLUMNS = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked".split(",")


def read_rows(file):
    with open(file, encoding="utf-8", newline="") as opened: return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def passengers(tmp_path_factory):
    return read_rows(standins.build_standin("titanic", tmp_path_factory.mktemp("titanic"))/"train.csv")


def test_titanic_has_the_columns_of_the_real_table(tmp_path):
    folder = standins.build_standin("titanic", tmp_path)
    train, test = read_rows(folder/"train.csv"), read_rows(folder/"test.csv")
    assert list(train[0]) == TITANIC_COLUMNS and list(test[0]) == [name for name in TITANIC_COLUMNS
                                                                   if name != "Survived"]
    assert (len(train), len(test)) == (600, 200)
    numbers = [row["PassengerId"] for row in train + test]
    assert len(set(numbers)) == 800


@pytest.mark.parametrize("column, least, most", [("Age", 0.15, 0.25), ("Cabin", 0.7, 0.84), ("Embarked", 0.001, 0.01),
                                                 ("Fare", 0, 0), ("Sex", 0, 0), ("Survived", 0, 0)])
def test_titanic_gaps(passengers, column, least, most):
    assert least <= sum(row[column] == "" for row in passengers)/len(passengers) <= most


@pytest.mark.parametrize("column, words", [("Sex", {"male", "female"}), ("Embarked", {"S", "C", "Q", ""}),
                                           ("Pclass", {"1", "2", "3"}), ("Survived", {"0", "1"})])
def test_titanic_words(passengers, column, words):
    assert {row[column] for row in passengers} == words


def test_titanic_names_are_invented(passengers):
    assert len(passengers) > 500 and all(row["Name"] == f"Passenger {row['PassengerId']}" for row in passengers)


@pytest.fixture(scope="module")
def cleaned(passengers):
    "Inputs, answers and the rule's chances of the passengers without a gap"
    import numpy as np
    import pandas as pd
    from course_lib.tables.titanic import cleaned_columns, titanic_rows
    complete = [row for row in passengers if row["Age"] and row["Embarked"]]
    rows = titanic_rows(pd.DataFrame(complete).astype({"Survived": int, "Pclass": int}))
    chances = np.array([standins.survival_chance(row) for row in complete])
    return cleaned_columns(rows).to_numpy(), rows["Survived"].to_numpy(), chances


def test_titanic_rule_is_linear_and_a_chance(cleaned):
    import numpy as np
    x, _, chance = cleaned
    assert 0 < chance.min() and chance.max() < 1
    assert np.allclose(x @ list(standins.TITANIC_RULE.values()), chance, atol=1e-12)


def test_least_squares_finds_the_planted_weights(cleaned):
    "Each weight within three standard errors of the planted one, and the strong ones far from nothing"
    import numpy as np
    x, y, chance = cleaned
    planted, found = np.array(list(standins.TITANIC_RULE.values())), np.linalg.lstsq(x, y, rcond=None)[0]
    inverse = np.linalg.inv(x.T@x)
    errors = np.sqrt(np.diag(inverse @ (x.T*(chance*(1 - chance))) @ x @ inverse))
    assert (abs(found - planted) < 3*errors).all()
    names = list(standins.TITANIC_RULE)
    for name in ("Male", "Pclass 1"):
        at = names.index(name)
        assert abs(found[at]) > 3*errors[at] and found[at]*planted[at] > 0


def test_least_squares_reaches_the_noise_floor(cleaned):
    "On its own rows a little below the floor, as ten weights allow; the mean alone is far above"
    import numpy as np
    x, y, chance = cleaned
    floor = (chance*(1 - chance)).mean()
    spread = np.sqrt((chance*(1 - chance)*(1 - 2*chance)**2).sum())/len(y)
    loss = ((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y)**2).mean()
    assert abs(loss - floor*(1 - x.shape[1]/len(y))) < 3*spread
    assert y.var() > floor + 5*spread

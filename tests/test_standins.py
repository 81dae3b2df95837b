"Stand-ins: the same everywhere, learnable, and never half built"
import hashlib, multiprocessing, os

import pytest

from course_lib import standins
from course_lib.env import CourseError


def digest(folder):
    "One hash over the names and contents of a folder's files"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.relative_to(folder).as_posix().encode() + file.read_bytes() for file in files)).hexdigest()


@pytest.mark.parametrize("name", standins.RECIPES)
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
    read = lambda part, digit: np.stack([np.asarray(Image.open(p), float) for p in sorted((folder/part/str(digit)).iterdir())])
    means = np.stack([read("training", d).mean(0) for d in range(10)])
    right = [(((read("testing", d)[:, None]-means)**2).mean((2, 3)).argmin(1) == d).mean() for d in range(10)]
    assert np.mean(right) > 0.85


def test_unknown_name(tmp_path):
    with pytest.raises(CourseError, match="Did you mean 'mnist"): standins.build_standin("mnst", tmp_path)
    assert not list(tmp_path.iterdir())


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

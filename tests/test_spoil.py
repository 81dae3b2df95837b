"Spoiling a set on purpose: as much as was asked for, nothing lost, and the truth is kept"
from collections import Counter

import pytest
from PIL import Image

from course_lib.pictures import spoil

COLOURS = {"black": (30, 30, 30), "grizzly": (150, 90, 40), "teddy": (220, 60, 60)}


def write_photos(root, each=10, size=(12, 9)):
    "A folder of pictures for each kind, with the same names in all of them"
    for kind, colour in COLOURS.items():
        (root/kind).mkdir(parents=True)
        for number in range(each): Image.new("RGB", size, colour).save(root/kind/f"{number}.png")
    return root


@pytest.fixture
def photos(tmp_path): return write_photos(tmp_path/"photos")


def contents(root):
    "{path: content} of all files of a folder"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# Breaking, numbering, swapping

def readable(file):
    try: Image.open(file).load()
    except OSError: return False
    return True


@pytest.mark.parametrize("number, fault, left", [
    (0, "ends half way", lambda whole: whole[:len(whole)//2]),
    (1, "a page of text", lambda _: b"<html>Too many requests</html>"),
    (2, "empty", lambda _: b""), (3, "ends half way", lambda whole: whole[:len(whole)//2])])
def test_a_broken_file_is_what_its_fault_says_and_no_other_is_touched(photos, number, fault, left):
    before, file = contents(photos), photos/"teddy"/"3.png"
    assert spoil.break_one(file, number) == fault and not readable(file)
    assert contents(photos) == before | {"teddy/3.png": left(before["teddy/3.png"])}


def test_numbers_make_names_unique_and_lose_nothing(photos):
    (photos/"black"/"0.png").rename(photos/"black"/"0.JPG")
    before = contents(photos)
    kinds = spoil.number_files(photos)
    after = contents(photos)
    assert sorted(after.values()) == sorted(before.values())
    assert {name.rpartition("/")[2]: name.partition("/")[0] for name in after} == kinds and len(kinds) == 30
    assert sorted(name.partition(".")[0] for name in kinds) == [f"{number:04}" for number in range(30)]
    assert [kind for name, kind in kinds.items() if name.endswith(".JPG")] == ["black"]
    assert spoil.number_files(photos) != kinds, "numbered again it is another order, and still whole"
    assert sorted(contents(photos).values()) == sorted(before.values())


@pytest.mark.parametrize("share, count", [(0., 0), (0.1, 3), (0.5, 15), (1., 30)])
def test_swapped_labels_are_wrong_and_all_pictures_stay(photos, share, count):
    truth, before = spoil.number_files(photos), contents(photos)
    swapped = spoil.swap_labels(photos, share)
    now = {name.rpartition("/")[2]: name.partition("/")[0] for name in contents(photos)}
    assert len(swapped) == count and {name for name in now if now[name] != truth[name]} == set(swapped)
    assert {name: now[name] for name in swapped} == swapped
    assert sorted(contents(photos).values()) == sorted(before.values())


# All of it

@pytest.mark.parametrize("labels, files", [(0.1, 0.04), (0., 0.1), (0.2, 0.), (0.5, 0.5)])
def test_a_spoiled_set_has_as_many_faults_as_asked_for_and_no_picture_has_two(photos, labels, files):
    before = contents(photos)
    truth = spoil.spoil(photos, labels, files)
    now = {name.rpartition("/")[2]: photos/name for name in contents(photos)}
    wrong = {name for name, file in now.items() if file.parent.name != truth[name]}
    broken = {name for name, file in now.items() if not readable(file)}
    assert (len(truth), len(wrong)) == (30, round(30*labels)) and set(truth) == set(now)
    assert len(broken) == round(30*files) and not wrong & broken
    assert sorted(truth.values()) == sorted(name.partition("/")[0] for name in before)
    whole = Counter(now[name].read_bytes() for name in now if name not in broken)
    assert not whole - Counter(before.values())


def test_a_set_is_spoiled_in_the_same_way_for_the_same_seed(tmp_path):
    roots = [write_photos(tmp_path/name) for name in "abc"]
    truths = [spoil.spoil(root, seed=seed) for root, seed in zip(roots, (1, 1, 2), strict=True)]
    first, again, other = (contents(root) for root in roots)
    assert truths[0] == truths[1] != truths[2] and first == again != other

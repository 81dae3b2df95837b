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


# Spoiling, numbering, keeping aside, swapping

def readable(file):
    try: Image.open(file).load()
    except OSError: return False
    return True


@pytest.mark.parametrize("count", [0, 1, 7, 10])
def test_as_many_pictures_are_spoiled_as_asked_for_and_no_other(photos, count):
    before = contents(photos)
    broken = spoil.break_files(photos/"teddy", count)
    changed = [name for name, content in contents(photos).items() if content != before[name]]
    assert len(changed) == count and {f"teddy/{name}" for name in broken} == set(changed)
    assert [name for name in changed if readable(photos/name)] == []
    left = {"ends half way": lambda whole: whole[:len(whole)//2], "empty": lambda whole: b"",
            "a page of text": lambda whole: b"<html>Too many requests</html>"}
    for name, fault in broken.items(): assert (photos/"teddy"/name).read_bytes() == left[fault](before[f"teddy/{name}"])
    assert len(set(broken.values())) == min(count, 3)


def test_the_same_pictures_are_spoiled_for_the_same_seed(tmp_path):
    roots = [write_photos(tmp_path/name)/"black" for name in "abc"]
    first, again, other = (spoil.break_files(root, 4, seed) for root, seed in zip(roots, (1, 1, 2), strict=True))
    assert first == again != other


def test_more_than_there_are_cannot_be_spoiled(photos):
    before = contents(photos)
    with pytest.raises(ValueError, match="[Ll]arger"): spoil.break_files(photos/"black", 11)
    assert contents(photos) == before


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


@pytest.mark.parametrize("share, each", [(0., 0), (0.2, 2), (0.25, 2), (0.31, 3), (1., 10)])
def test_the_same_share_of_every_class_is_kept_aside(photos, tmp_path, share, each):
    before = contents(photos)
    moved = spoil.set_aside(photos, tmp_path/"aside", share=share)
    assert Counter(file.parent.name for file in moved) == Counter({kind: each for kind in COLOURS if each})
    assert all(file.is_file() for file in moved)
    together = contents(photos) | (contents(tmp_path/"aside") if each else {})
    assert together == before and len(contents(photos)) == 30 - 3*each


def test_other_files_and_the_seed_decide_nothing_else(tmp_path):
    roots = [write_photos(tmp_path/name) for name in "abc"]
    (roots[0]/"readme.txt").write_text("no picture")
    names = []
    for root, seed in zip(roots, (1, 1, 2), strict=True):
        spoil.set_aside(root, tmp_path/f"aside {root.name}", seed=seed)
        names.append(set(contents(tmp_path/f"aside {root.name}")))
    assert names[0] == names[1] != names[2] and (roots[0]/"readme.txt").is_file()


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

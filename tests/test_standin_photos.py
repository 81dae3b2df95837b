"Drawn pictures: the same on every machine, laid out as the real sets, and with what was planted in them"
import hashlib
import random

import numpy as np
import pytest
from PIL import Image

from course_lib import standin_photos
from course_lib.standins import build_standin


def pixels(picture): return hashlib.sha256(np.asarray(picture).tobytes()).hexdigest()


@pytest.mark.parametrize("draw, kinds", [(standin_photos.draw_pet, standin_photos.BREEDS), (standin_photos.draw_bear, standin_photos.BEARS)])
def test_a_drawing_depends_on_its_seed_and_kind_only(draw, kinds):
    seen = {(kind, seed): pixels(draw(kind, random.Random(seed))) for kind in kinds for seed in (1, 2)}
    assert len(set(seen.values())) == 2*len(kinds)
    assert all(pixels(draw(kind, random.Random(seed))) == known for (kind, seed), known in seen.items())


@pytest.mark.parametrize("seed", range(5))
def test_every_pixel_of_a_street_has_a_class_and_its_colour(seed):
    picture, labels = standin_photos.draw_street(random.Random(seed))
    colours, numbers = np.asarray(picture, dtype=float), np.asarray(labels)
    assert picture.size == labels.size == (128, 96) and numbers.max() < len(standin_photos.STREET_CLASSES)
    for number, typical in enumerate(standin_photos.STREET_CLASSES.values()):
        if (numbers == number).sum() < 50: continue
        hue = colours[numbers == number].mean(0)
        assert np.abs(hue/hue.sum() - np.array(typical)/sum(typical)).max() < 0.04


@pytest.fixture(scope="module")
def root(tmp_path_factory): return tmp_path_factory.mktemp("standins")


def test_pets_are_named_after_their_breeds(root):
    names = [file.name.rsplit("_", 1)[0] for file in (build_standin("pets", root)/"images").iterdir()]
    assert {name: names.count(name) for name in set(names)} == standin_photos.PET_COUNTS
    for name in set(names): assert name[0].isupper() == (standin_photos.BREEDS[name][0] == "cat")


def test_backgrounds_do_not_give_the_animal_away(root):
    "Corners, where no animal sits, tell cat from dog no better than a coin"
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    files = sorted((build_standin("pets", root)/"images").iterdir())
    corners = [np.asarray(Image.open(file))[:16, [0, 1, 2, 3, -4, -3, -2, -1]].mean((0, 1)) for file in files]
    score = cross_val_score(LogisticRegression(), corners, [file.name[0].isupper() for file in files], cv=5).mean()
    assert score < 0.65


def test_bears_lie_in_a_folder_for_each_kind(root):
    folder = build_standin("bears", root)
    assert {path.name: len(list(path.iterdir())) for path in folder.iterdir()} == dict.fromkeys(standin_photos.BEARS, 70)
    with Image.open(folder/"teddy"/"1.jpg") as picture: assert picture.size == (128, 128) and picture.mode == "RGB"


def test_streets_have_their_labels_and_codes(root):
    folder = build_standin("camvid_tiny", root)
    codes = (folder/"codes.txt").read_text(encoding="utf-8").split()
    pictures, labels = ({file.stem for file in (folder/name).iterdir()} for name in ("images", "labels"))
    assert codes == list(standin_photos.STREET_CLASSES) and labels == {f"{name}_P" for name in pictures} and len(pictures) == 60

"The pictures of apps and widgets are there, small, and show what the package shows now; no picture without a browser"
import json

import pytest
from PIL import Image

from course_lib.base.env import CourseError, checkout
from course_lib.tools import browser, screenshots as module
from course_lib.tools.screenshots import APPS, MOST_BYTES, WIDGETS, fingerprints, out_of_step, save_small, screenshots

IMAGES = checkout()/"nbs"/"images"
NAMES = list(WIDGETS | APPS)


def test_the_pictures_are_in_step():
    assert out_of_step(IMAGES) == [], "these pictures show what is no more: run `course screenshots`"
    assert list(json.loads((IMAGES/"screenshots.json").read_text(encoding="utf-8"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_and_can_be_read(name):
    file = IMAGES/f"{name}.jpg"
    with Image.open(file) as picture: assert picture.format == "JPEG" and min(picture.size) >= 100
    assert file.stat().st_size <= MOST_BYTES


def test_a_change_of_what_is_shown_asks_for_new_pictures(tmp_path, monkeypatch):
    before = fingerprints()
    package = tmp_path/"course_lib"
    for name, (_, sources) in (WIDGETS | APPS).items():
        for pattern in sources:
            for file in module.Path(module.course_lib.__file__).parent.glob(pattern):
                (package/file.relative_to(checkout()/"course_lib")).parent.mkdir(parents=True, exist_ok=True)
                (package/file.relative_to(checkout()/"course_lib")).write_bytes(file.read_bytes())
        assert name in before
    monkeypatch.setattr(module.course_lib, "__file__", str(package/"__init__.py"))
    assert fingerprints() == before
    with open(package/"apps"/"widget_app.py", "a") as file: file.write("# %% ../another/address\n")
    assert fingerprints() == before, "nbdev's own lines do not count"
    with open(package/"apps"/"widget_app.py", "a") as file: file.write("another = 1\n")
    with open(package/"assets"/"web"/"style.css", "a") as file: file.write("body { color: navy }\n")
    after = fingerprints()
    assert {name for name in NAMES if after[name] != before[name]} == {
        "02_widget_app", "02_browser_app", "02_browser_app_phone", "02_teach", "02_teach_phone"}


def test_without_a_browser_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match=r"^No browser was found that can be used: install Chromium [^\n]*$"):
        screenshots(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_large_picture_becomes_small(tmp_path):
    save_small(Image.effect_noise((1500, 1000), 90), tmp_path/"noise.jpg")
    assert (tmp_path/"noise.jpg").stat().st_size <= MOST_BYTES

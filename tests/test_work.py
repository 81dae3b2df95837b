"A folder to work in: what is new after an update, and that nothing of a learner's is lost"
import os

import pytest

from course_lib.base.env import CourseError, checkout
from course_lib.tools import work
from course_lib.tools.work import work_in


@pytest.fixture
def course(tmp_path):
    for name in ("nbs/01_intro.ipynb", "nbs/02_deployment.ipynb", "nbs/images/card.png", "clean/01_intro.ipynb"):
        write(tmp_path/"course"/name, f"{name}, first")
    return tmp_path/"course"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_real_course_is_copied_whole(tmp_path):
    done = work_in(tmp_path/"mine")
    pages = work.pages_of(checkout())
    assert {"01_intro.ipynb", "dives/01_is_it_real.ipynb",
            "solutions/04_mnist.ipynb", "clean/04_mnist.ipynb"} <= set(pages)
    assert done.new == list(pages) and not any(page.startswith("lib/") for page in pages)
    for page, source in pages.items(): assert (tmp_path/"mine"/page).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("mine, theirs, kept, beside", [
    (None, None, "first", None), (None, "second", "second", None), ("own", None, "own", None),
    ("own", "second", "own", "second"), ("second", "second", "second", None)])
def test_both_may_have_changed(course, tmp_path, mine, theirs, kept, beside):
    folder, name = tmp_path/"mine", "nbs/01_intro.ipynb"
    work_in(folder, course)
    text = lambda version: version if version in (None, "own") else f"{name}, {version}"
    if mine: write(folder/"01_intro.ipynb", text(mine))
    if theirs: write(course/name, text(theirs))
    work_in(folder, course)
    assert (folder/"01_intro.ipynb").read_text() == text(kept)
    new = folder/"01_intro.new.ipynb"
    assert (new.read_text() if new.exists() else None) == text(beside)


def test_an_update_is_announced_once(course, tmp_path):
    work_in(tmp_path/"mine", course)
    write(tmp_path/"mine"/"01_intro.ipynb", "own")
    write(course/"nbs"/"01_intro.ipynb", "second")
    assert work_in(tmp_path/"mine", course).beside == {"01_intro.ipynb": "01_intro.new.ipynb"}
    assert str(work_in(tmp_path/"mine", course)).startswith("Nothing is new")


def test_a_new_version_that_the_reader_works_in_is_not_written_over(course, tmp_path):
    folder, new = tmp_path/"mine", tmp_path/"mine"/"01_intro.new.ipynb"
    work_in(folder, course)
    write(folder/"01_intro.ipynb", "own")
    for version in ("second", "third"): # an untouched one is brought up to date
        write(course/"nbs"/"01_intro.ipynb", version)
        assert work_in(folder, course).beside == {"01_intro.ipynb": new.name} and new.read_text() == version
    write(new, "own too")
    for version in ("fourth", "fifth"):
        write(course/"nbs"/"01_intro.ipynb", version)
        assert work_in(folder, course).beside == {"01_intro.ipynb": "01_intro.new-2.ipynb"}
        assert (folder/"01_intro.new-2.ipynb").read_text() == version
    assert new.read_text() == "own too" and (folder/"01_intro.ipynb").read_text() == "own"


def test_a_page_that_was_deleted_comes_back_only_when_it_changes(course, tmp_path):
    work_in(tmp_path/"mine", course)
    (tmp_path/"mine"/"02_deployment.ipynb").unlink()
    work_in(tmp_path/"mine", course)
    assert not (tmp_path/"mine"/"02_deployment.ipynb").exists()
    write(course/"nbs"/"02_deployment.ipynb", "second")
    assert work_in(tmp_path/"mine", course).new == ["02_deployment.ipynb"]


@pytest.mark.parametrize("stop", range(1, 7))
def test_a_stop_in_the_middle_loses_nothing(course, tmp_path, monkeypatch, stop):
    folder, copied = tmp_path/"mine", []
    work_in(folder, course)
    write(folder/"01_intro.ipynb", "own")
    for name in ("nbs/01_intro.ipynb", "nbs/02_deployment.ipynb", "clean/01_intro.ipynb"): write(course/name, "second")
    real = os.replace
    def replace(*paths):
        copied.append(paths)
        if len(copied) == stop: raise KeyboardInterrupt
        real(*paths)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace)
        with pytest.raises(KeyboardInterrupt): work_in(folder, course)
    work_in(folder, course)
    assert (folder/"01_intro.ipynb").read_text() == "own"
    assert [(folder/name).read_text() for name in ("02_deployment.ipynb", "clean/01_intro.ipynb")] == ["second"]*2
    assert (folder/"01_intro.new.ipynb").read_text() == "second"
    assert not list(folder.rglob("*.part"))


def test_changes_are_not_lost_where_the_note_is(course, tmp_path):
    work_in(tmp_path/"mine", course)
    (tmp_path/"mine"/work.NOTE).unlink()
    write(tmp_path/"mine"/"01_intro.ipynb", "own")
    assert work_in(tmp_path/"mine", course).beside == {"01_intro.ipynb": "01_intro.new.ipynb"}
    assert (tmp_path/"mine"/"01_intro.ipynb").read_text() == "own"


@pytest.mark.parametrize("note", ["[]", "{", '{"../x.ipynb": "0"}', '{"/etc/x": "0"}', '{"x.ipynb": 3}'])
def test_a_note_that_is_none_stops_before_anything_is_written(course, tmp_path, note):
    write(tmp_path/"mine"/work.NOTE, note)
    with pytest.raises(CourseError): work_in(tmp_path/"mine", course)
    assert sorted(path.name for path in (tmp_path/"mine").iterdir()) == sorted([work.NOTE, ".course-work.lock"])


def test_wrong_places(course, tmp_path):
    (tmp_path/"file").write_text("x")
    with pytest.raises(CourseError, match="is a file"): work_in(tmp_path/"file", course)
    with pytest.raises(CourseError, match="inside of the repository"): work_in(course/"mine", course)
    with pytest.raises(CourseError, match="inside of the repository"): work_in(course, course)


def test_the_installed_package_says_where_notebooks_are(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "checkout", lambda: None)
    with pytest.raises(CourseError, match="git clone"): work_in(tmp_path/"mine")

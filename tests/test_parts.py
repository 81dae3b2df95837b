"What holds for every kind of app: what is refused, in which words, and what an update leaves alone"
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import broken_bundles
from PIL import Image
from small_runtime import pretend_runtime

from course_lib.apps import web_app
from course_lib.apps.folder import MARK
from course_lib.apps.parts import colour_bundle
from course_lib.apps.predictor import BadBundle, load_bundle
from course_lib.apps.served import make_gradio_app, make_notebook_app
from course_lib.apps.web_app import make_web_app
from course_lib.base.env import CourseError

MAKERS = {"gradio": make_gradio_app, "web": make_web_app, "notebook": make_notebook_app}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory): return colour_bundle(tmp_path_factory.mktemp("model")/"bundle")


@pytest.fixture(params=MAKERS)
def kind(request): return request.param


# What is refused

@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    "{folder of a broken bundle: what the predictor says of it}"
    said = {}
    for folder in broken_bundles(tmp_path_factory.mktemp("broken")):
        with pytest.raises(BadBundle) as error: load_bundle(folder)
        said[folder] = str(error.value)
    return said


def test_what_the_predictor_refuses_becomes_no_app_and_the_words_are_the_same(kind, refused, tmp_path):
    assert len(refused) > 50
    for folder, words in refused.items():
        with pytest.raises(CourseError) as error: MAKERS[kind](folder, tmp_path/"app")
        assert str(error.value) == words
        assert list(tmp_path.iterdir()) == []


def test_somebody_elses_folder_is_refused(kind, bundle, tmp_path):
    (tmp_path/"thesis").mkdir()
    (tmp_path/"thesis"/"chapter.txt").write_text("long work")
    with pytest.raises(CourseError, match="exists and is"): MAKERS[kind](bundle, tmp_path/"thesis")
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]


# Made again into its own folder

draw_icon_once = functools.cache(web_app.draw_icon) # it takes half a second, and the icon is not what is tested here


@pytest.fixture
def make(bundle, tmp_path, monkeypatch):
    "A function that makes an app: make(kind, name of the folder, title of the app, number of examples)"
    runtime, pictures = pretend_runtime(tmp_path/"runtime",
                                        monkeypatch), [tmp_path/f"{colour}.png" for colour in ("red", "green", "blue")]
    for path in pictures: Image.new("RGB", (90, 60), path.stem).save(path)
    monkeypatch.setattr(web_app, "draw_icon", draw_icon_once)
    def maker(kind, name, title="First", examples=1, model=bundle):
        options = {"runtime": runtime} if kind == "web" else {}
        return MAKERS[kind](model, tmp_path/name, title=title, examples=pictures[:examples], **options)
    return maker


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_app_is_updated_in_place(kind, make):
    app, whole = make(kind, "app", examples=3), make(kind, "whole", "Second", examples=2)
    (app/".git").mkdir()
    mine = {"notes.txt": b"mine", ".git/HEAD": b"ref: refs/heads/main"}
    for name, content in mine.items(): (app/name).write_bytes(content)
    assert make(kind, "app", "Second", examples=2) == app
    assert contents(app) == contents(whole) | mine
    assert "examples/3.jpg" not in contents(app) and b"Second" in contents(app)["README.md"]


def test_a_second_call_with_nothing_changed_changes_nothing(kind, make):
    state = lambda folder: {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}
    before = state(make(kind, "app"))
    assert state(make(kind, "app")) == before


@pytest.mark.parametrize("name", ["README.md", "bundle", "test_app.py", "examples/1.jpg"])
def test_an_edited_file_is_kept_and_named(kind, make, name):
    app = make(kind, "app")
    if name == "bundle": name = "bundle.json" if kind == "web" else "bundle/bundle.json"
    (app/name).write_bytes(b"my own")
    before = contents(app)
    with pytest.raises(CourseError, match=f"no longer as they were made: {name}. Move them away"):
        make(kind, "app", "Second")
    assert contents(app) == before
    (app/name).rename(app.parent/"moved_away")
    make(kind, "app", "Second")
    assert contents(app) == contents(make(kind, "whole", "Second"))


def test_a_file_that_the_owner_added_is_not_overwritten(kind, make):
    app = make(kind, "app", examples=1)
    (app/"examples"/"2.jpg").write_bytes(b"mine")
    before = contents(app)
    with pytest.raises(CourseError, match="examples/2.jpg"): make(kind, "app", examples=2)
    assert contents(app) == before


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_interrupted_update_goes_on_when_it_is_repeated(kind, make, monkeypatch, steps):
    app, second = make(kind, "app", examples=3), contents(make(kind, "second", "Second", examples=2))
    (app/"notes.txt").write_bytes(b"mine")
    first, replace, done = contents(app), os.replace, []
    def counted(source, target):
        "Counts what reaches the app; files are written into a folder beside it first"
        if app in Path(target).parents:
            if len(done) == steps: raise KeyboardInterrupt
            done.append(target)
        return replace(source, target)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", counted)
        with pytest.raises(KeyboardInterrupt): make(kind, "app", "Second", examples=2)
    found = contents(app)
    assert len(done) == steps and found != second and all(content in (first.get(name), second.get(name)) for name,
                                                          content in found.items())
    make(kind, "app", "Second", examples=2)
    assert contents(app) == second | {"notes.txt": b"mine"}


@pytest.mark.parametrize("mark", [None, '{"expo": {"name": "theirs"}}'])
def test_a_folder_of_somebody_else_is_refused_by_every_kind(kind, make, tmp_path, mark):
    (tmp_path/"theirs").mkdir()
    (tmp_path/"theirs"/"index.html").write_text("long work")
    if mark: (tmp_path/"theirs"/MARK).write_text(mark)
    before = contents(tmp_path/"theirs")
    with pytest.raises(CourseError, match="is no app of this course"): make(kind, "theirs")
    assert contents(tmp_path/"theirs") == before


def test_an_app_of_another_kind_takes_the_place_of_an_unchanged_one(kind, make):
    other = {"gradio": "web", "web": "notebook", "notebook": "gradio"}[kind]
    app = make(other, "app")
    (app/"notes.txt").write_bytes(b"mine")
    make(kind, "app")
    assert contents(app) == contents(make(kind, "whole")) | {"notes.txt": b"mine"}
    assert not [path for path in app.rglob("*") if path.is_dir() and not any(path.iterdir())]


# Titles

def test_an_app_without_a_title_gets_one(kind, make, tmp_path):
    colour_bundle(tmp_path/"untitled", title="")
    app = make(kind, "app", title=None, model=tmp_path/"untitled")
    assert "# Picture classifier" in (app/"README.md").read_text(encoding="utf-8")


# Nothing heavy for those who only make an app

def test_importing_the_makers_loads_neither_torch_nor_gradio():
    heavy = ("torch", "fastai", "gradio", "onnxruntime", "jupyterlab")
    code = ("import sys; from course_lib.apps import served, web_app; "
            f"print([name for name in {heavy} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

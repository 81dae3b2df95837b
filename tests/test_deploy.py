"One call for every kind of app: what it passes on, and what it refuses."
import functools
import os
import subprocess
import sys

import pytest
from course_lib.apps import deploy
from course_lib.apps import web_app
from course_lib.apps.folder import MARK
from course_lib.apps.deploy import make_app
from course_lib.base.env import CourseError
from course_lib.apps.parts import colour_bundle
from PIL import Image
from small_runtime import pretend_runtime


@pytest.fixture(scope="module")
def bundle(tmp_path_factory): return colour_bundle(tmp_path_factory.mktemp("model")/"bundle")


@pytest.mark.parametrize(("kind", "program"), [("gradio", "app.py"), ("notebook", "app.ipynb")])
def test_each_kind_makes_its_folder(bundle, tmp_path, kind, program):
    folder = make_app(bundle, kind=kind, dest=tmp_path/"app", title="A title of one's own")
    assert folder == tmp_path/"app" and (folder/program).is_file()
    assert "A title of one" in (folder/"README.md").read_text(encoding="utf-8")


def test_the_web_app_gets_its_options(bundle, tmp_path, monkeypatch):
    asked = []
    def maker(bundle, dest, *, runtime=None, title=None): asked.append((bundle, dest, runtime, title)); return dest
    monkeypatch.setitem(deploy.MAKERS, "web", maker)
    assert make_app(bundle, "web", tmp_path/"page", runtime="here") == tmp_path/"page"
    assert asked == [(bundle, tmp_path/"page", "here", None)]


# Made again into its own folder: the same rules for every kind

@pytest.fixture(params=["gradio", "web", "notebook"])
def kind(request): return request.param


draw_icon_once = functools.cache(web_app.draw_icon) # it takes half a second, and the icon is not what is tested here


@pytest.fixture
def make(bundle, tmp_path, monkeypatch):
    "A function that makes an app: make(kind, name of the folder, title of the app, number of examples)"
    runtime, pictures = pretend_runtime(tmp_path/"runtime", monkeypatch), [tmp_path/f"{colour}.png" for colour in ("red", "green", "blue")]
    for path in pictures: Image.new("RGB", (90, 60), path.stem).save(path)
    monkeypatch.setattr(web_app, "draw_icon", draw_icon_once)
    def maker(kind, name, title="First", examples=1):
        options = {"runtime": runtime} if kind == "web" else {}
        return make_app(bundle, kind, tmp_path/name, title=title, examples=pictures[:examples], **options)
    return maker


def contents(folder): return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
    with pytest.raises(CourseError, match=f"no longer as they were made: {name}. Move them away"): make(kind, "app", "Second")
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
    def counted(*places):
        if len(done) == steps: raise KeyboardInterrupt
        done.append(places)
        return replace(*places)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", counted)
        with pytest.raises(KeyboardInterrupt): make(kind, "app", "Second", examples=2)
    found = contents(app)
    assert len(done) == steps and found != second and all(content in (first.get(name), second.get(name)) for name, content in found.items())
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


# What is refused

@pytest.mark.parametrize(("kind", "hint"), [("gradoi", "'gradio'"), ("Web", "'web'"), ("streamlit", "Known names: gradio, web, notebook"),
                                            (None, "Known names")])
def test_an_unknown_kind_is_named(bundle, tmp_path, kind, hint):
    with pytest.raises(CourseError, match=hint): make_app(bundle, kind, tmp_path/"app")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["gradio", "web", "notebook"])
def test_an_unknown_option_is_named_before_anything_is_written(bundle, tmp_path, kind):
    with pytest.raises(CourseError, match="Did you mean 'title'"): make_app(bundle, kind, tmp_path/"app", titel="Bears")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["gradio", "web", "notebook"])
def test_what_is_no_bundle_and_what_is_somebody_elses_is_refused(bundle, tmp_path, kind):
    (tmp_path/"thesis").mkdir()
    (tmp_path/"thesis"/"chapter.txt").write_text("long work")
    with pytest.raises(CourseError, match="bundle"): make_app(tmp_path/"thesis", kind, tmp_path/"app")
    with pytest.raises(CourseError, match="exists and is"): make_app(bundle, kind, tmp_path/"thesis")
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]


def test_importing_it_loads_neither_torch_nor_gradio():
    heavy = ("torch", "fastai", "gradio", "onnxruntime", "jupyterlab")
    code = f"import sys; from course_lib.apps import deploy; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() in ("[]", "['onnxruntime']"), done.stdout + done.stderr


def test_it_exports_what_the_lesson_uses():
    assert {"make_app", "export_bundle", "load_bundle"} <= set(deploy.__all__)

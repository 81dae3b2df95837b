"One call for every kind of app: what it passes on, and what it refuses."
import subprocess
import sys

import pytest
from course_lib import deploy
from course_lib.deploy import make_app
from course_lib.env import CourseError
from course_lib.served_apps import colour_bundle


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
    code = f"import sys; from course_lib import deploy; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() in ("[]", "['onnxruntime']"), done.stdout + done.stderr


def test_it_exports_what_the_lesson_uses():
    assert {"make_app", "export_bundle", "load_bundle"} <= set(deploy.__all__)

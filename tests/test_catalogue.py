"Lessons and addresses: every name that works, every mistake that must be answered."
import json
import re
import subprocess
import sys
import tomllib

import pytest
from course_lib.base import catalogue as project
from course_lib.data.sets import datasets
from course_lib.base.env import CourseError, checkout

ROOT = checkout()
LESSONS = project.lessons()
NAMES = [info.id for info in LESSONS]


@pytest.mark.parametrize("info", LESSONS, ids=NAMES)
def test_every_name_finds_its_lesson(info):
    number, word = info.id.split("_", 1)
    names = [info.id, number, str(int(number)), word, info.module, info.id.upper(), f" {info.id} ",
             f"{info.id}.ipynb", f"nbs/{info.id}.ipynb"]
    assert {name: project.find_lesson(name).id for name in names} == dict.fromkeys(names, info.id)


@pytest.mark.parametrize("name, answer", [
    *((name, "Did you mean '04_mnist'") for name in ("04_mnits", "mnst", "4_mnist")),
    *((name, "Known names: ") for name in ("cooking", "", "99", 99))])
def test_unknown_lessons_are_answered_with_names(name, answer):
    with pytest.raises(CourseError, match=answer) as error: project.find_lesson(name)
    assert f"'{name}'" in str(error.value)


def test_the_table_is_sound():
    assert NAMES == sorted(set(NAMES)), "ids are unique and in order"
    names = [name for info in LESSONS for name in {info.id, info.module, str(info.number), info.id.split("_")[0]}]
    assert len(names) == len(set(names)), "no name means two lessons"
    for info in LESSONS:
        assert info.title and info.promise and not info.promise.endswith(".")
        assert 0 < info.quick_seconds <= 300 and 0 < info.full_minutes_gpu <= info.full_minutes_cpu
        assert set(info.datasets) <= set(datasets()), f"{info.id} asks for sets that the registry does not know"


def test_table_and_notebooks_name_the_same_lessons():
    assert NAMES == sorted(path.stem for path in (ROOT/"nbs").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("info", LESSONS, ids=NAMES)
def test_the_notebook_says_what_the_table_says(info):
    cells = json.loads(project.notebook_path(info.id).read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    title = next(text for text in sources if text.startswith("# ")).splitlines()[0]
    assert title.replace(f"{info.number}. ", "") == f"# {info.title}"
    assert any(text.startswith("# ") and f"> {info.promise}." in text
               for text in sources), "the sentence under the title is the promise"
    assert any(f"default_exp {info.module}" in text for text in sources), f"exports to course_lib.{info.module}"


@pytest.mark.parametrize("address, found", [
    ("https://github.com/ada/notes", "ada/notes"), ("https://github.com/ada/notes/", "ada/notes"),
    ("https://github.com/ada-b/n.o_t-es.git", "ada-b/n.o_t-es")])
def test_repository_is_read_from_pyproject(tmp_path, address, found):
    (tmp_path/"pyproject.toml").write_text(f'[project.urls]\nRepository = "{address}"\n', encoding="utf-8")
    assert project.repository(tmp_path) == found


@pytest.mark.parametrize("text", [
    "[project]\nname = 'x'\n", "[project.urls]\nSource = 'https://github.com/ada/notes'\n",
    "[project.urls]\nRepository = 'git@github.com:ada/notes.git'\n",
    "[project.urls]\nRepository = 'https://example.org/a/b'\n",
    "[project.urls]\nRepository = 'https://github.com/ada/notes/tree/main'\n"])
def test_an_address_of_another_kind_is_refused(tmp_path, text):
    (tmp_path/"pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match="Repository.*course sync"): project.repository(tmp_path)


def test_an_installed_package_knows_its_repository(monkeypatch):
    monkeypatch.setattr(project, "checkout", lambda: None)
    assert project.declared_address(None) == f"https://github.com/{project.repository()}"


def test_an_installed_package_says_where_the_notebooks_are(monkeypatch):
    monkeypatch.setattr(project, "checkout", lambda: None)
    with pytest.raises(CourseError, match="git clone https://github.com/.*pip install -e"): project.notebook_path("04")


def test_a_missing_notebook_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(project, "checkout", lambda: tmp_path)
    with pytest.raises(CourseError, match="git restore nbs/04_mnist.ipynb"): project.notebook_path("04")


@pytest.mark.parametrize("folder", ["nbs", "clean"])
def test_addresses_lead_to_files_of_this_checkout(folder):
    source = project.notebook_url("04", folder)
    branch_and_path = source.removeprefix(f"{project.repository_url()}/blob/")
    assert branch_and_path == f"{project.BRANCH}/{folder}/04_mnist.ipynb"
    assert (ROOT/folder/"04_mnist.ipynb").is_file()
    assert project.kaggle_url("04", folder).endswith(source)
    assert source.removeprefix("https://github.com") in project.colab_url("04", folder)


def test_codespaces_opens_a_container_that_exists():
    path = project.codespaces_url().split("devcontainer_path=")[1].replace("%2F", "/")
    assert (ROOT/path).is_file()


def test_pyproject_agrees():
    facts = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf-8"))
    assert facts["tool"]["nbdev"]["branch"] == project.BRANCH
    assert facts["project"]["urls"].get("Documentation") == (project.site_url() if project.has_owner() else None)


def test_the_placeholder_is_a_name_that_no_account_can_have():
    "GitHub allows letters, digits and single hyphens, none of them at either end"
    assert not re.fullmatch(r"[a-z\d]+(-[a-z\d]+)*", project.NO_OWNER, flags=re.I)


def test_asking_for_the_lessons_loads_nothing_heavy():
    code = ("import sys, course_lib.base.catalogue as p; p.lessons(); "
            "print([name for name in ('torch', 'fastai', 'pandas', 'nbdev') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr

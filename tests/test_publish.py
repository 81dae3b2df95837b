"Everything generated is in step, follows the owner, and the set-up cell does what it says in every place."
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from types import SimpleNamespace
from urllib.error import URLError
from uuid import uuid4

import pytest
from course_lib.lesson import hosted
from course_lib.tools import publish
from course_lib.base.env import CourseError, checkout
from course_lib.base.catalogue import repository, repository_url, site_url, source_url

ROOT = checkout()
HOSTS = {"Colab": {"COLAB_RELEASE_TAG": "release"}, "Kaggle": {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}}


# The set-up cell

@pytest.fixture
def world(monkeypatch):
    "A pretended machine: what it is, whether it has a network, what pip answers; and what the cell did there"
    state = SimpleNamespace(installed=False, network=True, pip_fails_at=None, pip=[], after=0)
    for variables in HOSTS.values():
        for name in variables: monkeypatch.delenv(name, raising=False)

    def urlopen(address, timeout):
        assert timeout <= 60
        if not state.network: raise URLError("Temporary failure in name resolution")
        return SimpleNamespace(close=lambda: None)

    def run(command, **options):
        state.pip.append(command)
        failed = state.pip_fails_at == len(state.pip)
        return SimpleNamespace(returncode=int(failed), stderr="noise\n" * 40 + "ERROR: No matching distribution\n")

    def after_install(): state.after += 1

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if state.installed else None)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(hosted, "after_install", after_install)
    state.enter = lambda host: [monkeypatch.setenv(*pair) for pair in HOSTS.get(host, {}).items()]
    return state


def run_cell(): exec(compile(publish.set_up(publish.hosted_packages(ROOT)), "set-up", "exec"), {})


@pytest.mark.parametrize("host, installed", [("local", False), ("local", True), ("Colab", True), ("Kaggle", True)])
def test_set_up_does_nothing_where_nothing_is_needed(world, capsys, host, installed):
    world.enter(host)
    world.installed, world.network = installed, False
    run_cell()
    assert (world.pip, world.after, capsys.readouterr().out) == ([], 0, "")


@pytest.mark.parametrize("host", HOSTS)
def test_set_up_installs_the_tested_versions_then_the_course(world, capsys, host):
    world.enter(host)
    run_cell()
    packages, course = world.pip
    assert all(command[:4] == [sys.executable, "-m", "pip", "install"] for command in world.pip)
    pins = dict(word.split("==") for word in packages if "==" in word)
    assert {"torch", "torchvision", "fastai", "numpy"} <= set(pins)
    assert not set(pins) & set(publish.KERNEL), "the kernel's own packages stay as they are"
    tested = (ROOT/"constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [pin for pin in pins if f"{pin}=={pins[pin]}" not in tested] == []
    assert course[-1].startswith(repository_url()) and "--no-deps" in course
    assert world.after == 1 and "once in a session" in capsys.readouterr().out


@pytest.mark.parametrize("host", HOSTS)
def test_set_up_names_the_switch_where_there_is_no_network(world, host):
    world.enter(host)
    world.network = False
    with pytest.raises(RuntimeError, match="name resolution.*On Kaggle, turn on Settings > Internet"): run_cell()
    assert (world.pip, world.after) == ([], 0)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fails_at", [1, 2])
def test_set_up_shows_why_pip_failed(world, host, fails_at):
    world.enter(host)
    world.pip_fails_at = fails_at
    with pytest.raises(RuntimeError, match="No matching distribution") as error: run_cell()
    assert len(str(error.value).splitlines()) < 20, "the last lines, not all of them"
    assert (len(world.pip), world.after) == (fails_at, 0)


def test_set_up_needs_nothing_but_python(tmp_path):
    "In a bare interpreter without the course and with a dead network, it fails at once and says what to switch on"
    cell = publish.set_up(publish.hosted_packages(ROOT)).replace("https://github.com", "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", cell], env={**os.environ, **HOSTS["Kaggle"]}, cwd=tmp_path,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "turn on Settings > Internet" in done.stderr


# Stamped cells, stripped copies, front page

def cell(kind, name, text, **more): return publish.new_cell(kind, name, text) | more


TITLE = cell("markdown", "title", "# Digits\n\n> Read digits.")
WORK = cell("code", "work", "#| eval: false\n1", outputs=["2"], execution_count=3, metadata={"tags": ["a"]})
OLD = [cell("markdown", "badges", "old"), cell("code", "setup", "old", outputs=["old"])]


@pytest.mark.parametrize("before, after", [
    ([TITLE, WORK], ["title", "badges", "setup", "work"]),
    ([cell("raw", "front", "---\n---"), TITLE, WORK], ["front", "title", "badges", "setup", "work"]),
    ([TITLE, WORK, *OLD], ["title", "work", "badges", "setup"]),
    ([TITLE, OLD[1], WORK], ["title", "badges", "setup", "work"]),
    ([WORK], ["badges", "setup", "work"])])
def test_cells_are_stamped_where_they_are(before, after):
    stamped = publish.stamped({"cells": before, "metadata": {"a": 1}}, "new badges", "new = 1")
    cells = {cell["id"]: cell for cell in stamped["cells"]}
    assert list(cells) == after and stamped["metadata"] == {"a": 1}
    assert cells["badges"]["source"] == ["new badges"]
    assert (cells["setup"]["source"], cells["setup"]["outputs"]) == (["new = 1"], [])
    assert cells["work"] == WORK
    assert publish.stamped(stamped, "new badges", "new = 1") == stamped


@pytest.mark.parametrize("text, kept", [
    ("# A\n\n> promise", "# A"), ("prose", ""), ("a # b", ""), ("#no space", ""),
    ("## A\ntext\n### B {#sec-b}", "## A\n\n### B {#sec-b}"), ("```python\n# comment\n```", ""),
    ("~~~\n# comment\n~~~\n# A", "# A"), ("text\n```\n# in\n```\n## out\n```\n# in\n```", "## out")])
def test_headings(text, kept): assert publish.headings(text) == kept


def test_a_stripped_copy_holds_headings_and_bare_code():
    cells = [cell("raw", "front", "---\n---"), TITLE, cell("markdown", "prose", "Look."), WORK]
    bare_work = WORK | {"outputs": [], "execution_count": None}
    stripped = publish.stripped({"cells": cells, "nbformat": 4})
    assert stripped == {"cells": [cell("markdown", "title", "# Digits"), bare_work], "nbformat": 4}
    assert cells[-1]["outputs"] == ["2"], "the lesson itself keeps its outputs"


@pytest.fixture
def site(tmp_path):
    for name in ("nbs/a.ipynb", "nbs/images/a.png", "outside.png", "LICENSE", "nbs/solutions/a.ipynb"):
        publish.write(tmp_path/name, "content")
    return tmp_path


@pytest.mark.parametrize("markdown, expected", [
    ("[a](nbs/a.ipynb)", "[a](a.ipynb)"), ("[a](nbs/a.ipynb#part)", "[a](a.ipynb#part)"),
    ("![a](nbs/images/a.png)", "![a](images/a.png)"),
    ('<img src="nbs/images/a.png" alt="a">', '<img src="images/a.png" alt="a">'),
    ("[![a](nbs/images/a.png)](nbs/a.ipynb)", "[![a](images/a.png)](a.ipynb)"),
    ("[a](LICENSE)", f"[a]({source_url('LICENSE')})"), ("[a](nbs/solutions)", f"[a]({source_url('nbs/solutions')})"),
    ("[a](https://example.org/nbs/b)", "[a](https://example.org/nbs/b)"), ("[a](#part)", "[a](#part)"),
    ("`[a](nbs/gone.ipynb)`", "`[a](nbs/gone.ipynb)`"), ("```\n[a](gone)\n```", "```\n[a](gone)\n```")])
def test_links_lead_to_the_same_place_from_the_site(site, markdown, expected):
    assert publish.index_page(f"# Title: x\n\n{markdown}\n", site).endswith(f"\n\n{expected}\n")


@pytest.mark.parametrize("markdown, complaint", [
    ("[a](nbs/gone.ipynb)", "nbs/gone.ipynb"), ("![a](nbs/gone.png)", "nbs/gone.png"), ("[a](GONE.md)", "GONE.md"),
    ("![a](outside.png)", "Move the picture")])
def test_dead_links_of_the_readme_stop_the_command(site, markdown, complaint):
    with pytest.raises(CourseError, match=complaint): publish.index_page(f"# Title\n\n{markdown}\n", site)


def test_the_title_becomes_front_matter(site):
    assert publish.index_page('# A "title": yes\n\ntext\n', site).startswith('---\ntitle: "A \\"title\\": yes"\n---\n')


# The whole command, on copies of this checkout

def sync_in(root, code="print(json.dumps(sync()))", **env):
    "Run `sync` of a copy in a Python of its own; the parsed output"
    done = subprocess.run([sys.executable, "-c", f"import json; from course_lib.tools.publish import sync; {code}"],
                          cwd=root, env={**os.environ, "PYTHONPATH": str(root), **env},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(ROOT, tmp_path/"course", symlinks=True, ignore=publish.ignored(ROOT))


def rename(root, owner, name):
    "Give a copy another repository, as README.md tells whoever forks the course"
    path = root/"pyproject.toml"
    line, text = f'Repository = "https://github.com/{owner}/{name}"', path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'^Repository = ".*"$', line, text, flags=re.M), encoding="utf-8")


def files_naming(root, *words):
    return [path for path, content in publish.snapshot(root).items() if any(word.encode() in content for word in words)]


def test_nothing_is_out_of_step():
    assert publish.sync(check=True) == [], "run `course sync` and commit what it changes"


def test_another_owner_is_everywhere_after_one_command(copy):
    first, second = f"owner-{uuid4().hex}", f"owner-{uuid4().hex}"
    rename(copy, first, "first-course")
    changed = sync_in(copy)
    assert {"README.md", "nbs/index.qmd", "nbs/nbdev.yml", "nbs/04_mnist.ipynb", "clean/04_mnist.ipynb"} <= set(changed)
    assert files_naming(copy, repository(), site_url()) == []
    rename(copy, second, "second-course")
    sync_in(copy)
    assert files_naming(copy, first) == []
    assert sync_in(copy) == [], "a second run finds nothing to do"


TAMPERED = {"README.md": ("| 4 |", "| 5 |"), "nbs/index.qmd": ("title:", "titel:"),
            "course_lib/base/catalogue.py": ("lesson", "lessen"),
            "clean/04_mnist.ipynb": ("the whole lesson", "a lesson"),
            "nbs/04_mnist.ipynb": ("Open in Colab", "Open")}


def test_check_names_what_is_out_of_step_and_leaves_it(copy):
    sync_in(copy)
    for name, (old, new) in TAMPERED.items():
        text = (copy/name).read_text(encoding="utf-8")
        assert old in text
        (copy/name).write_text(text.replace(old, new, 1), encoding="utf-8")
    (copy/"clean"/"99_gone.ipynb").write_text("{}", encoding="utf-8")
    before = publish.snapshot(copy)
    assert sync_in(copy, "print(json.dumps(sync(check=True)))") == sorted([*TAMPERED, "clean/99_gone.ipynb"])
    assert publish.snapshot(copy) == before


def test_modules_are_exported_even_inside_a_test_run(copy):
    path = copy/"course_lib"/"lesson"/"results.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nleft_over = 1\n", encoding="utf-8")
    assert "course_lib/lesson/results.py" in sync_in(copy, IN_TEST="1")


def test_a_failing_step_is_shown_without_a_traceback(copy):
    (copy/"README.md").write_text("# No table here\n", encoding="utf-8")
    code = "\ntry: sync()\nexcept Exception as error: print(json.dumps(str(error)))"
    said = sync_in(copy, code)
    assert said.startswith("`course sync` stopped: README.md has no place for the table") and "Traceback" not in said


def test_without_nbdev_the_extras_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"needs nbdev.*\[dev\]"): publish.sync()


def test_an_installed_package_has_nothing_to_sync(monkeypatch):
    monkeypatch.setattr(publish, "checkout", lambda: None)
    with pytest.raises(CourseError, match="git clone"): publish.sync(check=True)

"Everything generated is in step, follows the owner, and the set-up cell does what it says in every place."
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace
from uuid import uuid4

import pytest
from course_lib.base import catalogue
from course_lib.base.catalogue import NAME_OWNER, NO_OWNER, repository, site_url, source_url
from course_lib.base.env import CourseError, checkout
from course_lib.base.files import write_text
from course_lib.base.notebooks import headings, new_cell
from course_lib.lesson import hosted
from course_lib.tools import publish
from packaging.requirements import Requirement

ROOT = checkout()
HOSTS = {"Colab": {"COLAB_RELEASE_TAG": "release"}, "Kaggle": {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}}


# The set-up cell

@pytest.fixture
def world(monkeypatch):
    "A pretended machine: what it is, what pip answers there; and what the cell did"
    state = SimpleNamespace(installed=False, pip_fails_at=None, pip=[], after=0)
    for variables in HOSTS.values():
        for name in variables: monkeypatch.delenv(name, raising=False)

    def run(command, **options):
        state.pip.append(command)
        failed = state.pip_fails_at == len(state.pip)
        return SimpleNamespace(returncode=int(failed), stderr="noise\n" * 40 + "ERROR: No matching distribution\n")

    def after_install(): state.after += 1

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if state.installed else None)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(hosted, "after_install", after_install)
    state.enter = lambda host: [monkeypatch.setenv(*pair) for pair in HOSTS.get(host, {}).items()]
    return state


@pytest.fixture
def owned(monkeypatch): monkeypatch.setattr(catalogue, "repository", lambda root=None: "ada/notes")


@pytest.fixture
def nobodys(monkeypatch): monkeypatch.setattr(catalogue, "repository", lambda root=None: f"{NO_OWNER}/notes")


def run_cell(): exec(compile(publish.set_up(), "set-up", "exec"), {})


PLACES = [("local", False), ("local", True), ("Colab", True), ("Kaggle", True)]


@pytest.mark.parametrize("owner", ["owned", "nobodys"])
@pytest.mark.parametrize("host, installed", PLACES)
def test_set_up_does_nothing_where_nothing_is_needed(world, capsys, request, owner, host, installed):
    request.getfixturevalue(owner)
    world.enter(host)
    world.installed = installed
    run_cell()
    assert (world.pip, world.after, capsys.readouterr().out) == ([], 0, "")


@pytest.mark.parametrize("host", HOSTS)
def test_set_up_installs_the_tested_versions_then_the_course(world, owned, capsys, host):
    world.enter(host)
    run_cell()
    packages, course = world.pip
    assert all(command[:4] == [sys.executable, "-m", "pip", "install"] for command in world.pip)
    assert packages[-2:] == ["-r", "https://raw.githubusercontent.com/ada/notes/main/hosted.txt"]
    assert course[-2:] == ["--no-deps", "https://github.com/ada/notes/archive/refs/heads/main.zip"]
    assert world.after == 1 and "once in a session" in capsys.readouterr().out


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fails_at", [1, 2])
def test_set_up_shows_why_pip_failed(world, owned, host, fails_at):
    world.enter(host)
    world.pip_fails_at = fails_at
    with pytest.raises(RuntimeError, match="No matching distribution") as error: run_cell()
    assert "On Kaggle, turn on Settings > Internet" in str(error.value)
    assert len(str(error.value).splitlines()) < 20, "the last lines, not all of them"
    assert (len(world.pip), world.after) == (fails_at, 0)


@pytest.mark.parametrize("host", HOSTS)
def test_without_an_owner_nothing_is_installed(world, nobodys, host):
    world.enter(host)
    with pytest.raises(RuntimeError, match="Nothing was installed.*`Repository` of pyproject.toml.*`course sync`"):
        run_cell()
    assert (world.pip, world.after) == ([], 0)
    assert "github" not in publish.set_up(), "no address that belongs to a stranger"


def test_set_up_needs_nothing_but_python(owned, tmp_path):
    "Without the course and with a dead network, the cell and the real pip fail and say what to switch on"
    hidden = "import importlib.util; importlib.util.find_spec = lambda name: None\n"
    cell = hidden + re.sub(r"https://[\w.]+", "http://127.0.0.1:9", publish.set_up())
    done = subprocess.run([sys.executable, "-I", "-c", cell], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **HOSTS["Kaggle"], "PIP_RETRIES": "0", "NO_PROXY": "*"})
    assert done.returncode == 1 and "turn on Settings > Internet" in done.stderr and "hosted.txt" in done.stderr


# hosted.txt

HOSTED = {line.name: line
          for line in map(Requirement, (ROOT/"hosted.txt").read_text(encoding="utf-8").splitlines()[1:])}


def test_hosted_versions_are_the_tested_ones():
    tested = publish.tested_versions(ROOT)
    pinned = {name: line for name, line in HOSTED.items() if name not in publish.BUILT_FOR_THE_GPU}
    assert {"fastai", "numpy", "pandas", "gradio"} <= set(pinned)
    assert {name: str(line.specifier) for name,
            line in pinned.items()} == {name: f"=={tested[name]}" for name in pinned}
    assert not set(HOSTED) & set(publish.KERNEL), "the kernel's own packages stay as they are"


@pytest.mark.parametrize("name", publish.BUILT_FOR_THE_GPU)
def test_hosted_pytorch_stays_where_it_is_within_the_range(name):
    assert HOSTED[name].specifier == Requirement(publish.core_requirements(ROOT)[name]).specifier
    assert HOSTED[name].specifier.contains(f"{publish.tested_versions(ROOT)[name]}+cu130")


@pytest.fixture
def two_torches(tmp_path):
    "A folder with wheels of an empty package `torch`, versions 2.10.0+cu130 and 2.15.0, and an environment for them"
    import zipfile
    for version in ("2.10.0+cu130", "2.15.0"):
        info = f"torch-{version}.dist-info"
        with zipfile.ZipFile(tmp_path/f"torch-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("torch.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL",
                           "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path/"venv"], check=True, timeout=300)
    return tmp_path


@pytest.mark.parametrize("range_, kept", [(str(HOSTED["torch"]), True), ("torch>=2.12,<3", False)])
def test_pip_keeps_what_lies_within_a_range(two_torches, range_, kept):
    python = next((two_torches/"venv").glob("[bS]*/python*"))
    pip = [sys.executable, "-m", "pip", "--python", python]
    offline = ["--isolated", "--no-index", "--find-links", two_torches]
    subprocess.run([*pip, "install", *offline, "torch==2.10.0+cu130"], check=True, capture_output=True, timeout=300)
    subprocess.run([*pip, "install", *offline, range_], check=True, capture_output=True, timeout=300)
    found = subprocess.run([*pip, "freeze"], capture_output=True, text=True, timeout=300).stdout
    assert ("torch==2.10.0+cu130" in found) == kept and ("torch==2.15.0" in found) != kept


# Stamped cells, stripped copies, front page

def cell(kind, name, text, **more): return new_cell(kind, name, text) | more


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
def test_headings(text, kept): assert headings(text) == kept


def test_a_stripped_copy_holds_headings_and_bare_code():
    cells = [cell("raw", "front", "---\n---"), TITLE, cell("markdown", "prose", "Look."), WORK]
    bare_work = WORK | {"outputs": [], "execution_count": None}
    stripped = publish.stripped({"cells": cells, "nbformat": 4})
    assert stripped == {"cells": [cell("markdown", "title", "# Digits"), bare_work], "nbformat": 4}
    assert cells[-1]["outputs"] == ["2"], "the lesson itself keeps its outputs"


@pytest.fixture
def site(tmp_path):
    for name in ("nbs/a.ipynb", "nbs/images/a.png", "outside.png", "LICENSE", "nbs/solutions/a.ipynb"):
        write_text(tmp_path/name, "content")
    return tmp_path


@pytest.mark.parametrize("markdown, expected", [
    ("[a](nbs/a.ipynb)", "[a](a.ipynb)"), ("[a](nbs/a.ipynb#part)", "[a](a.ipynb#part)"),
    ("![a](nbs/images/a.png)", "![a](images/a.png)"),
    ('<img src="nbs/images/a.png" alt="a">', '<img src="images/a.png" alt="a">'),
    ("[![a](nbs/images/a.png)](nbs/a.ipynb)", "[![a](images/a.png)](a.ipynb)"),
    ("[a](LICENSE)", f"[a]({source_url('LICENSE')})"), ("[a](nbs/solutions)", f"[a]({source_url('nbs/solutions')})"),
    ("[a](https://example.org/nbs/b)", "[a](https://example.org/nbs/b)"), ("[a](#part)", "[a](#part)"),
    ("`[a](nbs/gone.ipynb)`", "`[a](nbs/gone.ipynb)`"), ("```\n[a](gone)\n```", "```\n[a](gone)\n```")])
def test_links_lead_to_the_same_place_from_the_site(site, monkeypatch, markdown, expected):
    monkeypatch.setattr(publish, "has_owner", lambda: True)
    assert publish.index_page(f"# Title: x\n\n{markdown}\n", site).endswith(f"\n\n{expected}\n")


@pytest.mark.parametrize("markdown, expected", [
    ("see [a](LICENSE) and [b](nbs/a.ipynb)", "see a and [b](a.ipynb)"),
    ("[a](https://example.org)", "[a](https://example.org)"), ("[a](#part)", "[a](#part)"),
    ("![a](nbs/images/a.png)", "![a](images/a.png)"), ("`[a](LICENSE)`", "`[a](LICENSE)`")])
def test_without_an_owner_the_front_page_has_no_dead_link(site, nobodys, markdown, expected):
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


def copied(root, folder): return shutil.copytree(root, folder/"course", symlinks=True, ignore=publish.ignored(root))


def rename(root, owner, name="notes"):
    "Give a copy another repository, as README.md tells whoever forks the course"
    path = root/"pyproject.toml"
    line, text = f'Repository = "https://github.com/{owner}/{name}"', path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'^Repository = ".*"$', line, text, flags=re.M), encoding="utf-8")


def files_naming(root, *words):
    return [path for path, content in publish.snapshot(root).items() if any(word.encode() in content for word in words)]


def modules(root): return "".join(path.read_text(encoding="utf-8") for path in (root/"course_lib").rglob("*.py"))


OWNER = f"owner-{uuid4().hex}"


@pytest.fixture(scope="module")
def renamed(tmp_path_factory):
    "A copy that was given to OWNER by one command, inside a test run; and the files that changed"
    root = copied(ROOT, tmp_path_factory.mktemp("renamed"))
    rename(root, OWNER)
    return root, sync_in(root, IN_TEST="1")


@pytest.fixture
def copy(renamed, tmp_path): return copied(renamed[0], tmp_path)


def test_another_owner_is_everywhere_after_one_command(renamed, copy):
    changed = {"README.md", "nbs/index.qmd", "nbs/nbdev.yml", "nbs/04_mnist.ipynb", "clean/04_mnist.ipynb"}
    assert changed <= set(renamed[1]) and files_naming(copy, repository(), site_url()) == []
    rename(copy, f"owner-{uuid4().hex}", "second-course")
    sync_in(copy)
    assert files_naming(copy, OWNER) == []


def test_without_an_owner_no_page_names_an_address(copy):
    before = publish.snapshot(copy)
    assert f"\nDocs: https://{OWNER}.github.io/notes/lib/base/env.html" in modules(copy)
    assert f'Documentation = "https://{OWNER}.github.io/notes"' in (copy/"pyproject.toml").read_text(encoding="utf-8")
    rename(copy, NO_OWNER)
    sync_in(copy)
    assert "\nDocs: " not in modules(copy) and files_naming(copy, OWNER, f"{NO_OWNER}.github.io") == []
    for name in ("README.md", "nbs/04_mnist.ipynb", "clean/04_mnist.ipynb"):
        text = (copy/name).read_text(encoding="utf-8")
        assert NAME_OWNER in text and not re.search(r"colab\.research|kaggle\.com/kernels|codespaces\.new", text)
    rename(copy, OWNER)
    sync_in(copy)
    assert publish.snapshot(copy) == before, "the first run left nothing to a second one"


def test_nbdev_alone_exports_what_sync_exports(copy):
    before = publish.snapshot(copy)
    export = "from nbdev import doclinks; doclinks.nbdev_export.__wrapped__()"
    env = {name: value for name, value in os.environ.items() if name != "IN_TEST"}
    subprocess.run([sys.executable, "-c", export], cwd=copy, env={**env, "PYTHONPATH": str(copy)}, check=True,
                   capture_output=True, timeout=120)
    assert publish.snapshot(copy) == before


TAMPERED = {"hosted.txt": ("fastai==", "fastai>="), "README.md": ("| 4 |", "| 5 |"),
            "nbs/index.qmd": ("title:", "titel:"),
            "course_lib/base/catalogue.py": ("lesson", "lessen"),
            "clean/04_mnist.ipynb": ("the whole lesson", "a lesson"),
            "nbs/04_mnist.ipynb": ("Open in Colab", "Open")}


def test_check_names_what_is_out_of_step_and_leaves_it(copy):
    for name, (old, new) in TAMPERED.items():
        text = (copy/name).read_text(encoding="utf-8")
        assert old in text
        (copy/name).write_text(text.replace(old, new, 1), encoding="utf-8")
    (copy/"clean"/"99_gone.ipynb").write_text("{}", encoding="utf-8")
    before = publish.snapshot(copy)
    assert sync_in(copy, "print(json.dumps(sync(check=True)))") == sorted([*TAMPERED, "clean/99_gone.ipynb"])
    assert publish.snapshot(copy) == before


def test_modules_are_exported_even_inside_a_test_run(renamed): assert "course_lib/lesson/results.py" in renamed[1]


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

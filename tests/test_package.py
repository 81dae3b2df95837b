"What is built installs and runs without the extras; imports, ranges, pins, README, workflows and containers agree."
import ast
import configparser
import email
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile

import pytest
import yaml
from course_lib.base.env import checkout
from course_lib.base.catalogue import lessons
from course_lib.tools.publish import ignored
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = checkout()
FACTS = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf-8"))
HEAVY = ("torch", "torchvision", "fastai", "numpy", "pandas", "sklearn", "matplotlib", "IPython", "nbclient", "nbdev")


def read(path): return (ROOT/path).read_text(encoding="utf-8")


def requirements():
    "Every requirement of settings.ini: {section: [Requirement]}"
    config = configparser.ConfigParser()
    config.read_string(read("settings.ini"))
    return {name: [Requirement(line) for line in config[name]["requirements"].splitlines()[1:]]
            for name in ("DEFAULT", *config.sections())}


# What is built

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "sdist and the wheel built from that sdist, out of a copy of the checkout"
    copy, out = tmp_path_factory.mktemp("source")/"course", tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored(ROOT))
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy],
                   check=True, capture_output=True, timeout=300)
    return out


@pytest.fixture(scope="module")
def wheel(built): return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    "A folder with nothing but the content of the wheel"
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder)
    return folder


def run_installed(installed, code, tmp_path):
    "Run code against the unpacked wheel, away from the checkout, where heavy packages cannot be imported"
    start = f"import sys; sys.path.insert(0, {str(installed)!r}); sys.modules.update(dict.fromkeys({HEAVY!r})); "
    return subprocess.run([sys.executable, "-I", "-c", start + code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "200"}, timeout=300)


def test_the_wheel_holds_modules_tables_and_questions(wheel):
    names, modules = wheel.namelist(), ROOT/"course_lib"
    expected = [path.relative_to(ROOT).as_posix()
                for kind in ("**/*.py", "assets/*.csv") for path in modules.glob(kind)]
    expected += [f"course_lib/quizzes/{path.name}" for path in (ROOT/"quizzes").iterdir()]
    assert {"course_lib/assets/lessons.csv", "course_lib/quizzes/04_mnist.yml"} <= set(expected)
    assert sorted(set(expected) - set(names)) == []
    assert [name for name in names if not re.match(r"course_lib(/|-\d)", name)] == [], "no tests, no notebooks"


def test_the_sdist_can_be_built_from(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= names


def name_and_range(requirement): return canonicalize_name(requirement.name), requirement.specifier


def test_metadata_lists_every_dependency(wheel):
    text = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    facts = email.message_from_string(text)
    listed = {}
    for requirement in map(Requirement, facts.get_all("Requires-Dist")):
        extra = re.search(r'extra == "(\w+)"', str(requirement.marker))
        listed.setdefault(extra[1] if extra else "DEFAULT", set()).add(name_and_range(requirement))
    wanted = {section: set(map(name_and_range, lines)) for section, lines in requirements().items()}
    wanted["dev"] |= wanted["more"] # so that every check runs where tests run
    assert listed == wanted
    assert facts.get_all("Provides-Extra") == [name for name in wanted if name != "DEFAULT"]
    assert facts["Requires-Python"] == ">=3.11" and facts["License-Expression"] == "Apache-2.0"
    assert f"Repository, {FACTS['project']['urls']['Repository']}" in facts.get_all("Project-URL")


def test_the_wheel_imports_and_lists_lessons_without_heavy_packages(installed, tmp_path):
    code = "from course_lib.tools import cli; print(cli.__file__); sys.argv = ['course', 'list']; cli.main()"
    started = time.perf_counter()
    done = run_installed(installed, code, tmp_path)
    print(f"course list from the wheel: {time.perf_counter() - started:.2f} s")
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout.splitlines()[0]
    assert [info.id for info in lessons() if info.title not in done.stdout] == []


def test_the_wheel_says_where_the_notebooks_are(installed, tmp_path):
    code = ("from course_lib.base.catalogue import notebook_path; from course_lib.base.env import CourseError\n"
            "try: notebook_path('04')\nexcept CourseError as error: print(error)")
    assert "git clone https://github.com/" in run_installed(installed, code, tmp_path).stdout


def test_the_wheel_brings_its_questions(installed, tmp_path):
    code = "from importlib.resources import files; print((files('course_lib.quizzes')/'04_mnist.yml').is_file())"
    done = run_installed(installed, code, tmp_path)
    assert done.stdout.strip() == "True", done.stderr


def test_the_editable_install_uses_this_checkout(tmp_path):
    code = "import course_lib; from course_lib.base.env import checkout; print(course_lib.__file__, checkout())"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == [str(ROOT/"course_lib"/"__init__.py"), str(ROOT)], done.stderr


def test_what_is_installed_starts_where_pyproject_says():
    found = {(point.group, point.name): point.value
             for point in importlib.metadata.distribution("course-lib").entry_points}
    wanted = {("console_scripts", name): value for name, value in FACTS["project"]["scripts"].items()}
    wanted |= {("nbdev", name): value for name, value in FACTS["project"]["entry-points"]["nbdev"].items()}
    assert found == wanted, "pyproject.toml has changed: run `pip install -e .` again"


def test_the_version_has_one_source(built):
    version = re.search(r'__version__ = "(.+)"', read("course_lib/__init__.py"))[1]
    assert {path.name.split("-")[1].removesuffix(".tar.gz") for path in built.iterdir()} == {version}


# Ranges and pins

PINS = dict(line.split("==") for line in read("constraints.txt").splitlines() if line and not line.startswith("#"))


@pytest.mark.parametrize("section", requirements())
def test_every_requirement_is_pinned_inside_its_range(section):
    for requirement in requirements()[section]:
        assert requirement.name in PINS, f"constraints.txt has no version of {requirement.name}"
        pin = PINS[requirement.name]
        assert requirement.specifier.contains(pin), f"{requirement} excludes the tested {pin}"


@pytest.mark.parametrize("name", PINS)
def test_a_pin_suits_those_who_require_it(name):
    "What the pinned packages ask of each other is compared with the pins themselves"
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        wanted = PINS.get(requirement.name) or PINS.get(requirement.name.replace("-", "_"))
        if wanted and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            assert requirement.specifier.contains(wanted), f"{name} needs {requirement}, constraints.txt says {wanted}"


# What is imported is declared

def imported(code):
    "Packages that Python code imports, inside functions as well, Python's own left out"
    code = re.sub(r"^\s*[%!].*$", "", code, flags=re.M) # commands of IPython and the shell
    nodes = list(ast.walk(ast.parse(code)))
    names = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names


def code_of(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py": return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def imported_in(*patterns):
    "{package: files that import it}, the course and its tests' own helpers left out"
    ours, found = {"course_lib", *(path.stem for path in ROOT.glob("[bt]*/*.py"))}, {}
    for path in [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]:
        for name in imported(code_of(path)) - ours: found.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return found


DISTRIBUTIONS = importlib.metadata.packages_distributions()


def undeclared(found, *sections):
    "{package: one file that imports it} where no section of settings.ini names the distribution it comes from"
    declared = {canonicalize_name(line.name) for section in sections for line in requirements()[section]}
    return {name: files[0] for name, files in found.items()
            if not declared & {canonicalize_name(there) for there in DISTRIBUTIONS.get(name, [name])}}


def test_imports_are_found_where_they_are_made():
    code = "import os, numpy.linalg\n%matplotlib inline\ndef late():\n    from PIL import Image\nfrom . import files"
    assert imported(code) == {"numpy", "PIL"}
    assert undeclared({"PIL": ["a.py"], "no_such": ["b.py"], "pytest": ["c.py"]}, "DEFAULT") == {"no_such": "b.py",
                                                                                                 "pytest": "c.py"}


def test_what_readers_run_needs_the_core_alone():
    found = imported_in("course_lib/**/*.py", "nbs/*.ipynb", "nbs/dives/*.ipynb", "nbs/solutions/*.ipynb")
    assert {"torch", "numpy", "fastai", "gradio"} <= set(found)
    optional = {"nbdev", "websocket", # `--save` and `course screenshots` alone need them, and say so
                "myfm"}               # an independent check: the cell is passed over where it is not installed
    assert undeclared({name: files for name, files in found.items() if name not in optional}, "DEFAULT") == {}


def test_what_developers_run_needs_the_extra_alone():
    found = imported_in("nbs/**/*.ipynb", "tests/*.py", "benchmarks/*.py", "course_lib/**/*.py")
    assert {"pytest", "fastcore", "nbdev"} <= set(found)
    assert undeclared(found, "DEFAULT", "dev", "more") == {}


def test_building_needs_what_pyproject_says():
    needed = {Requirement(line).name for line in FACTS["build-system"]["requires"]}
    assert imported(read("setup.py")) == needed == {"setuptools"}


# README, continuous integration, containers

def test_the_readme_starts_with_the_two_commands():
    first, second = re.findall(r"```bash\n(.*?)\n```", read("README.md"), flags=re.S)[:2]
    start = "python3 -m venv .venv && . .venv/bin/activate && "
    assert first == start + "pip install -e . -c constraints.txt && course run 04"
    assert second == start + 'pip install -e ".[dev]" -c constraints.txt && course test'


def test_the_gate_does_what_the_readme_says():
    script = read(".ci/run")
    assert 'constraints="-c constraints.txt"' in script
    assert re.search(r'^pip install .*-e "\.\[dev\]" \$constraints$', script, flags=re.M)
    assert re.search(r"^course test$", script, flags=re.M)


PRETENDED_PYTHON = """#!/bin/bash
if [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    echo "PATH=$3/bin:$PATH" > "$3/bin/activate"
    printf '#!/bin/bash\necho "pip $*" >> "$LOG"' > "$3/bin/pip"
    printf '#!/bin/bash\necho "uv $* [$UV_TORCH_BACKEND]" >> "$LOG"' > "$3/bin/uv"
    printf '#!/bin/bash\necho "course $* [$COURSE_MODE] $FASTAI_HOME" >> "$LOG"; exit $VERDICT' > "$3/bin/course"
    chmod +x "$3/bin/pip" "$3/bin/uv" "$3/bin/course"
fi
"""


@pytest.fixture
def tools(tmp_path):
    "A PATH with little more than a shell: no browser, no package manager, no Python"
    (tmp_path/"bin").mkdir()
    for name in ("bash", "dirname", "mkdir", "chmod", "mktemp", "rm"):
        (tmp_path/"bin"/name).symlink_to(shutil.which(name))
    return tmp_path/"bin"


def pretend(tools, name, script="#!/bin/bash\n"):
    (tools/name).write_text(script, encoding="utf-8")
    (tools/name).chmod(0o755)


def run_gate(tools, *arguments, **env):
    env = {"PATH": str(tools), "LOG": str(tools.parent/"log"), "TMPDIR": str(tools.parent), **env}
    return subprocess.run([shutil.which("bash"), ROOT/".ci"/"run", *arguments], env=env,
                          capture_output=True, text=True, timeout=300)


needs_bash = pytest.mark.skipif(os.name == "nt", reason="the gate is a shell script")


SYSTEM = {"chromium": "Chromium", "soffice": "LibreOffice", "node": "Node", "npm": "npm"}


def pretend_system(tools, missing=None):
    for command in SYSTEM:
        if command != missing: pretend(tools, command)


@needs_bash
@pytest.mark.parametrize("missing", SYSTEM)
def test_the_gate_fails_where_a_system_package_is_missing(tools, missing):
    pretend_system(tools, missing)
    done = run_gate(tools)
    assert done.returncode == 1 and f"the tests need {SYSTEM[missing]}" in done.stderr


@needs_bash
def test_the_gate_fails_where_python_is_missing(tools):
    pretend_system(tools)
    done = run_gate(tools)
    assert done.returncode == 1 and "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


@needs_bash
def test_the_gate_refuses_unknown_options(tools):
    done = run_gate(tools, "--fast")
    assert done.returncode == 2 and "--newest" in done.stderr and os.access(ROOT/".ci"/"run", os.X_OK)


@needs_bash
@pytest.mark.parametrize("arguments, pins", [([], " -c constraints.txt"), (["--newest"], "")])
@pytest.mark.parametrize("verdict", [0, 3])
def test_the_gate_installs_tests_and_leaves_nothing(tools, arguments, pins, verdict):
    pretend_system(tools)
    pretend(tools, "python3", PRETENDED_PYTHON)
    done = run_gate(tools, *arguments, VERDICT=str(verdict), COURSE_MODE="full", FASTAI_HOME="/stale")
    install, check, test = (tools.parent/"log").read_text(encoding="utf-8").splitlines()
    assert (install, check) == (f"pip install --quiet -e .[dev]{pins}", "pip check")
    assert test.startswith(f"course test [] {tools.parent}"), "modes and caches of the account do not count"
    assert done.returncode == verdict and ("All passed" in done.stdout) == (verdict == 0)
    assert sorted(path.name for path in tools.parent.iterdir()) == ["bin", "log"]


@needs_bash
@pytest.mark.parametrize("arguments, pins", [([], " -c constraints.txt"), (["--newest"], "")])
def test_the_gate_takes_the_wheels_that_it_is_told_to(tools, arguments, pins):
    pretend_system(tools)
    pretend(tools, "python3", PRETENDED_PYTHON)
    assert run_gate(tools, *arguments, VERDICT="0", UV_TORCH_BACKEND="cpu").returncode == 0
    log = (tools.parent/"log").read_text(encoding="utf-8").splitlines()
    assert log[:2] == ["pip install --quiet uv", f"uv pip install --quiet torch torchvision{pins} [cpu]"]
    assert log[2] == f"pip install --quiet -e .[dev]{pins}"


WORKFLOWS = sorted((ROOT/".github"/"workflows").glob("*.yml"))


def workflow(name): return yaml.safe_load(read(f".github/workflows/{name}.yml"))


def triggers(flow): return flow[True] # YAML takes the key `on` for a truth value


def commands(job): return "\n".join(step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_bounded_and_name_no_owner(path):
    text = path.read_text(encoding="utf-8")
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"} and "concurrency" in flow
    for job in flow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 360
        for step in job["steps"]: assert "run" in step or re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step["uses"])
    assert FACTS["project"]["urls"]["Repository"].split("/")[3] not in text


@pytest.mark.parametrize("name", ["tests", "site"])
def test_workflows_run_once_for_a_change(name):
    "For a branch with a pull request, a push would start everything a second time"
    assert triggers(workflow(name))["push"] == {"branches": ["main"]} and "pull_request" in triggers(workflow(name))


def test_workflows_try_every_python_that_is_promised():
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(FACTS["project"]["classifiers"]))
    job = workflow("tests")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == promised == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1]["run"] == ".ci/run"


def test_workflows_try_other_systems():
    job = workflow("tests")["jobs"]["elsewhere"]
    assert {system.split("-")[0] for system in job["strategy"]["matrix"]["system"]} == {"windows", "macos"}
    files = re.findall(r"tests/\S+", job["steps"][-1]["run"])
    assert len(files) > 5 and [name for name in files if not (ROOT/name).is_file()] == []


LINUX = [(path.stem, name) for path in WORKFLOWS for name, job in workflow(path.stem)["jobs"].items()
         if job["runs-on"] == "ubuntu-latest" and re.search(r"\.ci/run|pip install", commands(job))]


@pytest.mark.parametrize("name, job", LINUX)
def test_machines_without_a_gpu_install_wheels_without_cuda(name, job):
    job = workflow(name)["jobs"][job]
    gates = [step for step in job["steps"] if step.get("run", "").startswith(".ci/run")]
    assert all(step["env"]["UV_TORCH_BACKEND"] == "cpu" for step in gates)
    if gates: return
    first, second = [line for line in commands(job).splitlines() if "pip install" in line]
    pins = " -c constraints.txt" if second.endswith(" -c constraints.txt") else ""
    assert first == f"pip install uv && uv pip install --system --torch-backend cpu torch torchvision{pins}"
    assert second == f'pip install -e ".[dev]"{pins}'


def test_the_site_is_built_for_every_change_and_published_from_main():
    jobs = workflow("site")["jobs"]
    [quarto] = [step for step in jobs["build"]["steps"] if step.get("uses", "").startswith("quarto-dev/")]
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(quarto["with"]["version"]))
    assert "nbdev-docs" in commands(jobs["build"]) and "if" not in jobs["build"]
    assert "github.ref == 'refs/heads/main'" in jobs["deploy"]["if"] and "!= 'pull_request'" in jobs["deploy"]["if"]


@needs_bash
@pytest.mark.parametrize("declared, here, status", [
    ("ada/notes", "ada/notes", 0), ("ada/notes", "Ada/Notes", 0), ("-your-account-/notes", "ada/notes", 1),
    ("eve/notes", "ada/notes", 1)])
def test_a_site_whose_links_lead_elsewhere_is_refused(tmp_path, declared, here, status):
    [step] = [step for step in workflow("site")["jobs"]["build"]["steps"] if "GITHUB_REPOSITORY" in step.get("run", "")]
    assert step["if"] == "github.event_name != 'pull_request'"
    facts = f'[project.urls]\nRepository = "https://github.com/{declared}"\n'
    (tmp_path/"pyproject.toml").write_text(facts, encoding="utf-8")
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path,
                          env={**os.environ, "GITHUB_REPOSITORY": here},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == status
    if status: assert f'Repository = "https://github.com/{here}"' in done.stdout and "course sync" in done.stdout


def test_the_weekly_run_keeps_its_figures_and_compares_them():
    job = workflow("weekly")["jobs"]["full"]
    run, compare = commands(job).index("course run --full --save"), commands(job).index("python -m pytest")
    assert run < compare
    assert re.findall(r"tests/\S+", commands(job)) == [f"tests/test_{info.module}.py" for info in lessons()]
    kept = job["steps"][-1]
    assert kept["uses"].startswith("actions/upload-artifact") and kept["if"] == "always()"
    assert kept["with"]["path"].strip("/") == "results"


def test_dependabot_looks_at_actions_and_packages():
    updates = yaml.safe_load(read(".github/dependabot.yml"))["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip"}


CPU_WHEELS = "pip install uv && uv pip install --torch-backend cpu torch torchvision -c constraints.txt"


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_containers_install_what_the_readme_says(kind):
    container = json.loads(read(f".devcontainer/{kind}/devcontainer.json"))
    command = container["postCreateCommand"]
    assert "pip install -e '.[dev]' -c constraints.txt" in command
    assert (f"{CPU_WHEELS} && pip install -e" in command) == (kind == "cpu")
    assert container["image"].rsplit(":", 1)[1] in ("3.11", "3.12", "3.13")
    assert ("--gpus" in container.get("runArgs", [])) == (kind == "gpu")
    assert 8888 in container["forwardPorts"]
    assert "ms-toolsai.jupyter" in container["customizations"]["vscode"]["extensions"]


def test_the_readme_says_how_to_install_without_a_gpu():
    assert f". .venv/bin/activate && {CPU_WHEELS}\n" in read("README.md")

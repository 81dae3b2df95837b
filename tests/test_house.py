"Rooms import from rooms below, tools from all and nobody from tools; no circles, and no module grows too large."
import ast
import graphlib
import json
import re
import subprocess
import sys
import tomllib
from functools import cache

import pytest
from conftest import LONGEST
from course_lib.base.catalogue import lessons
from course_lib.base.env import checkout

ROOT = checkout()
PACKAGE = ROOT/"course_lib"

# From the ground up: {room: rooms it may import from}, beside itself
ALLOWED = {
    "base": set(),
    "data": {"base"},
    "lesson": {"base", "data"},
    "quiz": {"base"},
    "exercises": {"base"},
    "figures": {"base"},
    "pictures": {"base", "data", "figures"},
    "tables": {"base", "data", "figures"},
    "apps": {"base", "data", "figures"},
}
ALLOWED["tools"] = set(ALLOWED)
LESSONS = {info.module: info.number for info in lessons()}
MOST_LINES = 500


def imported(code, package=""):
    "Modules of the course that Python code imports, inside functions as well: {dotted name}"
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("course_lib")}
        if not isinstance(node, ast.ImportFrom): continue
        parts = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*parts, *([node.module] if node.module else [])])
        if source.split(".")[0] != "course_lib": continue
        inner = {f"{source}.{name.name}" for name in node.names}
        found |= {name if is_module(name) else source for name in inner}
    inside = {name.removeprefix("course_lib").lstrip(".") for name in found}
    return {name for name in inside if name and not name.startswith("_")} # nbdev's index is no module of ours


def is_module(name): return (ROOT/name.replace(".", "/")).is_dir() or (ROOT/f"{name.replace('.', '/')}.py").is_file()


def module_name(path): return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.startswith("_")}
IMPORTS = {name: imported(path.read_text(encoding="utf-8"), f"course_lib.{name}".rpartition(".")[0])
           for name, path in MODULES.items()}


def notebook_code(path):
    "The code of a notebook, cells that are only to be read included, commands of IPython and the shell left out"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"^\s*[%!].*$", "", code, flags=re.M)


NOTEBOOKS = {path.relative_to(ROOT/"nbs").as_posix(): path for path in sorted((ROOT/"nbs").rglob("*.ipynb"))
             if not any(part.startswith(("_", ".")) for part in path.relative_to(ROOT).parts)}


@cache
def cells():
    "What the cells of each notebook import; read when the first test asks, not while pytest collects"
    return {name: imported(notebook_code(path)) for name, path in NOTEBOOKS.items()}


def complaint(room, target):
    "What is wrong where `room` (or a lesson, by its module) imports from the module `target`; None where nothing is"
    theirs = target.split(".")[0]
    if theirs == "dives": return f"{room} imports {target}, but nothing stands on a dive"
    if theirs in ALLOWED:
        allowed = ALLOWED[room] | {room} if room in ALLOWED else set(ALLOWED) - {"tools"}
        return None if theirs in allowed else f"{room} imports {target}"
    if theirs not in LESSONS: return f"{room} imports {target}, which is in no room"
    if room in ("tools", "dives") or LESSONS.get(room, 0) >= LESSONS[theirs]: return None
    return f"{room} imports the lesson {target}"


def complaints(room, targets): return [words for target in sorted(targets) if (words := complaint(room, target))]


def room_of_page(name):
    "The room of a notebook; a lesson, its dives and its solutions count as the lesson"
    parts = name.split("/")
    if parts[0] == "lib": return parts[1]
    number = re.match(r"\d+", parts[-1])
    return next((module for module, place in LESSONS.items() if number and place == int(number[0])), "start")


# The table itself

def test_the_table_knows_every_room():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    workshop = {path.name for path in (ROOT/"nbs"/"lib").iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert rooms - {"dives"} == workshop == set(ALLOWED)
    assert {name for name in MODULES if "." not in name} <= set(LESSONS), "what is no lesson lives in a room"


def test_the_table_goes_upwards():
    order = list(ALLOWED)
    assert [room for room in order for below in ALLOWED[room] if order.index(below) >= order.index(room)] == []


def test_every_kind_of_import_is_seen():
    code = ("import course_lib.base.env\nfrom course_lib.base import files, web as w\nfrom ..data.fetch import fetch\n"
            "from . import check\ndef late():\n    from course_lib.tools.cli import main\nimport json")
    found = {"base.env", "base.files", "base.web", "data.fetch", "pictures.check", "tools.cli"}
    assert imported(code, "course_lib.pictures") == found
    assert len(IMPORTS) > 40 and sum(map(len, IMPORTS.values())) > 100 and sum(map(len, cells().values())) > 100


@pytest.mark.parametrize("room, target, allowed", [
    ("base", "base.env", True), ("base", "data.sets", False), ("data", "base.env", True),
    ("pictures", "tables.titanic", False),
    ("pictures", "figures.network", True), ("figures", "pictures.check", False), ("apps", "tools.runner", False),
    ("tools", "apps.bundle", True), ("mnist", "intro", True), ("intro", "mnist", False),
    ("mnist", "tools.publish", False),
    ("exercises", "mnist", False), ("mnist", "mnist", True), ("tools", "mnist", True), ("dives", "mnist", True),
    ("dives", "figures.network", True), ("dives", "tools.cli", False), ("mnist", "dives.eighteen", False)])
def test_wrong_directions_are_found(room, target, allowed): assert (complaint(room, target) is None) == allowed


# The house

@pytest.mark.parametrize("name", MODULES)
def test_modules_import_from_below(name): assert complaints(name.split(".")[0], IMPORTS[name]) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pages_import_from_below(name):
    "A dive may show what it ends with before it builds it: its own module, and no other dive's"
    own = re.search(r"^#\| default_exp (dives\.\w+)", notebook_code(NOTEBOOKS[name]), re.M)
    assert complaints(room_of_page(name), cells()[name] - {own[1] if own else ""}) == []


def test_no_module_imports_in_a_circle():
    try: circle = [] if list(graphlib.TopologicalSorter(IMPORTS).static_order()) else ["no module at all"]
    except graphlib.CycleError as error: circle = error.args[1]
    assert circle == []


def test_the_wheel_holds_every_room():
    facts = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {f"course_lib.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    assert set(facts["packages"]) == {"course_lib", "course_lib.quizzes"} | folders
    assert len(facts["packages"]) == len(set(facts["packages"]))


def test_one_notebook_exports_one_module():
    exported = {name: re.findall(r"^#\| default_exp (\S+)", notebook_code(path), flags=re.M)
                for name, path in NOTEBOOKS.items()}
    names = [module for modules in exported.values() for module in modules]
    assert sorted(names) == sorted(MODULES), "a module without a notebook is left over"
    for name, modules in exported.items():
        if page := re.fullmatch(r"lib/(\w+)/\d\d_(\w+)\.ipynb", name): assert modules == [f"{page[1]}.{page[2]}"]


def test_no_module_is_too_large():
    "There is a second idea inside such a module, which wants one of its own"
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count >= MOST_LINES} == {}


def own_lines(path):
    "Lines of the cells, without nbdev's head, whose promise and list of names may be wider"
    return path.read_text(encoding="utf-8").partition("\n# %% ../")[2].splitlines()


def test_lines_of_the_package_are_short():
    wide = {name: sum(len(line) > 120 for line in own_lines(path)) for name, path in MODULES.items()}
    assert all(own_lines(path) for path in MODULES.values())
    assert {name: count for name, count in wide.items() if count} == {}


def test_the_files_that_come_first_are_there():
    assert [name for name in LONGEST if not (ROOT/"tests"/name).is_file()] == []


@pytest.mark.parametrize("name, code, rule", [
    ("tests/any.py", "print(nowhere)\n", "F821"), ("course_lib/tables/any.py", "print(nowhere)\n", "F821"),
    ("tests/any.py", f"x = '{'long'*40}'\n", "E501"), ("benchmarks/any.py", f"x = '{'long'*40}'\n", "E501"),
    ("course_lib/any.py", "import os\n", "F401")])
def test_lint_looks_everywhere(name, code, rule):
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--stdin-filename",
                           name, "-"],
                          cwd=ROOT, input=code, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and f" {rule} " in done.stdout

"What the tests of the exercises need of each page of solutions: its cells, and a learner's code to hand to its checks"
import ast
import json
import linecache
import re
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def cells(path):
    "Source of each cell of a notebook, by id"
    return {cell["id"]: "".join(cell["source"])
            for cell in json.loads((ROOT/path).read_text(encoding="utf-8"))["cells"]}

def asking_page(lesson, cell):
    "Cells of the page that has the cell of an exercise: a dive of the lesson, or the lesson itself"
    dives = sorted(f"nbs/dives/{path.name}" for path in (ROOT/"nbs/dives").glob(f"{lesson[:3]}*.ipynb"))
    return next(found for path in [*dives, f"nbs/{lesson}.ipynb"] if cell in (found := cells(path)))

def squeeze(text): return re.sub(r"\s", "", text)

def statements(source):
    "Each line of a solution that says something, without blanks"
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    lines = {line.strip() for node in nodes for line in ast.unparse(node).splitlines()}
    return {squeeze(line) for line in lines if line and not line.startswith(("def ", "class ", "for ", "if "))}

class Page:
    """The page of solutions of a lesson such as '04_mnist'.

    With it the checks that the lesson's module exports, and the cases in `exercises_04_mnist`."""
    def __init__(self, lesson):
        self.lesson, self.cases = lesson, import_module(f"exercises_{lesson}")
        self.module = import_module(f"course_lib.exercises.{lesson.partition('_')[2]}")
        self.check, self.exercises = self.module.check, self.module.check.exercises
        self.cells = cells(f"nbs/solutions/{lesson}.ipynb")
        self.mistakes = {cell.removeprefix("mistake-"): source for cell,
                         source in self.cells.items() if cell.startswith("mistake-")}

    def run(self, source, cell):
        "Run a cell's source with the names that a learner has, its lines known to tracebacks as in a notebook"
        linecache.cache[cell] = len(source), None, source.splitlines(True), cell
        names = {"check": self.check, **self.cases.NAMES}
        exec(compile(source, cell, "exec"), names)
        return names

    def solution(self, name): return self.run(self.cells[f"solution-{name}"], f"solution-{name}")[name]

    def mistake(self, cell):
        "The wrong answer that a cell defines; the cell's last line has it checked, which is the test's affair here"
        name = cell.partition("-")[0]
        source, _, last = self.mistakes[cell].rstrip().rpartition("\n")
        assert last == f"check.{name}({name})"
        return self.run(source, f"mistake-{cell}")[name]

    def written(self, name, body):
        """A learner's function with this body, under the exercise's own signature.

        Of a class, the body of `__init__` and what follows it."""
        exercise = self.exercises[name]
        source = f"def {exercise.form}:\n    {body}\n"
        if exercise.methods:
            source = f"class {name}:\n    def {exercise.form.replace(f'{name}(', '__init__(self, ')}:\n        {body}\n"
        return self.run(source, f"answer-{name}")[name]

    def try_out(self, name, body): return self.exercises[name](self.written(name, body))

    def left_of_solution(self, name, text):
        "Lines of a solution that stand in a text"
        solution = statements(self.cells[f"solution-{name}"])
        assert solution
        return [line for line in solution if line in squeeze(text)]

PAGES = [Page(path.stem) for path in sorted((ROOT/"nbs/solutions").glob("*.ipynb"))]

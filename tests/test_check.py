"The exercise checker: every way an answer can fall short has its own message, and a check never raises."
import copy
import importlib.util
import json
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from course_lib.exercises.check import Checks, Verdict
from course_lib.base.env import CourseError

HALVE = "def halve(x):\n    {}\n"

@pytest.fixture
def check():
    "One exercise on a function and one on a class"
    checks = Checks("demo")

    @checks.add("halve(x)", "M1", "Half of each number", section="Sharing",
                hints=("Think of two.", "Think of one in two."),
                without=("div", "half_of"), takeaway="Halves are quarters, doubled.")
    def probe_halve(trial):
        for x in (torch.tensor([2., 4.]), torch.randn(2, 10)):
            x.requires_grad_()
            got = trial(x)
            trial.same(got, x/2, "Each number gets nearer to zero.", {"That is a third.": x/3})
            trial.gradient(got, x/2, x)
        if trial.lines_run(x) > trial.lines_run(x[:1]): trial.refuse("there is a loop.")

    @checks.add("Counter(start)", "M2", "Counts upwards", methods=("step", "reset"))
    def probe_counter(trial):
        counter = trial(3)
        trial.same(trial.run(counter.step), 4)

    return checks

@pytest.fixture
def learner(tmp_path):
    "Turns source text into a module with a file of its own, as a notebook cell has"
    def load(source):
        file = tmp_path/"answer.py"
        file.write_text(f"import torch\nimport numpy as np\n{source}", encoding="utf-8")
        spec = importlib.util.spec_from_file_location("answer", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load

WRONG = {
    "list": ("return (x/2).tolist()", "wanted a tensor, got `list`. A list has no shape"),
    "array": ("return x.detach().numpy()/2", "got `ndarray`. PyTorch cannot follow gradients through NumPy"),
    "number": ("return float(x.detach().sum())/2", "got `float`. A plain number has lost its gradient"),
    "shape": ("return x[None]/2", "wanted shape `[2]`, got `[1, 2]`"),
    "dtype": ("return (x/2).double()", "wanted numbers of type `torch.float32`, got `torch.float64`"),
    "value": ("return x*2", "wanted `tensor([1, 2])`, got `tensor([4, 8])`"),
    "known slip": ("return x/3", "That is a third."),
    "rule": ("return x*2", "Each number gets nearer to zero."),
    "gradient of something else": ("return torch.tensor([1., 2.], requires_grad=True)", "its gradient is lost"),
    "gradient of zero": ("return x*0 + torch.tensor([1., 2.])", "wanted `tensor([0.5, 0.5])`, got `tensor([0, 0])`"),
    "nan": ("return (x-100).sqrt()", "`nan` comes of"),
    "in place": ("x.data.div_(3); return x/2", "`x` was changed by the call"),
    "operator": ("x = x.data\n    x /= 3; return x", "`x` was changed by the call"),
    "detached": ("return x.detach()/2", "its gradient is lost"),
    "wrong gradient": ("return x.detach()/2 + (x - x.detach())", "wanted `tensor([0.5, 0.5])`, got `tensor([1, 1])`"),
    "no return": ("x/2", "nothing came back"),
    "raises": ("return x/nought", "NameError: name 'nought' is not defined, at line 4 of your code, `return x/nought`"),
    "raises in a library": ("return x.view(3, 3)", "at line 4 of your code, `return x.view(3, 3)`"),
    "stopped": ("raise KeyboardInterrupt", "stopped by hand, at line 4 of your code, `raise KeyboardInterrupt`"),
    "loop": ("return torch.stack([0.5*row for row in x])", "there is a loop"),
    "borrowed": ("return x.div(2)", "`div` does the whole exercise"),
    "borrowed inside": ("return (lambda y: torch.div(y, 2))(x)", "`div` does the whole exercise"),
}

@pytest.mark.parametrize("name", WRONG)
def test_each_fault_has_its_message(check, learner, name):
    body, message = WRONG[name]
    verdict = check.halve(learner(HALVE.format(body)).halve)
    assert not verdict and verdict.state == "wrong"
    assert message in verdict.message

@pytest.mark.parametrize("signature, message", [
    ("", "yours is `halve()`: too many positional arguments"),
    ("x, y", "yours is `halve(x, y)`: missing a required argument: 'y'"),
])
def test_wrong_signature(check, learner, signature, message):
    verdict = check.halve(learner(f"def halve({signature}): return 1").halve)
    assert "It will be called as `halve(x)`" in verdict.message and message in verdict.message

def test_an_answer_typed_in_is_found_out():
    checks = Checks("demo")

    @checks.add("total(a, b)", "M1", "The sum")
    def probe(trial):
        for a, b in ((1, 2), (3, 4)): trial.same(trial(a, b), a+b)

    assert "answer to an earlier question" in checks.total(lambda a, b: 3).message

@pytest.mark.parametrize("name", ["add", "progress", "forget", "lesson", "exercises"])
def test_an_exercise_cannot_take_a_name_of_the_checker(name):
    with pytest.raises(CourseError, match=f"check.{name}. is taken"): Checks("demo").add(f"{name}(x)", "M1", "")(print)

@pytest.mark.parametrize("body",
                         ["...", "pass", "return", "return None", "'A docstring'",
                          "'A docstring'\n    ...   # your code"])
def test_a_skeleton_is_not_done_and_costs_nothing(check, learner, body):
    verdict = check.halve(learner(HALVE.format(body)).halve)
    assert verdict.state == "not done" and "not done yet" in repr(verdict) and "`halve`" in verdict.message
    assert check.halve.tries == 0 and check.progress().rows[0]["state"] == "not yet"

@pytest.mark.parametrize("answer", [None, 3, torch.ones(2), torch.sigmoid, int, "halve"],
                         ids=["nothing", "a number", "a tensor", "not written here", "a class", "a name"])
def test_something_else_than_a_function(check, answer):
    verdict = check.halve(answer)
    assert verdict.state == "not done" and "Hand over your function itself, `check.halve(halve)`" in verdict.message

@pytest.mark.parametrize("methods, state, message", [
    ("def step(self): ...", "not done", "no code in `__init__` and `step` yet"),
    ("def step(self): return 4", "not done", "no code in `__init__` yet"),
    ("def __len__(self): return 1", "not done", "`__init__`"),
])
def test_a_class_is_done_when_every_method_is(check, learner, methods, state, message):
    answer = learner(f"class Counter:\n    def __init__(self, start): ...\n    {methods}\n").Counter
    verdict = check.Counter(answer)
    assert verdict.state == state and message in verdict.message

def test_a_class_without_a_method_and_one_without_code(check):
    class Half:
        def __init__(self, start): self.start = start
        def step(self): return self.start + 1
    class Empty: ...
    assert "needs a method `reset`" in check.Counter(Half).message
    assert check.Counter(Empty).state == "not done" and check.Counter(lambda start: 3).state == "not done"
    Half.reset = lambda self: 0
    assert check.Counter(Half)

def test_hints_grow_with_tries(check):
    seen = [check.halve(lambda x: 2*x) for _ in range(5)]
    assert [len(verdict.hints) for verdict in seen] == [0, 1, 2, 3, 3]
    assert "'Sharing'" in seen[1].hints[0] and "Think of one in two." in repr(seen[3])
    passed = check.halve(lambda x: x/2)
    assert passed and passed.hints == () and passed.message == "Halves are quarters, doubled."

def test_a_pass_is_never_taken_back(check):
    assert check.halve(lambda x: x/2)
    assert not check.halve(lambda x: x/3)
    assert check.progress().rows[0] | {"prompt": ""} == dict(name="halve", row="M1", prompt="", state="passed", tries=1)

def test_a_probe_that_stumbles_gives_a_verdict():
    checks = Checks("demo")

    @checks.add("f(x)", "M1", "Anything with a length")
    def probe(trial): len(trial(1))

    verdict = checks.f(lambda x: x)
    assert verdict.state == "wrong" and "could not go on" in verdict.message and "TypeError" in verdict.message

def test_a_decorated_function_is_looked_through(check):
    verdict = check.halve(torch.no_grad()(lambda x: x/2))
    assert "its gradient is lost" in verdict.message

@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(1).item()],
                         ids=["python", "numpy", "torch"])
def test_a_check_leaves_the_lessons_random_numbers_alone(check, draw):
    def seed(): random.seed(1); np.random.seed(1); torch.manual_seed(1)
    seed()
    undisturbed = draw()
    seed()
    check.halve(lambda x: x/2 + draw())
    assert draw() == undisturbed

def test_inputs_are_fresh_at_every_call(check):
    seen = []
    for _ in range(2): check.halve(lambda x: seen.append(x.detach().clone()) or x/2)
    shown = [x for x in seen if x.shape == (2, 10)]
    assert len(shown) >= 2 and not torch.equal(shown[0], shown[-1])

@pytest.mark.parametrize("name, suggestion", [("halv", "'halve'"), ("counter", "Counter"), ("zebra", "halve, Counter")])
def test_unknown_exercise(check, name, suggestion):
    with pytest.raises(CourseError, match=re.escape(suggestion)): getattr(check, name)
    assert not hasattr(check, name)

def test_names_can_be_completed_and_explained(check):
    assert {"halve", "Counter", "progress", "forget"} <= set(dir(check))
    assert check.halve.__doc__ == "halve(x): Half of each number"
    assert copy.deepcopy(check).halve.name == "halve"

def test_html_escapes_what_the_learner_wrote_and_sets_no_text_colour(check):
    def shout(x): raise ValueError("<script>alert(1)</script>")
    html = check.halve(shout)._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "<code>" in html
    assert not re.search(r"(?<![-\w])color:", html)

@pytest.mark.parametrize("state", ["passed", "wrong", "not done"])
def test_both_forms_of_a_verdict_say_the_same(state):
    verdict = Verdict("halve", state, "Tried `halve(1)`.", ("One.", "Two."))
    text = re.sub(r"<[^>]+>", "", verdict._repr_html_())
    assert text == repr(verdict).replace("`", "")
    assert bool(verdict) == (state == "passed")

def test_progress_can_be_exported_and_forgotten(check):
    check.halve(lambda x: x/3); check.halve(lambda x: x/3)
    progress = check.progress()
    assert [row["state"] for row in json.loads(json.dumps(progress.rows))] == ["tried", "not yet"]
    assert "tried 2 times" in repr(progress) and "tried 2 times" in progress._repr_html_()
    assert "0 of 2" in progress.title
    check.forget()
    assert [(row["state"], row["tries"]) for row in check.progress().rows] == [("not yet", 0)]*2

def test_importing_the_checker_loads_no_torch():
    program = "import course_lib.exercises.check, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0

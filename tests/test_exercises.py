"The exercises of every lesson: right answers pass, every known mistake is named, and no message gives the answer away."
import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from exercise_page import PAGES, asking_page, statements

def case(page, *values, name): return pytest.param(page, *values, id=f"{page.lesson}-{name}")

LESSONS = [case(page, name="all") for page in PAGES]
EXERCISES = [case(page, name, name=name) for page in PAGES for name in page.exercises]
FUNCTIONS = [case(page, name, name=name) for page in PAGES for name in page.exercises
             if not page.exercises[name].methods]
MISTAKES = [case(page, cell, cause, name=cell) for page in PAGES for cell, cause in page.cases.CAUSES.items()]
MORE = [case(page, *more, name=f"{more[0]}-{i}") for page in PAGES for i, more in enumerate(page.cases.MORE)]
OTHERS = [case(page, *other, name=f"{other[0]}-{i}") for page in PAGES for i, other in enumerate(page.cases.OTHERS)]

@pytest.fixture(autouse=True)
def forget():
    for page in PAGES: page.check.forget()

@pytest.fixture(autouse=True, scope="module")
def one_thread():
    "Several threads on tiny tensors only wait for each other"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

@pytest.mark.parametrize("page, name", EXERCISES)
def test_the_solution_passes_every_time(page, name):
    answer = page.solution(name)
    for _ in range(6):
        verdict = page.exercises[name](answer)
        assert verdict, verdict

@pytest.mark.parametrize("page", LESSONS)
def test_every_mistake_on_the_page_is_tested(page):
    shown = Counter(cell.partition("-")[0] for cell in page.mistakes)
    assert set(page.mistakes) == set(page.cases.CAUSES)
    assert set(shown) == set(page.exercises) and min(shown.values()) >= 2

@pytest.mark.parametrize("page, mistake, cause", MISTAKES)
def test_a_mistake_is_refused_its_cause_named_and_the_solution_kept(page, mistake, cause):
    name = mistake.partition("-")[0]
    answer, exercise = page.mistake(mistake), page.exercises[name]
    first, second = exercise(answer), exercise(answer)
    assert first.state == "wrong" and cause in first.message, first
    assert first.hints == () and exercise.section in second.hints[0]
    said = repr(first) + repr(second) + "".join(exercise.hints)
    own = statements(page.mistakes[mistake]) # the learner's line is quoted where it raises
    assert [line for line in page.left_of_solution(name, said) if line not in own] == []

@pytest.mark.parametrize("page, name, body, cause", MORE)
def test_more_mistakes(page, name, body, cause):
    verdict = page.try_out(name, body)
    assert verdict.state == "wrong" and cause in verdict.message, verdict

@pytest.mark.parametrize("page", LESSONS)
def test_every_check_is_tried_with_many_mistakes(page):
    tried = Counter(cell.partition("-")[0] for cell in page.cases.CAUSES) + Counter(name for name,
        *_ in page.cases.MORE)
    assert set(tried) == set(page.exercises) and min(tried.values()) >= 8

@pytest.mark.parametrize("page", LESSONS)
def test_every_check_is_tried_with_another_right_answer(page):
    assert {name for name, _ in page.cases.OTHERS} == set(page.exercises)

@pytest.mark.parametrize("page, name, body", OTHERS)
def test_other_right_answers_pass(page, name, body):
    answer = page.written(name, body)
    for _ in range(3):
        verdict = page.exercises[name](answer)
        assert verdict, verdict

@pytest.mark.parametrize("page, name", EXERCISES)
def test_the_module_does_not_contain_a_line_of_the_solution(page, name):
    assert page.left_of_solution(name, Path(page.module.__file__).read_text(encoding="utf-8")) == []

@pytest.mark.parametrize("body, state, cause", [
    ("...", "not done", "no code in"), ("pass", "not done", "no code in"),
    ("len('words')", "wrong", "nothing came back"),
    ("return 1/0", "wrong", "ZeroDivisionError: division by zero, at line 2 of your code, `return 1/0`"),
    ("return object()", "wrong", "Tried"), ("return (object(), object())", "wrong", "Tried"),
    ("return torch.tensor(float('nan'))", "wrong", "Tried"),
])
@pytest.mark.parametrize("page, name", FUNCTIONS)
def test_what_can_go_wrong_with_any_function(page, name, body, state, cause):
    verdict = page.try_out(name, body)
    assert (verdict.state, cause in verdict.message) == (state, True), verdict
    assert "Traceback" not in repr(verdict) and "check could not go on" not in repr(verdict)

@pytest.mark.parametrize("page, name", EXERCISES)
def test_the_lesson_asks_what_the_check_tries(page, name):
    cell, exercise = "ex-" + name.lower().replace("_", "-"), page.exercises[name]
    asked = asking_page(page.lesson, cell)
    source = asked[cell]
    skeleton = page.run(source, f"ex-{name}")[name]
    assert exercise(skeleton).state == "not done" and source.endswith(f"\ncheck.{name}({name})")
    assert inspect.signature(skeleton) == inspect.signature(page.written(name,
        "...")) and skeleton.__doc__ == exercise.prompt
    assert exercise.section in re.findall(r"^#+ (.+)$", "\n".join(asked.values()), re.M)

"Dives: listed, run, stripped and asked about"
import json
import re

import pytest

from course_lib.base.catalogue import dives, find_page, lessons, notebook_path
from course_lib.base.env import CourseError, checkout
from course_lib.lesson.start import start
from course_lib.quiz.questions import load_quiz

ROOT = checkout()
every_dive = pytest.mark.parametrize("dive", dives(), ids=lambda dive: dive.id)


def cells(path): return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(path): return "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")


# Every dive

def test_the_table_lists_every_notebook():
    notebooks = sorted(path.stem for path in (ROOT/"nbs"/"dives").glob("*.ipynb"))
    assert notebooks and [dive.id for dive in dives()] == notebooks


@every_dive
def test_a_dive_bears_the_number_of_its_lesson(dive):
    assert dive.lesson in [lesson.id for lesson in lessons()] and dive.id[:3] == dive.lesson[:3]


@every_dive
def test_a_dive_is_short_and_starts_itself(dive):
    path = notebook_path(dive.id)
    assert len(cells(path)) <= 70
    assert code(path).count(f'start("{dive.path}")') == 1
    title = next("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
    assert title.startswith(f"# {dive.title}\n\n> ")
    assert set(re.findall(r"^#\\| default_exp (.+)$", code(path), flags=re.M)) <= {f"dives.{dive.id[3:]}"}


@every_dive
def test_a_dive_has_a_stripped_copy_and_questions(dive):
    assert (ROOT/"clean"/f"{dive.path}.ipynb").is_file()
    assert load_quiz(dive.lesson).of_page(dive.path)
    assert f'show_quiz("{dive.lesson}", page="{dive.path}")' in code(notebook_path(dive.id))


@every_dive
def test_its_lesson_leads_to_it(dive):
    lesson = cells(notebook_path(dive.lesson))
    prose = "\n".join("".join(cell["source"]) for cell in lesson if cell["cell_type"] == "markdown")
    assert f"({dive.path}.ipynb" in prose


def test_a_dive_starts_and_keeps_its_results_under_its_path(home, capsys):
    lesson = start("dives/01_is_it_real")
    assert lesson.run.lesson == "dives/01_is_it_real" and "quick" in capsys.readouterr().out


@pytest.mark.parametrize("typed", ["dives/01_is_it_reel", "01_is_it_rea", "is_it_rael"])
def test_a_misspelt_dive_gets_the_nearest(typed):
    with pytest.raises(CourseError, match="Did you mean '01_is_it_real'"): find_page(typed)


def test_a_page_without_questions_is_named():
    with pytest.raises(CourseError, match="no question for 'dives/01_is_it_rael'.*dives/01_is_it_real"):
        load_quiz("01_intro").of_page("dives/01_is_it_rael")

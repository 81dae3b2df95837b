"Dives: listed, run, stripped and asked about; and what they export, at its edges"
import json
import re

import numpy as np
import pytest

from course_lib.base.catalogue import dives, find_page, lessons, notebook_path
from course_lib.base.env import CourseError, checkout
from course_lib.dives import is_it_real
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


# Is it real?

@pytest.mark.parametrize("true", [0., -0.02, 0.05])
def test_studies_find_the_true_slope_on_average(true):
    slopes, p = is_it_real.chance_slopes(80, studies=3000, true_slope=true)
    assert abs(slopes.mean() - true) < 4*slopes.std()/3000**0.5 and ((0 <= p) & (p <= 1)).all()


def test_slopes_and_p_values_are_those_of_scipy():
    from scipy import stats
    slopes, p = is_it_real.chance_slopes(12, studies=1, seed=7)
    rng = np.random.default_rng(7)
    x, luck = 5 + 9*rng.normal(size=12), rng.normal(size=12)
    fit = stats.linregress(x, 2 + 0.5*luck)
    assert np.allclose([slopes[0], p[0]], [fit.slope, fit.pvalue])


def test_luck_shrinks_with_the_root_of_the_cities():
    few, many = (is_it_real.chance_slopes(n)[0].std() for n in (25, 100))
    assert 1.8 < few/many < 2.3


def test_neighbours_fool_the_p_value():
    shares = {regions: (is_it_real.chance_slopes(100, regions=regions)[1] < 0.05).mean() for regions in (0, 8, 50)}
    assert shares[0] < 0.07 < shares[50] < shares[8] and shares[8] > 0.4

"Pages as their readers meet them: short, a result at once, no machinery; every row that the course covers has a place"
import csv
from collections import Counter
from pathlib import Path

import pytest
from pages import NBS, cells_of, counted, pages, section_text, sections_of

from course_lib.base.catalogue import dives, lessons

PLACES = list(csv.DictReader(Path(__file__).with_name("coverage.csv").read_text(encoding="utf-8").splitlines()))
ROWS = {"01": ("I", 23), "02": ("D", 17), "03": ("F", 12), "04": ("M", 11),
        "05": ("P", 15), "06": ("T", 10), "07": ("C", 8), "08": ("N", 8)} # {lesson: (letter, how many)}
WRITTEN = [lesson.id for lesson in lessons()]
AT_ONCE = 10, 300 # Cells that the reader sees, and words, up to the first result

lesson_page = pytest.mark.parametrize("name", WRITTEN)
dive_page = pytest.mark.parametrize("dive", dives(), ids=lambda dive: dive.id)


@lesson_page
def test_a_lesson_is_read_in_an_hour(name):
    page = counted(NBS/f"{name}.ipynb")
    assert 40 < page.cells <= 100 and 1000 < page.words <= 5000 and 50 < page.code <= 350


@lesson_page
def test_the_first_result_comes_at_once(name):
    cells, words, _ = counted(NBS/f"{name}.ipynb").result
    assert cells <= AT_ONCE[0] and words <= AT_ONCE[1]


@lesson_page
def test_a_lesson_shows_no_machinery(name):
    page = counted(NBS/f"{name}.ipynb")
    assert (page.picks, page.machinery, page.codes) == (1, 0, ())
    assert "stand-in" not in " ".join(source for kind, source, _ in cells_of(page.path) if kind == "markdown")


@dive_page
def test_a_dive_is_one_idea(dive):
    page = counted(NBS/f"{dive.path}.ipynb")
    assert 10 < page.cells <= 70 and 300 < page.words <= 3500 and page.code <= 350
    assert page.picks <= 1 and (page.machinery, page.codes) == (0, ())


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place['row']}-{place['section']}")
def test_a_row_has_its_place(place):
    path = NBS/f"{place['page']}.ipynb"
    assert place["section"] == "*" or sections_of(path).count(place["section"]) == 1
    assert place["has"].lower() in section_text(path, place["section"]).lower()


def test_no_row_is_lost():
    wanted = {f"{letter}{n}" for lesson, (letter, most) in ROWS.items() for n in range(1, most + 1)
              if list(NBS.glob(f"{lesson}_*.ipynb"))} | {"X8", "X9"}
    assert set(Counter(place["row"] for place in PLACES)) == wanted


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.stem)
def test_no_two_sections_have_the_same_name(page):
    assert [name for name, times in Counter(sections_of(page.path)).items() if times > 1] == []


def test_counting(tmp_path):
    import json
    cells = [("raw", "---"), ("markdown", "# One\n\ntwo words (https://x.y/z)"),
             ("code", "#| hide\nlesson.record('I1')"),
             ("code", "#| echo: false\nshow()"),
             ("code", "SIZE = lesson.pick(full=1, quick=2)\n\nlearn.fit_one_cycle(1)"),
             ("markdown", "## Next {#sec-x}\n\nrow I7"), ("code", "test_eq(1, 1)"), ("code", "")]
    path = tmp_path/"page.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": [source]} for kind, source in cells]}))
    page = counted(path)
    assert (page.cells, page.words, page.code, page.picks, page.machinery) == (6, 9, 3, 1, 1)
    assert page.result == (2, 4, 2) and page.codes == ("I7",)
    assert sections_of(path) == ["Next"] and "row I7" in section_text(path, "Next")

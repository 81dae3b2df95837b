"Every file of JSON that the course reads, and what may have happened to it"
import json
from pathlib import Path

import pytest
from hostile import BROKEN, EXAMPLES, FIGURE, READERS, RECORD, changed, read
from hypothesis import given, settings, strategies as st

from course_lib.apps.predictor import BadBundle
from course_lib.base.env import CourseError
from course_lib.base.files import parse_json, read_json
from course_lib.pictures.search import ImageRecord


@pytest.fixture
def folder(tmp_path, home, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_MIRROR", "")
    (tmp_path/"photos").mkdir()
    return tmp_path


@pytest.mark.parametrize("what", READERS)
def test_what_the_course_wrote_is_read(folder, what):
    assert not isinstance(read(what, json.dumps(EXAMPLES[what]).encode(), folder), (Exception, type(None)))


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_nobody_wrote_gets_words(folder, what, content):
    read(what, content, folder)


@pytest.mark.parametrize("what", READERS)
def test_a_folder_in_place_of_a_file(folder, what):
    (folder/READERS[what][0]).mkdir(parents=True)
    try: READERS[what][1](folder)
    except (CourseError, BadBundle) as error: assert len(str(error)) > 30


def test_a_changed_value_gets_words_or_is_read(folder):
    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(changed())
    def check(case): read(case[0], json.dumps(case[1]).encode(), folder)
    check()


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) # no half characters

NUMBERS = st.integers(-2**62, 2**62) | st.floats(-1e9, 1e9)

@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.recursive(st.none() | st.booleans() | NUMBERS | TEXTS,
                    lambda more: st.lists(more) | st.dictionaries(TEXTS, more), max_leaves=10))
def test_all_that_json_can_hold_comes_back(content):
    assert parse_json(json.dumps(content)) == content


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    from course_lib.base import files
    (tmp_path/"a.json").write_text("[" + "1,"*1000 + "1]")
    assert len(read_json(tmp_path/"a.json", None)) == 1001
    monkeypatch.setattr(files, "LONGEST_JSON", 1000)
    with pytest.raises(CourseError, match="cannot be read .it has 2,003 bytes"): read_json(tmp_path/"a.json", None)


def test_a_wrong_record_of_a_search_is_not_used(folder):
    assert read("searches", json.dumps(EXAMPLES["searches"]).encode(), folder) == [ImageRecord(**RECORD)]
    for wrong in ({"url": 3}, {"url": "x", "more": 1}, 7):
        assert read("searches", json.dumps(EXAMPLES["searches"] | {"records": [wrong]}).encode(), folder) is None


def test_results_hold_what_they_should(folder):
    for wrong in ({"measured": [FIGURE | {"values": []}]}, {"measured": [FIGURE | {"values": ["x"]}]}, {"data": [{}]},
                  {"measured": [FIGURE | {"published": "M7-x"}]}, {"measured": [FIGURE | {"what": 3}]},
                  {"seconds": "x"}):
        error = read("results", json.dumps(EXAMPLES["results"] | wrong).encode(), folder)
        assert isinstance(error, CourseError) and "04_mnist.json is not a saved run" in str(error)


def test_nothing_beside_the_reader_parses_json_of_others():
    "Parsing is done in one place; the others named here read what this package holds, or a program of ours printed"
    here = Path(read_json.__code__.co_filename).parents[1]
    users = {path.relative_to(here).as_posix() for path in here.rglob("*.py") if "json.loads(" in path.read_text()}
    assert users == {"base/files.py", "apps/predictor.py", "quiz/schema.py", "figures/page.py", "tools/publish.py",
                     "tools/outputs.py", "tools/doctor.py", "tools/browser.py", "tools/screenshots.py",
                     "tools/site_assets.py", "nlp.py"}

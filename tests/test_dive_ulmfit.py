"ULMFiT in small: no judge among the texts that were read, and what the last full run measured"
import json
import statistics

import pytest

from course_lib.base.catalogue import notebook_path
from course_lib.dives.ulmfit import leave_out, letters_of
from course_lib.lesson.results import load_run

REVIEW = "I can't say it's bad.<br /><br />It is 3/10 - at best! Amélie deserved more."


@pytest.mark.parametrize("copy", [
    REVIEW.upper(), REVIEW.replace("<br />", "\n"), REVIEW.replace("<br />", "<BR>"), "  " + REVIEW.replace(" ", "  "),
    REVIEW.replace("'", "’").replace("-", "–"), REVIEW.replace("!", ""), REVIEW.replace(" ", "_"), f"<p>{REVIEW}</p>"])
def test_a_copy_is_known_by_its_letters(copy): assert letters_of(copy) == letters_of(REVIEW)


@pytest.mark.parametrize("other", ["", REVIEW[:-12], REVIEW.replace("3/10", "8/10"), REVIEW.replace("bad", "good"),
                                   REVIEW.replace("é", "e"), REVIEW + " Twice."])
def test_another_review_is_another(other): assert letters_of(other) != letters_of(REVIEW)


@pytest.mark.parametrize("text, letters", [("", ""), (" !? ", ""), ("a < b", "ab"), ("3 > 2", "32"), ("ß", "ss")])
def test_texts_at_the_edge(text, letters): assert letters_of(text) == letters


def test_judges_and_repetitions_are_left_out_and_all_others_stay():
    texts = ["One.", "Two!", "two", "Three", "ONE", "Four", "Three <br />"]
    assert leave_out(texts, ["two."]) == ["One.", "Three", "Four"]
    assert leave_out(texts, []) == ["One.", "Two!", "Three", "Four"]
    assert leave_out([], texts) == [] == leave_out(texts, texts)


def test_the_page_asserts_that_no_judge_was_read_before_it_trains():
    cells = json.loads(notebook_path("08_ulmfit").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    check = "assert not {letters_of(text) for text in read + held}"
    [checked] = [n for n, source in enumerate(sources) if check in source]
    [trained] = [n for n, source in enumerate(sources) if "lm.fit_one_cycle(1, 8e-3)" in source]
    assert checked < trained and "corpus = pd.DataFrame" in sources[checked]
    [same] = [source for source in sources if "text_vocab=lm_dls.vocab" in source]
    assert "assert clas_dls.vocab[0] == lm_dls.vocab" in same


# What the last full run measured

@pytest.fixture(scope="module")
def run(): return load_run("dives/08_ulmfit") or pytest.skip("no full run has been saved yet")


def figure(run, what):
    [found] = [m for m in run.measured if m.what == what]
    return found


def test_the_last_full_run_used_real_data(run):
    assert run.mode == "full" and run.device
    assert {d["name"]: d["source"] == "stand-in" for d in run.data} == {"imdb_sample": False, "imdb": False}


def test_the_language_model_learned_more_than_how_frequent_words_are(run):
    assert figure(run, "language model on reviews, AWD-LSTM").value < 0.7*figure(
        run, "language model on reviews, frequencies").value


@pytest.mark.parametrize("way", ["from nothing", ", pretrained, thawed slowly", ", pretrained, all at once"])
def test_each_way_has_three_seeds_and_none_is_broken(run, way):
    found = figure(run, f"sentiment, LSTM{way if way[0] == ',' else ' ' + way}")
    assert len(set(found.seeds)) == len(found.values) == 3 and 0.4 < min(found.values) < max(found.values) < 0.95


def test_counting_is_hard_to_beat(run):
    rights = figure(run, "sentiment, counting, whole reviews").value
    assert rights > 0.8
    assert all(statistics.mean(m.values) < rights for m in run.measured if m.what.startswith("sentiment, LSTM"))

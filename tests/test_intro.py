"What lesson 1 exports, at its edges; and what its last full run measured"
import io
import json
import re
import statistics
import struct
import subprocess
import sys
import zlib

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from course_lib import intro
from course_lib.data.weights import pretrained
from course_lib.base.catalogue import notebook_path
from course_lib.base.env import CourseError
from course_lib.figures.drawn import draw_flow, has_pictures, page_style
from course_lib.lesson.results import load_run
from course_lib.pictures.sheet import answer_sheet, choose
from course_lib.quiz.questions import load_quiz


def test_a_lesson_does_not_load_the_search_and_the_download():
    code = ("import sys, course_lib.intro; "
            "print(sorted(name for name in sys.modules if name.startswith('course_lib.pictures.')))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['course_lib.pictures.reading']", done.stderr


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    "Twelve pictures of two plain colours, in a folder for each"
    root = tmp_path_factory.mktemp("photos")
    for kind, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (root/kind).mkdir()
        for number in range(6): Image.new("RGB", (32, 32), colour).save(root/kind/f"{number}.png")
    return root


@pytest.fixture(scope="module")
def dls(pets):
    from fastai.vision.all import ImageDataLoaders, Resize
    return ImageDataLoaders.from_folder(pets, valid_pct=0.5, seed=42, bs=4, item_tfms=Resize(32), num_workers=0)


@pytest.fixture(scope="module")
def learn(dls):
    from fastai.vision.all import error_rate, vision_learner
    return vision_learner(dls, pretrained("tf_efficientnet_lite0"), metrics=error_rate)


def encoded(mode, kind, size=(20, 12)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("mode, kind", [("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"),
                                        ("I;16", "PNG")])
def test_an_upload_of_any_kind_of_picture_is_classified(learn, mode, kind):
    answer = intro.classify_upload(learn, (dict(name="mine", content=memoryview(encoded(mode, kind))),))
    assert set(answer) == {"red", "blue"} and sum(answer.values()) == pytest.approx(1, abs=1e-4)
    assert list(answer.values()) == sorted(answer.values(), reverse=True)


def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
BROKEN = encoded("RGB", "PNG")[:8] + chunk(b"IHDR", b"short") + encoded("RGB", "PNG")[33:]


@pytest.mark.parametrize("content", [b"", b"hello", encoded("RGB", "PNG")[:40], BOMB, BROKEN,
                                     b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_an_upload_that_is_no_picture_is_named(learn, content):
    with pytest.raises(CourseError, match="mine.png is no picture"):
        intro.classify_upload(learn, (dict(name="mine.png", content=content),))


@pytest.mark.parametrize("nothing", [(), [], None])
def test_no_upload_says_what_to_do(learn, nothing):
    with pytest.raises(CourseError, match="No picture was uploaded"): intro.classify_upload(learn, nothing)


def test_the_newest_upload_counts(learn):
    with pytest.raises(CourseError, match="second.txt"):
        intro.classify_upload(learn, (dict(name="first.png", content=encoded("RGB", "PNG")),
                                      dict(name="second.txt", content=b"x")))


@pytest.mark.parametrize("share, follow", [(0.25, True), (0.05, False)])
def test_patrols_drift_apart_only_where_they_follow_the_records(share, follow):
    ends = [abs(intro.simulate_patrols(seed, follow=follow)[-1] - 0.5) for seed in range(20)]
    assert statistics.median(ends) > share if follow else max(ends) < share


def test_the_drift_has_no_favourite():
    above = [intro.simulate_patrols(seed)[-1] > 0.5 for seed in range(40)]
    assert 8 < sum(above) < 32


# What the page leans on

def test_a_flow_has_its_boxes_and_arrows():
    _, ax = plt.subplots()
    draw_flow({"inputs": (0, 0), "model": (1, 0)}, [("inputs", "model"), ("model", "inputs", 0.3)], ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["inputs", "model"]
    assert sum(text.arrow_patch is not None for text in ax.texts if hasattr(text, "arrow_patch")) == 2
    plt.close("all")


def test_a_figure_can_be_read_on_light_and_on_dark_pages():
    with plt.rc_context(page_style()):
        figure, ax = plt.subplots()
        shown = io.BytesIO()
        figure.savefig(shown, format="png")
        pixels = Image.open(shown)
        assert pixels.mode == "RGBA" and pixels.getpixel((2, 2))[3] == 0 # no background
        assert not has_pictures(figure) and ax.xaxis.label.get_color() == ax.title.get_color() == "#808080"
        plt.close(figure)


@pytest.mark.parametrize("wrong, rows, errors", [(0, 2, 0), (1, 2, 1), (5, 2, 2), (20, 1, 1)])
def test_a_sheet_shows_an_error_in_a_row_where_there_is_one(wrong, rows, errors):
    right = [True]*30 + [False]*wrong
    sheet = choose(right, rows)
    assert len(sheet) == len(set(sheet)) == 6*rows and sum(not right[n] for n in sheet) == errors


def test_a_sheet_is_a_picture_that_can_be_sent(learn, tmp_path):
    with learn.no_bar(): figure = answer_sheet(learn, rows=1)
    figure.savefig(tmp_path/"mine.jpg")
    assert Image.open(tmp_path/"mine.jpg").size[0] > 500
    colours = {text.get_text().split(",")[0] for ax in figure.axes for text in ax.texts}
    assert colours <= {"red", "blue"} and colours


# The page

CELLS = json.loads(notebook_path("01_intro").read_text(encoding="utf-8"))["cells"]
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in CELLS}
PROSE = "\n".join(SOURCES[cell["id"]] for cell in CELLS if cell["cell_type"] == "markdown")
HIDDEN = re.compile(r"^#\| *(hide\b|export\b|exporti\b|default_exp\b|echo: *false|code-fold: *true)", re.M)
SEEN = {cell["id"]: SOURCES[cell["id"]] for cell in CELLS
        if cell["cell_type"] == "markdown" or cell["cell_type"] == "code" and not HIDDEN.search(SOURCES[cell["id"]])}


def test_the_page_is_read_in_an_hour():
    words = len(re.sub(r"\(http[^)]*\)", "", PROSE).split())
    lines = [line for cell in CELLS if cell["cell_type"] == "code" and cell["id"] in SEEN
             for line in SOURCES[cell["id"]].splitlines() if line.strip() and not line.startswith("#|")]
    print(f"{len(CELLS) - 1} cells, {words} words, {len(lines)} lines of code")
    assert len(CELLS) - 1 <= 100 and words <= 5000 and len(lines) <= 350


def test_the_first_model_comes_at_once():
    before = list(SEEN)[:list(SEEN).index("cat-or-dog-train") + 1]
    texts = {cell["id"] for cell in CELLS if cell["cell_type"] == "markdown"}
    prose = " ".join(SEEN[name] for name in before if name in texts)
    assert ".fit_one_cycle(1)" in SEEN["cat-or-dog-train"] and len(before) <= 10
    assert len(re.sub(r"\(http[^)]*\)", "", prose).split()) <= 300


def test_the_machinery_is_out_of_sight():
    assert [name for name, source in SOURCES.items() if "lesson.pick(" in source] == ["start"]
    seen = "\n".join(SEEN.values())
    assert not re.search(r"lesson\.record\(|\btest_(eq|close|fail|ne|is)\(|^assert ", seen, re.M)
    assert not re.search(r"\b[IDFMPTCNX]\d{1,2}\b", PROSE) and "rows=[" not in seen and "stand-in" not in PROSE


def test_each_question_of_the_lesson_is_asked_once():
    lists = re.findall(r"show_quiz\(\"01_intro\", (\[.*?\])\)", "\n".join(SOURCES.values()), re.S)
    asked = re.findall(r'"([a-z0-9-]+)"', "".join(lists))
    assert sorted(asked) == sorted(q.id for q in load_quiz("01_intro").questions if not q.page)


# Where a learner finds what the course promises: {row: (heading, a word or call that stands under it)}
ROWS = {
    "I1": ("Your own two things", "DDGS().images("), "I2": ("Your own two things", "splitter=RandomSplitter("),
    "I3": ("Your own two things", "own_learn.fit_one_cycle(3)"), "I4": ("A first model", "from_name_func("),
    "I5": ("Your own picture", "FileUpload("), "I6": ("More than pictures", "unet_learner("),
    "I7": ("More than pictures", "procs=[Categorify, FillMissing, Normalize]"),
    "I8": ("More than pictures", "y_range=(0.5, 5.5)"), "I9": ("More than pictures", "text_classifier_learner("),
    "I10": ("What you need, and what you do not", "A doctorate"),
    "I11": ("Go deeper", "dives/01_history"), "I12": ("What it all has in common", "draw_flow("),
    "I13": ("Go deeper", "dives/01_history"), "I14": ("Words", "hyperparameter"),
    "I15": ("What a model cannot do", "simulate_patrols("),
    "I16": ("Overfitting, seen", "recorder.values"), "I17": ("Two sets to keep away from", "test_scores"),
    "I18": ("Go deeper", "dives/01_what_layers_see"), "I19": ("Go deeper", "dives/01_everything_is_a_picture"),
    "I20": ("Go deeper", "dives/01_is_it_real"), "I21": ("What a model cannot do", "recommendation"),
    "I22": ("How to study", "census_run("), "I23": ("A first model", "show_quiz(")}


def section(heading):
    "All that stands under a heading, up to the next one of its kind; those inside boxes are none"
    text = "\n".join(SOURCES.values()).replace("\n## Your turn\n", "\n")
    [found] = [part for part in re.split(r"^## ", text, flags=re.M) if part.startswith(f"{heading}\n")]
    return found


@pytest.mark.parametrize("row", [f"I{number}" for number in range(1, 24)])
def test_what_the_course_promises_is_on_the_page(row):
    heading, words = ROWS[row]
    assert words in section(heading)


@pytest.mark.parametrize("heading, words", [
    ("What it all has in common", "second misunderstanding"), ("A first model", "A **CPU** is"),
    ("What it all has in common", "**weight assignment**"),
    ("What you need, and what you do not", "To **train a model** you need"),
    ("A first model", "Twice the side means four times the pixels"),
    ("Two sets to keep away from", "If your organisation buys a model"), ("What a model cannot do", "Oakland"),
    ("Your own two things", "`batch_tfms`"), ("Your own two things", "Without a `splitter`")])
def test_questions_that_learners_asked_are_answered(heading, words): assert words in section(heading)


def test_the_picture_at_the_top_is_there():
    [name] = re.findall(r"\]\((images/01_intro_answers\.jpg)\)", PROSE)
    assert Image.open(notebook_path("01_intro").parent/name).size[0] > 1000


# What the last full run measured

@pytest.fixture(scope="module")
def run(): return load_run("01_intro")


def measured(run, row, what): return [m for m in run.measured if m.row == row and m.what.startswith(what)]


@pytest.mark.parametrize("row, what, best, worst", [
    ("I7", "salary", 1, 0.833), ("I8", "ratings", 0, 0.66), ("I9", "sentiment", 1, 0.7),
    ("I6", "street scenes, U-Net", 0, 1.1),
    ("I3", "two kinds", 0, 0.05), ("I4", "cat or dog", 0, 0.03), ("I12", "Samuel's loop", 1, 0.68)])
def test_the_figures_of_the_last_full_run(run, row, what, best, worst):
    figures = [m.value for m in measured(run, row, what)]
    assert figures and min(abs(value - best) for value in figures) <= abs(worst - best)


@pytest.mark.parametrize("row", ["I7", "I8", "I9"])
def test_what_depends_on_the_seed_is_a_median_of_five(run, row):
    figures = [m for m in run.measured if m.row == row]
    assert figures and {(len(m.values), len(set(m.seeds))) for m in figures} == {(5, 5)}

"Three learners go through lesson 1 with searches of their own: one is lucky, one is turned away, one finds nobody"
import ast
import asyncio
import base64
import io
import os
import random
import re
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from misbehaving import commons_results, duckduckgo_results, openverse_results, running_server
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from course_lib.base.env import CourseError
from course_lib.pictures.gather import build_dataset, read_credits
from course_lib.pictures.aside import read_rejected
from course_lib.base.notebooks import is_run
from course_lib.tools.runner import execute, kernel_environment
from course_lib.pictures.search import RetryPolicy
from course_lib.data.standin_photos import draw_bear, draw_street

ROOT = Path(__file__).resolve().parent.parent
SEARCHES = {"street": ["street photo", "street at noon"], "teddy": ["teddy bear", "teddy in bed"]}
EACH = 30 # Photos for a term
# What tqdm writes when something takes more than a second
PROGRESS = re.compile(r"\r[^\r\n]*\d+%\|[^\r\n]*|\r *(?=\r|$)")


# What the services find

@cache
def photo(term, number) -> bytes:
    "A drawn street, as large as what a search brings, or a drawn bear"
    rng, buffer = random.Random(f"{term} {number}"), io.BytesIO()
    if term.startswith("street"): picture = draw_street(rng)[0].resize((640, 480), Image.Resampling.BICUBIC)
    else: picture = draw_bear("teddy", rng)
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


def hits(server, term, numbers): return [server.url(f"{term}/{number}.jpg".replace(" ", "-")) for number in numbers]


def on_duckduckgo(server, numbers):
    return 200, {}, lambda question: duckduckgo_results(hits(server, question["q"], numbers))


def on_openverse(server, numbers):
    return 200, {}, lambda question: openverse_results(hits(server, question["q"], numbers))


def on_commons(server, names): return 200, {}, lambda question: commons_results([server.url(name) for name in names])


REFUSED = 429, {}, {}


# The lesson in a kernel

REDIRECT = '''
import functools, math, sys, types
import requests
from course_lib.pictures import download
from course_lib.pictures import gather as images
from course_lib.pictures import search
from course_lib.pictures.search import RetryPolicy

search.ASK_ONCE = math.inf # Who has refused stays refused, however slow this computer is

class RatelimitException(Exception): "As `ddgs` has it"

class DDGS:
    def __init__(self, timeout): self.timeout = timeout
    def images(self, query, **options):
        answer = requests.get("SERVER/ddgs", {"q": query}, timeout=self.timeout)
        if answer.status_code != 200: raise RatelimitException(answer.status_code)
        return answer.json()

sys.modules["ddgs"] = types.SimpleNamespace(DDGS=DDGS)
images.build_dataset = functools.partial(images.build_dataset, allow_hosts=["HOST"], openverse="SERVER/openverse",
                                         commons="SERVER/commons", retry=RetryPolicy(pause=0.01, timeouts=(30, 30)))
'''

STOP = '''
kept = []
def note(dest, url, file, really=download.add_to_index):
    really(dest, url, file)
    kept.append(url)
    if len(kept) == 5: raise KeyboardInterrupt

download.add_to_index = note
'''

STATE = '''{"classes": list(dls.vocab), "files": sorted(map(str, [*dls.train_ds.items, *dls.valid_ds.items])),
 "error": float(final_error), "label": label, "sure": float(probabilities.max())}'''


def lesson_cells():
    "The code of the lesson up to its first prediction, by cell; the learner adds searches for two things"
    cells = {cell.id: cell for cell in nbformat.read(ROOT/"nbs"/"01_intro.ipynb", as_version=4).cells}
    names = list(cells)[:list(cells).index("predict-check") + 1]
    sources = {name: cells[name].source for name in names if is_run(cells[name])}
    assert "\n# MY_SEARCHES = {" in sources["searches"] # the line whose `#` the learner removes
    return sources | {"searches": f"{sources['searches']}\nMY_SEARCHES = {SEARCHES}"}


def with_redirection(sources, server):
    "The same, with all services on this computer"
    redirect = REDIRECT.replace("SERVER", server.url("").rstrip("/")).replace("HOST", server.host)
    return {"redirect": redirect} | sources | {"state": STATE}


BAR = re.compile(r"\r[^\r\n]*?\d+%\|[^\r\n]*?\]")


class Walk:
    "A learner's way through cells: what each of them showed, and whom it asked"
    def __init__(self, server, folder, sources):
        self.server, self.folder, self.counts = server, folder, []
        self.cells = {name: new_code_cell(source, id=name,
                                          metadata={"tags": ["raises-exception"] * (name == "stopped")})
                      for name, source in sources.items()}
        own = {"FASTAI_HOME": str(folder/"home"), "NO_PROXY": "*",
               "OMP_NUM_THREADS": "1"} | dict.fromkeys(("TMPDIR", "TEMP"), str(folder))
        env = {name: value for name, value in os.environ.items()
               if name not in ("IN_TEST", "CI", "COURSE_DATA_MIRROR")} | own
        asyncio.run(execute(new_notebook(cells=list(self.cells.values())), folder,
                            kernel_environment("quick", False, env), self, timeout=600))
        self.counts.append(len(server.asked))
        self.state = ast.literal_eval(self.said("state"))

    def start(self, step): self.counts.append(len(self.server.asked))
    def done(self, step, seconds): "`execute` reports the end of each cell, too"

    def asked(self, name):
        "Paths of the requests that a cell made"
        place = list(self.cells).index(name)
        start, end = self.counts[place:place + 2]
        return [path.partition("?")[0].strip("/") for path in self.server.asked[start:end]]

    def said(self, name):
        "All that a cell printed or showed, as text"
        return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "")
                         for output in self.cells[name].outputs)

    def pictures(self, name):
        "Sizes of the pictures that a cell showed"
        found = [output.data["image/png"] for output in self.cells[name].outputs
                 if "image/png" in output.get("data", {})]
        return [Image.open(io.BytesIO(base64.b64decode(code))).size for code in found]

    def errors(self):
        "Errors and complaints of all cells; a bar, which shows itself where work takes more than a second, is none"
        outputs = [output for cell in self.cells.values() for output in cell.outputs
                   if output.output_type == "error" or output.get("name") == "stderr"]
        return [said for output in outputs if (said := output.get("ename") or BAR.sub("", output.text).strip())]


@pytest.fixture(scope="module")
def server():
    "Serves all photos"
    with running_server() as server:
        for term in sum(SEARCHES.values(), []):
            for number in range(EACH):
                server.say(f"{term}/{number}.jpg".replace(" ", "-"), (200, {}, photo(term, number)))
        yield server


def answer(server, ddgs, openverse, commons):
    "What the services say from now on"
    for name, words in (("ddgs", ddgs), ("openverse", openverse), ("commons", commons)): server.say(name, words)


@pytest.fixture(scope="module")
def lucky(server, tmp_path_factory):
    "Everybody answers; the learner stops the download once, and runs the cell once more at the end"
    answer(server, on_duckduckgo(server, range(0, EACH, 2)), on_openverse(server, range(1, EACH, 2)),
           on_commons(server, ["html.jpg", "twin.jpg"]))
    server.say("twin.jpg", (200, {}, photo("street", "twin")))
    sources = {}
    for name, source in with_redirection(lesson_cells(), server).items():
        if name == "gather": sources |= {"stop": STOP, "stopped": source}
        sources[name] = source
    return Walk(server, tmp_path_factory.mktemp("lucky"), sources | {"kept": "kept[:5]", "again": sources["gather"]})


@pytest.fixture(scope="module")
def limited(server, tmp_path_factory):
    "DuckDuckGo and Commons want a pause, Openverse helps"
    answer(server, REFUSED, on_openverse(server, range(EACH)), (429, {"Retry-After": "3600"}, {}))
    return Walk(server, tmp_path_factory.mktemp("limited"), with_redirection(lesson_cells(), server))


@pytest.fixture(scope="module")
def unlucky(server, tmp_path_factory):
    "Nobody helps"
    answer(server, REFUSED, (403, {}, {}), (500, {}, {}))
    return Walk(server, tmp_path_factory.mktemp("unlucky"), with_redirection(lesson_cells(), server))


# All three

READY = ["Abyssinian", "american_bulldog"]

@pytest.mark.parametrize("name, classes, count",
                         [("lucky", list(SEARCHES), 120), ("limited", list(SEARCHES), 120), ("unlucky", READY, 160)])
def test_each_reaches_a_trained_classifier(request, name, classes, count):
    learner = request.getfixturevalue(name)
    assert learner.state["classes"] == classes and len(set(learner.state["files"])) == count
    assert learner.state["error"] < 0.35 and f"error_rate {learner.state['error']:.4f}" in learner.said("record-photos")
    assert learner.state["label"] in classes and 0.5 < learner.state["sure"] <= 1
    assert len(learner.pictures("show")) == len(learner.pictures("predict")) == 1
    assert learner.errors() == (["KeyboardInterrupt"] if name == "lucky" else [])


@pytest.mark.parametrize("name, ready", [("lucky", False), ("limited", False), ("unlucky", True)])
def test_each_knows_which_photographs_are_used(request, name, ready):
    learner = request.getfixturevalue(name)
    assert ("Going on with the ready photographs." in learner.said("gather")) == ready
    own = (learner.folder/"my_photos").resolve()
    assert {own in Path(file).resolve().parents for file in learner.state["files"]} == {not ready}


def counts(paths): return {name: paths.count(name) for name in ("ddgs", "openverse", "commons")}


# The lucky one

def test_what_was_found_is_told(lucky):
    said = lucky.said("gather")
    assert "street: 62 photos found" in said and "teddy: 62 photos found" in said and "Search for" not in said


def test_photos_are_small_checked_and_attributed(lucky):
    files = [Path(file) for file in lucky.state["files"]]
    sizes = {Image.open(file).size for file in files}
    assert sizes == {(400, 300), (128, 128)} # streets were 640 by 480
    root = files[0].parents[1]
    assert [row["kind"] for row in read_rejected(root)] == ["two labels"] * 2 # one photo was found for both classes
    licences = {(row["provider"], row["licence"]) for file, row in read_credits(root).items() if root/file in files}
    assert licences == {("duckduckgo", ""), ("openverse", "CC BY-SA 2.0")}


def test_a_stopped_download_goes_on(lucky):
    kept = [url.removeprefix(lucky.server.url("")) for url in ast.literal_eval(lucky.said("kept"))]
    stopped, then = lucky.asked("stopped"), lucky.asked("gather")
    assert len(kept) == 5 and set(kept) <= set(stopped) and not set(kept) & set(then)
    assert counts(stopped + then) == {"ddgs": 4, "openverse": 4, "commons": 4} # each once for a term


def test_a_second_time_only_what_failed_is_asked_for(lucky):
    assert set(lucky.asked("again")) == {"html.jpg"} and "{'street': 60, 'teddy': 60}" in lucky.said("again")


# The one who is turned away

@pytest.mark.parametrize("term", sum(SEARCHES.values(), []))
def test_who_did_not_help_is_told(limited, term):
    assert (f"Search for '{term}': duckduckgo gave no results, as it does when it gets too many requests; openverse "
            "found 30; "
            "commons answered 429 and asks to wait 3,600 s.\n") in limited.said("gather")


def test_who_refuses_is_not_pressed(limited):
    assert counts(limited.asked("gather")) == {"ddgs": 3 + 1 + 1 + 1, "openverse": 4, "commons": 4}


# The one who finds nobody

def test_why_there_are_no_photos_is_told(unlucky):
    said = unlucky.said("gather")
    for words in ("No photos of 'street photo' were found", "duckduckgo gave no results, as it does when it gets too "
                                                            "many requests",
                  "openverse answered 403 to each of 3 requests", "commons answered 500",
                  "Run this again in some minutes"): assert words in said


def test_nobody_is_asked_about_the_rest(unlucky):
    assert counts(unlucky.asked("gather")) == {"ddgs": 3, "openverse": 3,
                                               "commons": 1} and len(unlucky.asked("gather")) == 7


# What others meet; the cell without a kernel

@pytest.fixture
def gather(server, tmp_path, monkeypatch, capsys):
    "Run the lesson's cell for searches and {term: photos found}; (kind of photographs, what was printed)"
    answer(server, REFUSED, REFUSED, REFUSED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("course_lib.pictures.search._last_refusal", {})
    for name, value in {"FASTAI_HOME": tmp_path/"home", "IN_TEST": 1, "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, str(value))
    (tmp_path/"ready").mkdir()

    def run(searches, found):
        server.say("openverse", (200, {}, lambda question: openverse_results(hits(server, question["q"],
            range(found.get(question["q"], 0))))))
        build = partial(build_dataset, allow_hosts=[server.host], openverse=server.url("openverse"),
                        retry=RetryPolicy(pause=0.001),
                        providers=["openverse"])
        lesson = SimpleNamespace(pick=lambda full, quick: quick)
        names = {"build_dataset": build, "lesson": lesson, "Path": Path, "CourseError": CourseError,
                 "MY_SEARCHES": searches,
                 "ready_photos": lambda: tmp_path/"ready"}
        exec(lesson_cells()["gather"], names)
        return names["photos"], capsys.readouterr().out
    return run


ONE, TWO = {"street": ["street photo"]}, {"street": ["street photo"], "teddy": ["teddy bear"]}

@pytest.mark.parametrize("searches, found, words", [
    (TWO, {"street photo": 9, "teddy bear": 3}, ["teddy: 3 found, 3 downloaded, 3 ready", "at least 5 photographs of "
                                                                                          "each", "other words"]),
    (TWO, {"street photo": 9},
     ["No photos of 'teddy bear' were found: openverse found none. Try other or fewer words."]),
    (ONE, {"street photo": 9}, ["Learning needs two kinds or more"]),
    (["street"], {}, ["Write what to search for as {'bird': ['bird photo'"]),
    ({"street": 3}, {}, ["nothing to search for 'street'"]),
    ({"a/b": "street photo", "teddy": "teddy bear"}, {}, ["A class cannot be called 'a/b'"])],
    ids=["three photos", "none for one kind", "one kind", "a list", "a number", "a slash"])
def test_the_lesson_goes_on_with_ready_photos_and_says_why(gather, tmp_path, searches, found, words):
    photos, said = gather(searches, found)
    assert photos == tmp_path/"ready" and said.endswith("Going on with the ready photographs.\n")
    for each in words: assert each in said


def test_other_things_are_another_folder(gather):
    found = {"street photo": 6, "teddy bear": 6, "teddy in bed": 6}
    first, _ = gather(TWO, found)
    second, said = gather({"toy": ["teddy in bed"], "teddy": ["teddy bear"]}, found)
    assert [sorted(folder.name for folder in photos.glob("*/")) for photos in (first, second)] == [["street", "teddy"],
        ["teddy", "toy"]]
    assert "earlier" not in said


def test_other_words_for_the_same_things_are_more_photos(gather):
    found = {"street photo": 6, "teddy bear": 6, "teddy in bed": 7}
    first, _ = gather(TWO, found)
    second, said = gather(TWO | {"teddy": ["teddy in bed"]}, found)
    assert first == second and "teddy: 7 found, 7 downloaded, 13 ready, 6 of them from earlier searches" in said

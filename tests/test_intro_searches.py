"Four learners go through lesson 1 with searches of their own: by hand, lucky, turned away, and with nobody to help"
import ast
import asyncio
import io
import os
import random
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from misbehaving import commons_results, duckduckgo_results, openverse_results, running_server
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from course_lib.pictures.gather import read_credits
from course_lib.pictures.aside import read_rejected
from course_lib.base.notebooks import is_run
from course_lib.tools.runner import execute, kernel_environment
from course_lib.data.standin_photos import draw_bear, draw_street

ROOT = Path(__file__).resolve().parent.parent
SEARCHES = {"street": ["street photo", "street at noon"], "teddy": ["teddy bear", "teddy in bed"]}
BY_HAND = [f"{kind} {words}" for kind in SEARCHES for words in ("photo", "in the sun", "in the rain")]
EACH = 30 # Photos for a term


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
    def __init__(self, timeout=30): self.timeout = timeout
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

STATE = '''with own_learn.no_bar():
    label, _, probabilities = own_learn.predict(own_dls.valid_ds.items[0])
    error = own_learn.validate()[1]
{"classes": list(own_dls.vocab), "files": sorted(str(Path(file).resolve())
                                                        for file in [*own_dls.train_ds.items, *own_dls.valid_ds.items]),
 "error": float(error), "label": label, "sure": float(probabilities.max())}'''

TOMORROW = '''import subprocess
again = "from fastai.vision.all import *; print(load_learner('my_photos/my_model.pkl').predict('new.jpg')[0])"
print(subprocess.run([sys.executable, "-W", "ignore", "-c", again], capture_output=True, text=True).stdout)'''


def lesson_cells(*live, own=True):
    """The code of the lesson up to the learner's first model, by cell, with the cells named in `live` executed as well.

    The learner searches for two other things and, with `own`, trains on what was found."""
    cells = {cell.id: cell for cell in nbformat.read(ROOT/"nbs"/"01_intro.ipynb", as_version=4).cells}
    names = list(cells)[:list(cells).index("train") + 1]
    sources = {name: cells[name].source.replace("#| eval: false\n", "") for name in names
               if is_run(cells[name]) or name in live}
    if "search" in live:
        sources["search"] = changed(sources["search"], '("bird", "forest")', str(tuple(SEARCHES)), "sleep(3)",
                                    "sleep(0.01)")
    if "gather" in live:
        sources["gather"] = re.sub(r"{.*}", lambda _: str(SEARCHES), sources["gather"], count=1, flags=re.S)
    if own: # the way up to there, with pets, is gone through by who finds nobody
        sources["block"] = f'photos = Path("my_photos")\n{sources["block"][sources["block"].index("block = "):]}'
        sources["cat-or-dog-train"] = sources["cat-or-dog-train"].splitlines()[0]
        for name in ("cat-or-dog", "predict", "top-losses"): del sources[name]
    return {name: source for name, source in sources.items() if not name.startswith(("quiz", "ex-"))}


def changed(source, *pairs):
    "A source with each first text replaced by the second; each must be there once"
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def with_redirection(sources, server):
    "The same, with all services on this computer"
    redirect = REDIRECT.replace("SERVER", server.url("").rstrip("/")).replace("HOST", server.host)
    return {"redirect": redirect} | sources


BAR = re.compile(r"\r[^\r\n]*?\d+%\|[^\r\n]*?\]")


class Walk:
    "A learner's way through cells: what each of them showed, and whom it asked"
    def __init__(self, server, folder, sources, failing=()):
        self.server, self.folder, self.counts = server, folder, []
        self.cells = {name: new_code_cell(source, id=name,
                                          metadata={"tags": ["raises-exception"] * (name in failing)})
                      for name, source in sources.items()}
        own = {"FASTAI_HOME": str(folder/"home"), "NO_PROXY": "*",
               "OMP_NUM_THREADS": "1"} | dict.fromkeys(("TMPDIR", "TEMP"), str(folder))
        env = {name: value for name, value in os.environ.items()
               if name not in ("IN_TEST", "CI", "COURSE_DATA_MIRROR")} | own
        asyncio.run(execute(new_notebook(cells=list(self.cells.values())), folder,
                            kernel_environment("quick", False, env), self, timeout=600))
        self.counts.append(len(server.asked))
        self.state = ast.literal_eval(self.said("state")) if "state" in self.cells else {}

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

    def raised(self, name):
        "The message of the error in which a cell ended"
        [error] = [output.evalue for output in self.cells[name].outputs if output.output_type == "error"]
        return error

    def errors(self):
        "Errors and complaints of all cells, but for bars and for what fastai says whenever a pickle is loaded"
        outputs = [output for cell in self.cells.values() for output in cell.outputs
                   if output.output_type == "error"
                   or output.get("name") == "stderr" and "load_learner` uses Python's" not in output.text]
        return [said for output in outputs if (said := output.get("ename") or BAR.sub("", output.text).strip())]


@pytest.fixture(scope="module")
def server():
    "Serves all photos"
    with running_server() as server:
        for term in [*sum(SEARCHES.values(), []), *BY_HAND]:
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
    for name, source in with_redirection(lesson_cells("gather") | {"state": STATE}, server).items():
        if name == "gather": sources |= {"stop": STOP, "stopped": source}
        sources[name] = source
    sources |= {"kept": "kept[:5]", "again": sources["gather"]}
    return Walk(server, tmp_path_factory.mktemp("lucky"), sources, ["stopped"])


@pytest.fixture(scope="module")
def by_hand(server, tmp_path_factory):
    "The bare cell with ddgs, then 'Your own, in ten lines' up to tomorrow"
    def half(question): # what the web sends: photos, one of them broken, and a page
        term = question["q"].replace(" ", "-")
        broken = [server.url(f"{term}/half.jpg"), server.url("html.jpg")]
        return duckduckgo_results([*hits(server, question["q"], range(8)), *broken])
    for term in BY_HAND: server.say(f"{term}/half.jpg".replace(" ", "-"), (200, {}, photo(term, 99)[:2000]))
    answer(server, (200, {}, half), REFUSED, REFUSED)
    cells = {cell.id: cell.source for cell in nbformat.read(ROOT/"nbs"/"01_intro.ipynb", as_version=4).cells}
    today, tomorrow = cells["your-own"].replace("#| eval: false\n", "").split("from fastai.vision.all import *\n")
    assert "load_learner" in tomorrow
    today = changed(today, "Resize(192)", "Resize(64)")
    sources = with_redirection(lesson_cells("search") | {"state": STATE}, server)
    new = 'shutil.copy(mine.valid_ds.items[0], "new.jpg")'
    extra = {"your-own": today, "new": new, "tomorrow": tomorrow, "fresh": TOMORROW}
    return Walk(server, tmp_path_factory.mktemp("by_hand"), sources | extra)


@pytest.fixture(scope="module")
def limited(server, tmp_path_factory):
    "DuckDuckGo and Commons want a pause, Openverse helps; what was found is trained on as the lucky one does it"
    answer(server, REFUSED, on_openverse(server, range(EACH)), (429, {"Retry-After": "3600"}, {}))
    sources = with_redirection({"gather": lesson_cells("gather")["gather"]}, server)
    return Walk(server, tmp_path_factory.mktemp("limited"), sources)


@pytest.fixture(scope="module")
def unlucky(server, tmp_path_factory):
    "Nobody helps"
    answer(server, REFUSED, (403, {}, {}), (500, {}, {}))
    sources = with_redirection(lesson_cells("gather", own=False) | {"state": STATE}, server)
    return Walk(server, tmp_path_factory.mktemp("unlucky"), sources, ["gather"])


# All who train

READY = ["Abyssinian", "american_bulldog"]

@pytest.mark.parametrize("name, classes, count", [("by_hand", list(SEARCHES), 48), ("lucky", list(SEARCHES), 120),
                                                  ("unlucky", READY, 160)])
def test_each_reaches_a_trained_classifier(request, name, classes, count):
    learner = request.getfixturevalue(name)
    assert learner.state["classes"] == classes and len(set(learner.state["files"])) == count
    assert learner.state["error"] < 0.35 and re.search(r"\d+ of \d+ wrong", learner.said("train"))
    assert learner.state["label"] in classes and 0.5 < learner.state["sure"] <= 1
    assert learner.errors() == {"lucky": ["KeyboardInterrupt"], "unlucky": ["CourseError"]}.get(name, [])


@pytest.mark.parametrize("name, ready", [("by_hand", False), ("lucky", False), ("unlucky", True)])
def test_each_knows_which_photographs_are_used(request, name, ready):
    learner = request.getfixturevalue(name)
    own = (learner.folder/"my_photos").resolve()
    assert {own in Path(file).parents for file in learner.state["files"]} == {not ready}


# The one who searches by hand

def test_the_bare_search_asks_each_thing_once_and_keeps_what_can_be_read(by_hand):
    assert by_hand.said("search").strip() == "12 could not be read, 48 are left"
    assert counts(by_hand.asked("search"))["ddgs"] == 6
    assert {Image.open(file).size for file in by_hand.state["files"]} == {(400, 300), (128, 128)}


def test_the_ten_lines_train_and_are_there_tomorrow(by_hand):
    assert "'street'" in by_hand.said("tomorrow") or "'teddy'" in by_hand.said("tomorrow")
    assert by_hand.said("fresh").split()[-1] in SEARCHES # the bar comes before it


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
    assert set(lucky.asked("again")) == {"html.jpg"} and "street: 62 photos found" in lucky.said("again")


# The one who is turned away

@pytest.mark.parametrize("term", sum(SEARCHES.values(), []))
def test_who_did_not_help_is_told(limited, term):
    assert (f"Search for '{term}': duckduckgo gave no results, as it does when it gets too many requests; openverse "
            "found 30; "
            "commons answered 429 and asks to wait 3,600 s.\n") in limited.said("gather")


def test_who_refuses_is_not_pressed(limited):
    assert counts(limited.asked("gather")) == {"ddgs": 3 + 1 + 1 + 1, "openverse": 4, "commons": 4}
    assert limited.errors() == []


# The one who finds nobody

def test_why_there_are_no_photos_is_told(unlucky):
    said = unlucky.raised("gather")
    for words in ("No photos of 'street photo' were found", "duckduckgo gave no results, as it does when it gets too "
                                                            "many requests",
                  "openverse answered 403 to each of 3 requests", "commons answered 500",
                  "Run this again in some minutes"): assert words in said


def test_nobody_is_asked_about_the_rest(unlucky):
    assert counts(unlucky.asked("gather")) == {"ddgs": 3, "openverse": 3,
                                               "commons": 1} and len(unlucky.asked("gather")) == 7

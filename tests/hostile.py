"Files of JSON as nobody would write them: for each file that the course reads, an honest one and what may become of it"
import copy
import json
import os

from bundles import WAY
from hypothesis import strategies as st

from course_lib.apps.folder import listed_files
from course_lib.apps.predictor import BadBundle, read_facts
from course_lib.base.env import CourseError
from course_lib.base.notebooks import read_notebook
from course_lib.data.receipts import read_receipt
from course_lib.data.sources import mirror_address, read_manifest
from course_lib.data.weights import network_name
from course_lib.lesson.results import Scoreboard, load_run
from course_lib.pictures.aside import read_journal
from course_lib.pictures.decisions import read_decisions
from course_lib.pictures.search import cached_answer
from course_lib.tools.work import NOTE, read_note


def read_results(folder):
    run = load_run("04_mnist", folder)
    return run and (repr(Scoreboard(run)), Scoreboard(run)._repr_html_())

def read_mirror(folder):
    os.environ["COURSE_DATA_MIRROR"] = str(folder)
    return read_manifest(mirror_address())

# {what: (its file, how it is read)}, each below a folder `photos` or beside it
READERS = {
    "journal": ("photos-cleaning/applied/1.json", lambda folder: read_journal(folder/"photos")),
    "decisions": ("photos-cleaning/decisions.json", lambda folder: read_decisions(folder/"photos")),
    "receipt": ("home/data/.course/receipts/bears.json", lambda folder: read_receipt("bears")),
    "manifest": ("mirror/manifest.json", lambda folder: read_mirror(folder/"mirror")),
    "results": ("results/04_mnist.json", lambda folder: read_results(folder/"results")),
    "searches": ("search.json", lambda folder: cached_answer(folder/"search.json", 3)),
    "app": ("app/app.json", lambda folder: listed_files(folder/"app"/"app.json")),
    "bundle": ("bundle/bundle.json", lambda folder: read_facts(folder/"bundle")),
    "work": (f"work/{NOTE}", lambda folder: read_note(folder/"work")),
    "network": ("net/config.json", lambda folder: network_name(f"local-dir:{folder/'net'}")),
    "notebook": ("page.ipynb", lambda folder: read_notebook(folder/"page.ipynb"))}

RECORD = {"url": "https://example.org/1.jpg"}
FIGURE = {"row": "M7", "what": "linear", "metric": "accuracy", "values": [0.9], "setting": "", "seeds": [1],
          "published": "", "seconds": [1.0], "data": ""}
EXAMPLES = {
    "journal": {"number": 1, "when": "now", "state": "applied", "folders": [], "moves": []},
    "decisions": {"bird/1.jpg": "delete"},
    "receipt": {"name": "bears", "source": "mirror", "part": False, "archive_sha256": "0"*64, "verified": "size",
                "files": 3, "note": "", "tree_sha256": "0"*64, "date": "2026-01-01"},
    "manifest": [{"name": "pets", "file": "pets.tgz"}],
    "results": {"lesson": "04_mnist", "mode": "full", "seed": 42, "data": [{"name": "pets", "source": "mirror"}],
                "measured": [FIGURE], "device": "CPU", "versions": {"torch": "2"}, "date": "2026-01-01",
                "seconds": 2.0},
    "searches": {"when": 4e9, "count": 9, "records": [RECORD]},
    "app": {"kind": "web", "files": {"index.html": "00"}},
    "bundle": {"format": 1, "vocab": ["a", "b"], "sha256": {"model.onnx": "0"}, "preprocess": WAY},
    "work": {"04_mnist.ipynb": "00"}, "network": {"architecture": "resnet18"},
    "notebook": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}}
VALUES = [None, True, -1, 3.5, 10**400, "", "x", "../x", "/etc", "a\0b", "x"*300, [], [1], {}, {"": {}}, [[]]]
DEEP = "["*100_000
BROKEN = {"empty": b"", "cut off": b'{"a": [1', "deep": DEEP.encode(), "deep and whole": (DEEP + "]"*100_000).encode(),
          "deep inside": b'{"a": ' + b"["*500 + b"]"*500 + b"}", "not UTF-8": b"\xff\xfe\x00",
          "half a character": b'{"a": "\\ud800"}',
          "not a number": b"NaN", "long number": b"9"*5000, "number": b"3", "null": b"null", "text": b'"x"',
          "huge numbers": b'{"when": 1' + b"0"*400 + b', "count": 1e999, "records": []}',
          "list": b"[]", "lists": b"[[], {}]", "object": b"{}", "objects": b'{"a": {}, "": []}'}


def read(what, content, folder):
    "What the reader makes of a content: anything, or an error in words"
    file, reader = READERS[what]
    (folder/file).parent.mkdir(parents=True, exist_ok=True)
    (folder/file).write_bytes(content)
    try: return reader(folder)
    except (CourseError, BadBundle) as error:
        assert len(str(error)) > 30
        return error


def mutated(content, draw):
    "A content in which one value is another one, one is missing, or one has come"
    values = st.sampled_from(VALUES).map(copy.deepcopy)
    places = []
    def walk(part):
        for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            places.append((part, key)); walk(part[key])
    content = json.loads(json.dumps(content))
    walk(content)
    part, key = draw(st.sampled_from(places))
    if draw(st.booleans()): part[key] = draw(values)
    elif isinstance(part, dict) and draw(st.booleans()):
        part[draw(st.sampled_from(["", "more", "name"]))] = draw(values)
    else: del part[key]
    return content

@st.composite
def changed(draw):
    what = draw(st.sampled_from(sorted(READERS)))
    content = EXAMPLES[what]
    for _ in range(draw(st.integers(1, 3))):
        if not content: break
        content = mutated(content, draw)
    return what, content

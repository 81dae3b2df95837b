"Starting a lesson: every combination of what was asked for and what can be reached"
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import manifest, tgz

from course_lib.data import sets
from course_lib.data import weights
from course_lib.lesson import start as core
from course_lib.base.env import CourseError
from course_lib.base.catalogue import find_lesson
from course_lib.lesson.results import Run


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    "No cache, no mirror, no network"
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path/"fastai"))
    for name in ("COURSE_MODE", "COURSE_DATA_MIRROR", "COURSE_SAVE", "CI", "IN_TEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("course_lib.data.sources.reachable", lambda url: False)
    monkeypatch.setattr("course_lib.data.weights.reachable", lambda url: False)


def test_out_of_reach_becomes_quick_and_says_so(capsys):
    lesson = core.start("04_mnist")
    assert lesson.mode == "quick"
    printed = capsys.readouterr().out
    assert "out of reach: mnist_sample, mnist" in printed and "stand-in" in printed
    assert all("stand-in" in words for words in lesson.details["data"].values())


def test_two_lines_say_mode_device_and_minutes(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_MODE", "quick")
    lesson = core.start("04_mnist")
    mode, cost = capsys.readouterr().out.splitlines()
    assert "quick mode" in mode and "COURSE_MODE=full" in mode
    assert cost == f"{lesson.details['device']}; about {lesson.info.quick_seconds} s; nothing to download"
    assert lesson.details["seed"] == 42 and lesson.details["versions"]["torch"]
    assert set(lesson.details["data"]) == set(lesson.info.datasets)


def test_a_mirror_is_asked_once_in_a_lesson(serve, monkeypatch):
    archives = {name: (f"{name}.tgz", tgz([(f"{folder}/3/{number}.png", b"3") for number in range(2)]), f"{folder}/")
                for name, folder in (("mnist_sample", "mnist_sample"), ("mnist", "mnist_png"))}
    server = serve({file: content for file, content, _ in archives.values()} | {"manifest.json": manifest(archives)})
    small = {key: replace(dataset, files=2) for key, dataset in sets.datasets().items()}
    monkeypatch.setattr(sets, "datasets", lambda: small)
    monkeypatch.setattr("course_lib.data.sources.reachable", lambda url: url == server.url)
    monkeypatch.setenv("COURSE_DATA_MIRROR", server.url)
    lesson = core.start("04_mnist")
    assert lesson.full and set(lesson.details["data"].values()) == {"from the mirror"}
    for name in lesson.info.datasets * 2: assert len(list(lesson.data(name).rglob("*.png"))) == 2
    assert [name for name, _ in server.asked] == ["manifest.json", "mnist_sample.tgz", "mnist.tgz"]
    assert set(lesson.details["data"].values()) == {"from the cache"}


def test_explicit_full_without_data_is_an_error(monkeypatch):
    monkeypatch.setenv("COURSE_MODE", "full")
    with pytest.raises(CourseError, match="COURSE_DATA_MIRROR") as caught: core.start("04_mnist")
    assert "COURSE_MODE=quick" in str(caught.value) and "Connect" in str(caught.value)


def test_misspelt_mode_stops_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_MODE", "fulll")
    with pytest.raises(CourseError, match="Did you mean 'full'"): core.start("04_mnist")
    assert not (tmp_path/"fastai"/"data").exists()


@pytest.mark.parametrize("name", ["04_mnist", "04", "4", "mnist"])
def test_names_of_a_lesson(name): assert core.start(name).info.id == "04_mnist"


@pytest.mark.parametrize("name", ["04_mnits", "99", ""])
def test_unknown_lesson(name):
    with pytest.raises(CourseError, match="04_mnist"): core.start(name)


def test_data_and_copy_in_quick_mode():
    lesson = core.start("04")
    folder = lesson.data("mnist_sample")
    first, second = lesson.data("mnist_sample", copy=True), lesson.data("mnist_sample", copy=True)
    (first/"labels.csv").write_text("changed")
    assert first != second and (second/"labels.csv").read_text() == (folder/"labels.csv").read_text() != "changed"
    assert [d["source"] for d in lesson.run.data] == ["stand-in"]


def test_quick_run_is_not_saved(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_SAVE", str(tmp_path))
    with pytest.raises(CourseError, match="Only full runs"): core.start("04").scoreboard()


def test_full_run_is_saved_with_its_provenance(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_SAVE", str(tmp_path))
    lesson = core.Lesson(find_lesson("04"), "full")
    lesson.run.data = [{"name": "mnist_sample", "source": "mirror", "part": False}]
    lesson.record("M7", "linear by hand", [0.9, 0.8], seeds=[1, 2], published_key="M7-linear-by-hand")
    lesson.scoreboard()
    saved = json.loads((tmp_path/"04_mnist.json").read_text())
    assert saved["measured"][0]["values"] == [0.9, 0.8] and saved["measured"][0]["seeds"] == [1, 2]
    assert saved["mode"] == "full" and saved["versions"]["torch"] and saved["device"] and saved["date"]
    assert saved["data"][0]["source"] == "mirror" and saved["seconds"] > 0


class Located:
    def __init__(self, kind, part=False, size=0): self.kind, self.part, self.bytes_to_download = kind, part, size


@pytest.mark.parametrize("kind, part, words", [
    ("cache", False, "from the cache"), ("mirror", True, "only a part"), ("publisher", False, "from the publisher")])
def test_banner_says_where_data_comes_from(kind, part, words):
    assert words in core.source_words("mnist", "full", lambda name: Located(kind, part))


def test_expected_cost_adds_what_is_still_to_come():
    info = find_lesson("04")
    assert "6.0 MiB to download" in core.expected_cost(info, "full", False,
                                                       lambda name: Located("publisher", size=3*2**20))
    assert f"about {info.full_minutes_cpu} minutes" in core.expected_cost(info, "full", False,
        lambda name: Located("cache"))


def test_quick_mode_asks_no_server_for_weights(home, monkeypatch):
    def forbidden(url): raise AssertionError("no server may be asked")
    monkeypatch.setattr(weights, "reachable", forbidden)
    lesson = core.Lesson(find_lesson("04"), "quick")
    assert lesson.pretrained("tf_efficientnet_lite0").startswith("local-dir:")
    assert lesson.pretrained("convnext_tiny.fb_in22k", required=False) is None


def test_quick_mode_has_a_tiny_network_for_text_and_says_so(home, capsys):
    folder = core.Lesson(find_lesson("04"), "quick").pretrained("sentence-transformers/all-MiniLM-L6-v2")
    assert folder.endswith("tiny-bert-v1") and "random weights" in capsys.readouterr().out


def test_comparable_needs_real_data():
    assert Run("04_mnist", "full", 1, data=[{"source": "mirror"}]).comparable
    assert not Run("04_mnist", "full", 1, data=[{"source": "stand-in"}]).comparable


KILLED = """
import os, pathlib, sys, time
from course_lib.lesson.start import start
copy = start("04_mnist").data("mnist_sample", copy=True)
(copy/"mine.txt").write_text("mine")
print(copy.parent, flush=True)
time.sleep(60)
"""

def test_copies_of_processes_that_have_ended_are_removed(home):
    "One that is killed leaves its copy to the next run; one that is at work keeps it"
    env = os.environ | {"COURSE_MODE": "quick"}
    run = lambda: subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=env)
    others = [run() for _ in range(2)]
    places = [next(Path(line.strip()) for line in other.stdout if ".course" in line) for other in others]
    others[0].kill(); others[0].wait()
    try:
        work = core.work_folder("04_mnist")
        mine = core.work_copy(places[1], work)
        assert {path.name for path in work.glob("*/")} == {places[1].name, mine.parent.name}
        assert len(list(mine.rglob("mine.txt"))) == 1
    finally: others[1].kill(); others[1].wait()

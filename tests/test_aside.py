"Files put aside: nothing loses one, old folders are understood, and no list from disk leads out of the data"
import errno
import json
import os
import shutil
import signal
import threading

import pytest

from course_lib.base import files
from course_lib.base.env import CourseError
from course_lib.pictures import aside
from course_lib.pictures.aside import (
    aside_folder, change_lock, old_folder, put_aside, read_journal, read_rejected, restore, resume_rejects)
from course_lib.pictures.cleaner import Cleaner

pytestmark = pytest.mark.usefixtures("home")
REASONS = {"bird/1.jpg": ("tiny", "8 x 8 pixels"), "bird/2.jpg": ("damaged, turned", "cut off; lies on its side"),
           "cat/1.jpg": ("duplicate", "looks the same as cat/2.jpg, which stays")}


def make_set(root):
    for name in ("bird", "cat"):
        (root/name).mkdir(parents=True)
        for number in range(4): (root/name/f"{number}.jpg").write_text(f"{name} {number}")
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch): monkeypatch.setattr(os, "fsync", lambda file: None) # Hundreds of them take a while

@pytest.fixture
def root(tmp_path): return make_set(tmp_path/"photos")

def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode(errors="replace")
            for path in folder.rglob("*") if path.is_file()}

def pictures(folder): return {name: text for name, text in tree(folder).items() if name.endswith(".jpg")}

def contents(folder): return sorted(pictures(folder).values())


def put_aside_the_old_way(root):
    "As the course did it before it had a journal"
    lines = ["file,kept_as,kind,why"]
    for file, (kind, why) in REASONS.items():
        kept = old_folder(root)/file
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.rename(root/file, kept)
        lines.append(f'{file},{file},"{kind}","{why}"')
    (old_folder(root)/"rejected.csv").write_text("\n".join(lines) + "\n")


def test_reasons_stay_with_each_file(root):
    moved = put_aside(root, REASONS)
    assert [file.read_text() for file in moved] == ["bird 1", "bird 2", "cat 1"]
    assert {row["file"]: (row["kind"], row["why"]) for row in read_rejected(root)} == REASONS
    change = json.loads((aside_folder(root)/"applied"/"1.json").read_text())
    # For whoever looks with an editor
    assert [move["why"] for move in change["moves"]] == [why for _, why in REASONS.values()]


def test_both_tools_use_one_folder_and_one_list(root):
    before = pictures(root)
    put_aside(root, {"bird/1.jpg": ("tiny", "8 x 8 pixels")})
    cleaner = Cleaner([(file, file.parent.name, 1.) for file in root.rglob("*.jpg")])
    cleaner.mark("cat/2.jpg", "delete"); cleaner.mark("bird/3.jpg", "cat"); (root/"cat"/"3.jpg").unlink()
    cleaner.apply()
    assert {path.name for path in root.parent.iterdir()} - {"home"} == {"photos", "photos-cleaning"}
    log = cleaner.log()
    assert log["decision"].tolist() == ["reject", "move to cat",
                                        "delete"] and log["why"].tolist() == ["tiny: 8 x 8 pixels", "", ""]
    assert cleaner.undo().number == 2 # What the check rejected is not the cleaner's to undo
    with pytest.raises(CourseError, match="nothing to undo"): cleaner.undo()
    assert restore(root) == [root/"bird"/"1.jpg"]
    assert pictures(root) | {"cat/3.jpg": "cat 3"} == before


def test_an_apply_that_was_interrupted_is_not_gone_past(root, monkeypatch):
    cleaner = Cleaner([(file, file.parent.name, 1.) for file in root.rglob("*.jpg")])
    cleaner.mark("cat/2.jpg", "delete")
    with monkeypatch.context() as context:
        context.setattr(os, "rename", lambda *paths: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on "
                                                                                                 "device")))
        with pytest.raises(CourseError, match="No space left"): cleaner.apply()
    for act in (lambda: put_aside(root, REASONS), lambda: restore(root), lambda: resume_rejects(root)):
        with pytest.raises(CourseError, match="apply 1 of .* was interrupted"): act()
    cleaner.undo()
    assert len(put_aside(root, REASONS)) == 3


def test_a_cleaner_finishes_or_undoes_a_reject_that_was_interrupted(root, monkeypatch):
    before, rename, calls = pictures(root), os.rename, []
    def full(*paths):
        calls.append(paths)
        if len(calls) % 2 == 0: raise OSError(errno.ENOSPC, "No space left on device")
        rename(*paths)
    def interrupted():
        with monkeypatch.context() as context:
            context.setattr(os, "rename", full)
            with pytest.raises(CourseError, match="Rejecting stopped at 2.jpg"): put_aside(root, REASONS)
        return Cleaner([(file, file.parent.name, 1.) for file in root.rglob("*.jpg")])
    cleaner = interrupted()
    assert "reject 1 of" in str(cleaner.summary()) and "was interrupted" in str(cleaner.summary())
    cleaner.undo()
    assert pictures(root) == before
    interrupted().apply()
    assert {row["file"] for row in read_rejected(root)} == set(REASONS)
    restore(root); calls.clear()
    interrupted().mark("cat/2.jpg", "keep") # Finishes it as well
    assert {row["file"] for row in read_rejected(root)} == set(REASONS)


# Interrupted anywhere

CALLS = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync")

def stop_at(number, stop):
    "Let some calls to the disk pass, then call `stop` at the next one, and at none after it; what was called"
    real, called = {name: getattr(os, name) for name in CALLS}, []
    def wrap(name):
        def call(*args, **options):
            called.append(name)
            if len(called) == number + 1: stop()
            return real[name](*args, **options)
        return call
    for name in CALLS: setattr(os, name, wrap(name))
    return called, real


def run_until(number, error, act):
    "Whether something failed at its nth call to the disk, before it was done"
    def stop(): raise error
    called, real = stop_at(number, stop)
    try: act()
    except (CourseError, OSError, KeyboardInterrupt): assert len(called) > number
    finally:
        for name, function in real.items(): setattr(os, name, function)
    return len(called) > number


STARTS = {"reject": (lambda root: None, lambda root: put_aside(root, REASONS)),
          "restore": (lambda root: put_aside(root, REASONS), restore),
          "restore one": (lambda root: put_aside(root, REASONS), lambda root: restore(root, "bird/2.jpg")),
          "restore of old": (put_aside_the_old_way, restore)}

@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
                         ids=["full", "stopped"])
@pytest.mark.parametrize("start", STARTS)
def test_stopped_anywhere(tmp_path, start, error):
    "Whatever call to the disk is the last one: every file is there once, and both ways lead to a whole state"
    prepare, act = STARTS[start]
    for number in range(200):
        root = make_set(tmp_path/str(number)/"photos")
        before = pictures(root)
        prepare(root)
        happened = run_until(number, error, lambda root=root: act(root))
        assert contents(root.parent) == sorted(before.values())
        if number % 2: put_aside(root, REASONS); assert not {"bird 1", "bird 2", "cat 1"} & set(contents(root))
        assert contents(root.parent) == sorted(before.values())
        restore(root)
        assert pictures(root) == before and read_rejected(root) == [] and not old_folder(root).exists()
        assert not any(change.unfinished for change in read_journal(root))
        if not happened: break
    assert 2 < number < 199


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("start", STARTS)
def test_killed_anywhere(tmp_path, start):
    "The same with a process that is killed and can tidy up nothing"
    prepare, act = STARTS[start]
    for number in range(200):
        root = make_set(tmp_path/str(number)/"photos")
        before = pictures(root)
        prepare(root)
        if not (child := os.fork()):
            try:
                stop_at(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
                act(root)
            finally: os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert contents(root.parent) == sorted(before.values())
        restore(root)
        assert pictures(root) == before and read_rejected(root) == []
        if not killed: break
    assert 2 < number < 199


def test_a_list_is_written_before_anything_moves(root, monkeypatch):
    seen, rename = [], os.rename
    def look(*paths): seen.append(len(read_journal(root)[0].moves)); rename(*paths)
    monkeypatch.setattr(os, "rename", look)
    put_aside(root, REASONS)
    assert seen == [3, 3, 3]


def test_a_copy_that_was_made_again_meanwhile(root, monkeypatch):
    "As `resize_all` does after an interruption: what was moved is safe in the trash, and the new one stays"
    rename, calls = os.rename, []
    def full(*paths):
        calls.append(paths)
        if len(calls) > 1: raise OSError(errno.ENOSPC, "No space left on device")
        rename(*paths)
    with monkeypatch.context() as context:
        context.setattr(os, "rename", full)
        with pytest.raises(CourseError, match="after 1 of 3 files"): put_aside(root, REASONS)
    (root/"bird"/"1.jpg").write_text("made again")
    resume_rejects(root)
    assert pictures(root)["bird/1.jpg"] == "made again" and len(read_rejected(root)) == 3
    assert {file.name for file in restore(root)} == {"1-2.jpg", "2.jpg", "1.jpg"}


# Two at once

@pytest.mark.parametrize("number", range(10))
def test_two_rejects_at_once(root, number):
    before, start, moved, errors = contents(root), threading.Barrier(2), [], []
    def work():
        start.wait()
        try: moved.extend(put_aside(root, REASONS))
        except Exception as error: errors.append(error)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)
    assert errors == [] and len(moved) == len(set(moved)) == 3 and contents(root.parent) == before
    assert {row["file"]: (row["kind"], row["why"]) for row in read_rejected(root)} == REASONS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_two_processes_reject_and_restore_at_once(root):
    before = pictures(root)
    def work(act):
        if child := os.fork(): return child
        try:
            for _ in range(10): act()
            os._exit(0)
        finally: os._exit(1)
    children = [work(lambda: put_aside(root, REASONS)), work(lambda: restore(root)),
                work(lambda: put_aside(root, REASONS))]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert contents(root.parent) == sorted(before.values())
    restore(root)
    assert pictures(root) == before


def test_another_one_that_does_not_finish(root, monkeypatch):
    put_aside(root, REASONS)
    monkeypatch.setattr(aside, "LOCK_SECONDS", 0.05)
    with change_lock(root):
        for act in (lambda: put_aside(root, {"bird/0.jpg": ("tiny", "")}), lambda: restore(root)):
            with pytest.raises(CourseError, match="Another notebook is just changing"): act()


# Folders of earlier versions

def test_an_old_folder_is_understood(root):
    before = pictures(root)
    put_aside_the_old_way(root)
    assert {row["file"]: (row["kind"], row["why"]) for row in read_rejected(root)} == REASONS
    put_aside(root, {"cat/3.jpg": ("tiny", "new")}) # Beside it, in the new way
    assert restore(root, "bird/1.jpg") == [root/"bird"/"1.jpg"] and len(read_rejected(root)) == 3
    restore(root)
    assert pictures(root) == before and not old_folder(root).exists()


def test_what_else_lies_in_an_old_folder_stays(root):
    put_aside_the_old_way(root)
    (old_folder(root)/"bird"/"notes.txt").write_text("mine")
    restore(root)
    assert tree(old_folder(root)) == {"bird/notes.txt": "mine"}


@pytest.mark.parametrize("table", ["file,kept_as,kind,why\n../x.jpg,bird/1.jpg,tiny,x\n",
                                   "file,kept_as,kind,why\nbird/1.jpg,../../letter.jpg,tiny,x\n",
                                   "file,kept_as,kind,why\n/etc/x.jpg,bird/1.jpg,tiny,x\n",
                                   "file,kept_as\n,bird/1.jpg\n", b"file,kept_as\n\xff,a\n"])
def test_an_old_table_is_not_trusted(root, table):
    put_aside_the_old_way(root)
    (old_folder(root)/"rejected.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    (root.parent.parent/"letter.jpg").write_text("a letter")
    before = tree(root.parent)
    with pytest.raises(CourseError, match="rejected.csv cannot be used.*by hand"): restore(root)
    assert pictures(root.parent) == {name: text for name, text in before.items() if name.endswith(".jpg")}


def test_nothing_was_ever_rejected(root):
    assert restore(root) == [] and read_rejected(root) == [] and put_aside(root, {}) == []
    with pytest.raises(CourseError, match="x.jpg is not among the 0 rejected"): restore(root, "x.jpg")
    assert not aside_folder(root).exists()


# Lists from disk

GOOD = {"number": 1, "when": "2026-01-01 12:00:00", "state": "applied", "folders": ["photos-cleaning/trash/1/bird"],
        "moves": [{"file": "bird/1.jpg", "target": "photos-cleaning/trash/1/bird/1.jpg", "decision": "reject",
                   "kind": "tiny", "why": "8 x 8 pixels"}]}

def with_move(**fields): return GOOD | {"moves": [GOOD["moves"][0] | fields]}

HOSTILE = {
    "file above": with_move(file="../letter.jpg"), "file far above": with_move(file="bird/../../../letter.jpg"),
    "absolute file": with_move(file="/etc/passwd"),
    "file of Windows": with_move(file="C:/x.jpg"), "backslashes": with_move(file="..\\letter.jpg"),
    "folder as file": with_move(file="."), "no file": with_move(file=""),
    "null byte": with_move(file="bird/\0.jpg"), "double slash": with_move(file="bird//1.jpg"),
    "target above": with_move(target="photos-cleaning/trash/1/bird/../../../../../letter.jpg"),
    "absolute target": with_move(target="/x.jpg"),
    "target elsewhere": with_move(target="other/1.jpg"), "target in the data": with_move(target="photos/bird/9.jpg"),
    "trash of another": with_move(target="photos-cleaning/trash/2/bird/1.jpg"),
    "the decisions": with_move(target="photos-cleaning/decisions.json"),
    "class above": with_move(decision="move to ..", target="letter.jpg"),
    "class elsewhere": with_move(decision="move to ../../x", target="x/1.jpg"),
    "class at the top": with_move(file="1.jpg", decision="move to other", target="other/1.jpg"),
    "unknown decision": with_move(decision="burn"), "number as file": with_move(file=3),
    "list as why": with_move(why=["x"]), "unknown field": with_move(more="x"),
    "no target": GOOD | {"moves": [{"file": "bird/1.jpg", "decision": "reject"}]},
    "moves are a dict": GOOD | {"moves": {"a": 1}}, "moves are numbers": GOOD | {"moves": [1]},
    "folders above": GOOD | {"folders": [".."]}, "folder itself": GOOD | {"folders": ["."]},
    "absolute folder": GOOD | {"folders": ["/tmp"]}, "folders are dicts": GOOD | {"folders": [{}]},
    "other folder": GOOD | {"folders": ["photos/cat"]}, "another number": GOOD | {"number": 2},
    "number is a text": GOOD | {"number": "1"}, "number is true": GOOD | {"number": True},
    "unknown state": GOOD | {"state": "ready"}, "state is a list": GOOD | {"state": []},
    "when is a number": GOOD | {"when": 1}, "a field too many": GOOD | {"more": 1},
    "a reject and an apply": GOOD | {"moves": [GOOD["moves"][0], GOOD["moves"][0] | {"decision": "delete"}]},
    "a field too few": {"number": 1}, "a list": [], "a number": 7, "null": None}

@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("state", ["applied", "applying", "undoing"])
def test_hostile_lists_move_nothing(root, hostile, state):
    (aside_folder(root)/"applied").mkdir(parents=True)
    (aside_folder(root)/"trash"/"1"/"bird").mkdir(parents=True)
    (aside_folder(root)/"trash"/"1"/"bird"/"1.jpg").write_text("bird 1, rejected")
    (root.parent/"letter.jpg").write_text("a letter"); (root.parent/"empty").mkdir()
    if isinstance(hostile, dict) and hostile.get("state") == "applied": hostile = hostile | {"state": state}
    (aside_folder(root)/"applied"/"1.json").write_text(json.dumps(hostile))
    before, cleaner = tree(root.parent), Cleaner.__new__(Cleaner)
    cleaner.root, cleaner.home, cleaner.views, cleaner.rows, cleaner.classes = root, aside_folder(root), [], {}, [
        "bird"]
    for act in (lambda: put_aside(root, REASONS), lambda: restore(root), lambda: restore(root, "bird/1.jpg"),
                lambda: read_rejected(root), cleaner.apply, cleaner.undo):
        with pytest.raises(CourseError, match="applied/1.json is no journal of photos"): act()
    assert {name: text for name, text in tree(root.parent).items()
            if not name.endswith(".lock")} == before and (root.parent/"empty").is_dir()


@pytest.mark.parametrize("content, words", [("", "cannot be read"), ("{", "cannot be read"),
                                            ("[" * 100_000, "too deeply nested"), (b"\xff\xfe", "cannot be read"),
                                            ("9" * 5000, "cannot be read|no journal")])
def test_files_that_are_no_json(root, content, words):
    (aside_folder(root)/"applied").mkdir(parents=True)
    (aside_folder(root)/"applied"/"1.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    for act in (lambda: put_aside(root, REASONS), lambda: restore(root)):
        with pytest.raises(CourseError, match=words): act()
    assert len(contents(root)) == 8


def test_a_huge_list(root, monkeypatch):
    put_aside(root, REASONS)
    monkeypatch.setattr(files, "LONGEST_JSON", 10)
    with pytest.raises(CourseError, match="cannot be read .it has .* bytes"): restore(root)


@pytest.mark.parametrize("name", ["1x.json", "01.json", "１.json"])
def test_a_name_that_is_no_number(root, name):
    (aside_folder(root)/"applied").mkdir(parents=True)
    (aside_folder(root)/"applied"/name).write_text(json.dumps(GOOD))
    if name == "１.json": assert read_journal(root) == []; return
    with pytest.raises(CourseError, match="is no journal of photos"): read_journal(root)


def test_a_folder_in_place_of_a_list(root):
    (aside_folder(root)/"applied"/"1.json").mkdir(parents=True)
    with pytest.raises(CourseError, match="1.json cannot be read .it is no file"): put_aside(root, REASONS)


@pytest.mark.parametrize("place", ["data", "trash"])
def test_a_link_on_the_way_leads_nowhere(root, place):
    "Plain names, but one of the folders is a link to somewhere else"
    elsewhere = root.parent/"elsewhere"
    elsewhere.mkdir()
    if place == "data":
        put_aside(root, REASONS)
        shutil.rmtree(root/"bird"); (root/"bird").symlink_to(elsewhere)
        with pytest.raises(CourseError, match="leads out of photos by a link"): restore(root)
    else:
        aside_folder(root).mkdir(); (aside_folder(root)/"trash").symlink_to(elsewhere)
        with pytest.raises(CourseError, match="leads out of photos by a link"): put_aside(root, REASONS)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_is_never_moved(root):
    (aside_folder(root)/"applied").mkdir(parents=True)
    journal = with_move(file="bird", target="photos-cleaning/trash/1/bird") | {"folders": [], "state": "applying"}
    (aside_folder(root)/"applied"/"1.json").write_text(json.dumps(journal))
    with pytest.raises(CourseError, match="is a folder, and only files are moved"): put_aside(root, REASONS)
    assert len(contents(root)) == 8


def test_a_trash_without_its_list_is_left_alone(root):
    (aside_folder(root)/"trash"/"3"/"bird").mkdir(parents=True)
    (aside_folder(root)/"trash"/"3"/"bird"/"1.jpg").write_text("older")
    moved = put_aside(root, REASONS)
    assert [file.relative_to(aside_folder(root)).parts[1] for file in moved] == ["4"] * 3

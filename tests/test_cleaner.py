"The cleaner: marks that nothing loses, applies that can be interrupted anywhere, undo to the last byte, and the widget"
import errno
import math
import os
import signal
import subprocess
import sys
import threading

import pytest
from PIL import Image

from course_lib.pictures import aside
from course_lib.pictures.cleaner import Cleaner
from course_lib.base.env import CourseError
from course_lib.pictures.aside import aside_folder, change_lock, read_journal
from course_lib.pictures.decisions import read_decisions
from course_lib.pictures.scored import common_root

pytestmark = pytest.mark.usefixtures("home")
CLASSES = ("black", "grizzly", "teddy")


def make_set(root, classes=CLASSES, count=4):
    "Pictures with names of their own, all different; one of each class has the same name"
    for number, name in enumerate(classes):
        (root/name).mkdir(parents=True)
        for index in range(count):
            file = root/name/("same.png" if not index else f"{name} {index}.png")
            Image.new("RGB", (20 + index, 16), (40*number, 60*index, 90)).save(file)
    return root


@pytest.fixture
def root(tmp_path): return make_set(tmp_path/"bears")

def rows_of(root):
    files = sorted(root.rglob("*.png"))
    return [(file, file.parent.name, float(number), "valid" if number % 3 else "train", "teddy", 0.5)
            for number, file in enumerate(files)]

@pytest.fixture
def cleaner(root): return Cleaner(rows_of(root), per_page=5)

def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}

def state(root): return tree(root), read_decisions(root), [path for path in tree(aside_folder(root)) if "trash" in path]

def mark_some(cleaner):
    for file, choice in {"black/black 1.png": "delete", "black/black 2.png": "teddy", "teddy/teddy 1.png": "wolf"
                         if "wolf" in cleaner.classes else "grizzly",
                         "grizzly/grizzly 3.png": "delete", "teddy/same.png": "keep"}.items(): cleaner.mark(file,
                             choice)


# What it starts from

def test_plain_rows_load_neither_torch_nor_fastai(root):
    code = ("import sys; from course_lib.pictures.cleaner import Cleaner; from pathlib import Path; "
            "cleaner = Cleaner([(file, file.parent.name, 1.) for file in Path(sys.argv[1]).rglob('*.png')]); "
            "cleaner.widget; cleaner.sheet(); "
            "print([name for name in ('torch', 'fastai', 'pandas') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("path",
                         ["../letter.png", "/etc/hostname", "black/../../letter.png", "linked/letter.png", "black/.."])
def test_files_elsewhere_are_refused(root, path):
    Image.new("RGB", (9, 9)).save(root.parent/"letter.png")
    (root/"linked").symlink_to(root.parent, target_is_directory=True)
    with pytest.raises(CourseError, match="is not in bears"):
        Cleaner([*rows_of(root/"black"), (path, "black", 1.)], root=root)
    with pytest.raises(CourseError, match="is not in bears"): Cleaner(rows_of(root)).mark(path, "delete")


def test_a_folder_all_lessons_share_is_refused(home):
    shared = make_set(home/".course"/"standins"/"bears")
    with pytest.raises(CourseError, match="Work on a copy"): Cleaner(rows_of(shared))


@pytest.mark.parametrize("layout,expected", [("bears/{}/1.png", "bears"), ("bears/train/{}/1.png", "bears"),
                                             ("bears/Valid/{}/1.png", "bears"), ("bears/images/{}-1.png", "images")])
def test_the_folder_of_the_data_is_found(tmp_path, layout, expected):
    assert common_root([(tmp_path/layout.format(name), name) for name in CLASSES]).name == expected


def test_relative_paths_are_those_of_the_notebook(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    cleaner = Cleaner([("bears/black/same.png", "black", 1.), ("bears/teddy/same.png", "teddy", 2.)])
    assert list(cleaner.rows) == ["black/same.png", "teddy/same.png"]
    assert cleaner.classes == list(CLASSES) # With the folder of the class that has no row
    cleaner.mark("bears/black/same.png", "delete")
    assert cleaner.decisions == {"black/same.png": "delete"}


def test_folders_without_pictures_are_no_classes(root):
    (root/"models").mkdir()
    (root/"models"/"model.pth").touch()
    assert Cleaner(rows_of(root)).classes == list(CLASSES)


@pytest.mark.parametrize("folder", [os.sep, "nowhere"])
def test_a_root_that_cannot_be_cleaned(root, folder):
    with pytest.raises(CourseError, match="Name the one that holds the pictures"): Cleaner(rows_of(root), root=folder)


def test_the_worst_comes_first(root):
    losses = {"black/black 1.png": [1, 5], "black/black 2.png": [3], "black/black 3.png": [math.nan],
              "black/same.png": [math.inf, 0]}
    cleaner = Cleaner([(root/file, "black", loss) for file, values in losses.items() for loss in values])
    assert [row.file for row in cleaner.view()] == ["black/black 3.png", "black/same.png", "black/black 1.png",
                                                    "black/black 2.png"]


def test_vanished_files_are_named(root):
    rows = rows_of(root)
    (root/"black"/"same.png").unlink()
    cleaner = Cleaner(rows)
    assert "not there any more: black/same.png" in repr(cleaner)
    assert "black/same.png" in cleaner.widget.message.value
    assert len(cleaner.view()) == len(rows) - 1
    with pytest.raises(CourseError, match="not there any more"): cleaner.mark("black/same.png", "delete")


# Marks

def test_marks_stay_whatever_happens(root, cleaner):
    mark_some(cleaner)
    for label in (None, *CLASSES):
        for split in (None, "train", "valid"): cleaner.view(label, split)
    again = Cleaner(rows_of(root))
    assert again.decisions == {"black/black 1.png": "delete", "black/black 2.png": "move to teddy",
                               "teddy/teddy 1.png": "move to grizzly",
                               "grizzly/grizzly 3.png": "delete", "teddy/same.png": "keep"}
    assert not [file for file in tree(root) if file.endswith(".json")]


@pytest.mark.parametrize("file,choice,words", [
    ("black/black 1.png", "gone", "Known names"), ("black/black 1.png", "grizly", "Did you mean 'grizzly'"),
    ("black/black 1.png", 3, "not 3"),
    ("black/black 9.png", "delete", "Did you mean black/black"), ("black", "delete", "not among the pictures")])
def test_marks_that_make_no_sense(cleaner, file, choice, words):
    with pytest.raises(CourseError, match=words): cleaner.mark(file, choice)
    assert cleaner.decisions == {}


def test_the_class_it_has_means_keep(cleaner):
    cleaner.mark("black/black 1.png", "black")
    assert cleaner.decisions == {"black/black 1.png": "keep"}


@pytest.mark.parametrize("name", ["../wolf", "a/b", "..", "a\\b"])
def test_a_class_that_cannot_be_a_folder(root, name):
    cleaner = Cleaner(rows_of(root), classes=[name])
    with pytest.raises(CourseError, match="cannot be moved to"): cleaner.mark("black/black 1.png", name)


def test_a_label_that_is_no_folder(root):
    cleaner = Cleaner([(root/"black"/"same.png", "a bear", 1.), (root/"teddy"/"same.png", "a toy", 1.)], root=root)
    with pytest.raises(CourseError, match="put the label right where it is kept"):
        cleaner.mark("black/same.png", "a toy")
    cleaner.mark("black/same.png", "delete")
    menu = cleaner.widget.cards["black/same.png"].children[1]
    assert [name for name, _ in menu.options] == ["…", "keep", "delete"]


def test_a_file_at_the_top_cannot_leave_the_data(tmp_path):
    root = make_set(tmp_path/"black", ["other"])
    Image.new("RGB", (9, 9)).save(root/"1.png")
    cleaner = Cleaner([(root/"1.png", "black", 1.)], root=root, classes=["teddy"])
    with pytest.raises(CourseError, match="not the name of its folder"): cleaner.mark("1.png", "teddy")


def test_two_notebooks_do_not_lose_marks(tmp_path):
    root = make_set(tmp_path/"bears", count=16)
    rows = rows_of(root)
    def work(part):
        mine = Cleaner(rows)
        for path, *_ in rows[part::4]: mine.mark(path, "delete")
    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)
    assert len(Cleaner(rows).decisions) == len(rows) == 48


def test_another_notebook_that_does_not_finish(cleaner, monkeypatch):
    monkeypatch.setattr(aside, "LOCK_SECONDS", 0.05)
    with change_lock(cleaner.root):
        for act in (lambda: cleaner.mark("black/same.png", "delete"), cleaner.apply, cleaner.undo):
            with pytest.raises(CourseError, match="Another notebook"): act()
    cleaner.mark("black/same.png", "delete")


@pytest.mark.parametrize("call,error", [("fsync", OSError(errno.ENOSPC, "full")), ("replace",
    OSError(errno.EROFS, "read-only")), ("replace", KeyboardInterrupt())])
def test_a_mark_that_cannot_be_saved(cleaner, monkeypatch, call, error):
    cleaner.mark("black/same.png", "delete")
    before = tree(cleaner.home)
    def fails(*args): raise error
    with monkeypatch.context() as context:
        context.setattr(os, call, fails)
        with pytest.raises((CourseError, KeyboardInterrupt)): cleaner.mark("teddy/same.png", "delete")
    assert tree(cleaner.home) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"../letter.png": "delete"}', '{"/etc/passwd": "delete"}',
                                  '{"black/same.png": "burn"}',
                                  '{"black/same.png": "move to ../../elsewhere"}', '{"black/same.png": "move to "}',
                                  '{"black/same.png": null}', b"\xff\xfe"])
def test_a_damaged_file_moves_nothing(root, cleaner, text):
    cleaner.home.mkdir()
    (cleaner.home/"decisions.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = tree(root)
    for act in (cleaner.apply, cleaner.summary, lambda: cleaner.mark("black/same.png", "delete")):
        with pytest.raises(CourseError, match="decisions.json"): act()
    assert tree(root) == before


@pytest.mark.parametrize("text", ["{}", "[]", '{"number": 1, "when": "", "moves": [3], "folders": []}', "x"])
def test_a_damaged_journal_moves_nothing(root, cleaner, text):
    (cleaner.home/"applied").mkdir(parents=True)
    (cleaner.home/"applied"/"1.json").write_text(text)
    for act in (cleaner.apply, cleaner.undo, lambda: cleaner.mark("black/same.png", "delete")):
        with pytest.raises(CourseError, match="journal|cannot be read"): act()


# Apply

def test_apply_and_undo(root, cleaner):
    mark_some(cleaner)
    before, content = state(root), tree(root)
    assert str(cleaner.summary()) == "2 to delete, 2 to move to another class, 1 to keep"
    cleaner.apply()
    after = tree(root)
    assert after["teddy/black 2.png"] == content["black/black 2.png"] and after["grizzly/teddy 1.png"] == content[
        "teddy/teddy 1.png"]
    assert not {"black/black 1.png", "black/black 2.png", "teddy/teddy 1.png", "grizzly/grizzly 3.png"} & after.keys()
    assert tree(cleaner.home)["trash/1/black/black 1.png"] == content["black/black 1.png"]
    assert cleaner.decisions == {"teddy/same.png": "keep"}
    cleaner.undo()
    assert state(root) == before
    assert set(cleaner.log()["state"]) == {"undone"} and len(cleaner.log()) == 4


def test_parts_keep_their_place(tmp_path):
    root = tmp_path/"bears"
    for part in ("train", "valid"): make_set(root/part)
    cleaner = Cleaner(rows_of(root))
    cleaner.mark("valid/black/black 1.png", "teddy")
    cleaner.apply()
    assert (root/"valid"/"teddy"/"black 1.png").is_file()


def test_a_new_class_gets_a_folder_and_loses_it_again(root):
    cleaner, before = Cleaner(rows_of(root), classes=["wolf"]), tree(root)
    mark_some(cleaner)
    cleaner.apply()
    assert (root/"wolf"/"teddy 1.png").is_file()
    cleaner.undo()
    assert tree(root) == before


def taken(root, cleaner): cleaner.mark("black/same.png", "teddy")

def two_for_one(root, cleaner):
    (root/"teddy"/"same.png").unlink()
    for name in ("black", "grizzly"): cleaner.mark(f"{name}/same.png", "teddy")

def two_that_differ_in_case(root, cleaner):
    (root/"black"/"black 3.png").rename(root/"black"/"GRIZZLY 3.PNG")
    again = Cleaner([(file, file.parent.name, 1.) for file in root.rglob("*.[pP]*")])
    again.mark("black/GRIZZLY 3.PNG", "teddy")
    again.mark("grizzly/grizzly 3.png", "teddy")

def swapped(root, cleaner):
    cleaner.mark("black/same.png", "teddy")
    cleaner.mark("teddy/same.png", "black")

CLASHES = {"taken": (taken, "teddy/same.png is there already"), "two for one": (two_for_one, "the same name as "
                                                                                             "black/same.png"),
           "case": (two_that_differ_in_case, "the same name as black/GRIZZLY 3.PNG"),
           "swapped": (swapped, "is there already")}

@pytest.mark.parametrize("clash", CLASHES)
def test_names_that_clash(root, cleaner, clash):
    prepare, words = CLASHES[clash]
    prepare(root, cleaner)
    cleaner.mark("black/black 1.png", "delete") # Could be done, and is not
    before, contents = state(root), sorted(filter(None, tree(root).values()))
    assert words in repr(cleaner.summary()) and "nothing will be" in str(cleaner.summary())
    with pytest.raises(CourseError, match=words): cleaner.apply()
    assert state(root) == before and not read_journal(cleaner.root)
    cleaner.apply(rename=True)
    found = [content for content in (*tree(root).values(), *(tree(cleaner.home/"trash").values())) if content]
    assert sorted(found) == contents # Each picture is still there, once
    cleaner.undo()
    assert state(root) == before


def test_a_linked_picture_stays(root, cleaner):
    (root/"black"/"same.png").rename(root.parent/"real.png")
    (root/"black"/"same.png").symlink_to("../../real.png")
    cleaner.mark("black/same.png", "delete")
    with pytest.raises(CourseError, match="is a link"): cleaner.apply()
    assert (root/"black"/"same.png").is_file()


def test_a_decision_for_a_file_that_vanished(root, cleaner):
    mark_some(cleaner)
    (root/"black"/"black 1.png").unlink()
    assert cleaner.summary().gone == {"black/black 1.png": "delete"}
    assert "black/black 1.png" in cleaner.summary()._repr_html_() and "1 not there any more" in str(cleaner.summary())
    assert len(cleaner.apply().moves) == 3
    assert cleaner.decisions["black/black 1.png"] == "delete" # Still told, until it is forgotten
    cleaner.mark("black/black 1.png", None)
    assert "black/black 1.png" not in cleaner.decisions


def test_nothing_to_do(root, cleaner):
    cleaner.mark("black/same.png", "keep")
    assert cleaner.apply().moves == [] and "nothing marked" in repr(cleaner.apply()) and read_journal(
        cleaner.root) == []
    with pytest.raises(CourseError, match="nothing to undo"): cleaner.undo()


# Undo

def test_newest_first(root, cleaner):
    states = []
    for file in ("black/black 1.png", "black/black 2.png", "black/black 3.png"):
        cleaner.mark(file, "delete")
        states.append(state(root))
        cleaner.apply()
    for number, words in ((1, "Undo first: 3, 2"), (2, "Undo first: 3"), (7, "no apply 7")):
        with pytest.raises(CourseError, match=words): cleaner.undo(number)
    for number in (3, 2, 1):
        assert cleaner.undo(number).number == number
        assert tree(root) == states[number - 1][0]
    cleaner.apply()
    assert read_journal(cleaner.root)[-1].number == 4 # Numbers are not used twice


def test_a_picture_that_moved_twice(root, cleaner):
    before = tree(root)
    cleaner.mark("black/black 1.png", "teddy")
    cleaner.apply()
    again = Cleaner(rows_of(root))
    again.mark("teddy/black 1.png", "grizzly")
    again.apply()
    assert (root/"grizzly"/"black 1.png").is_file()
    again.undo(); cleaner.undo()
    assert tree(root) == before


def test_a_newer_decision_counts_more(root, cleaner):
    cleaner.mark("black/black 1.png", "teddy")
    cleaner.apply()
    Cleaner(rows_of(root)).mark("teddy/black 1.png", "delete")
    cleaner.undo()
    assert cleaner.decisions == {"black/black 1.png": "delete"}


def test_undo_writes_over_nothing(root, cleaner):
    mark_some(cleaner)
    cleaner.apply()
    (root/"black"/"black 1.png").write_bytes(b"new")
    before = tree(root.parent)
    with pytest.raises(CourseError, match="would write over bears/black/black 1.png"): cleaner.undo()
    assert tree(root.parent) == before


def test_undo_after_the_trash_was_emptied(root, cleaner):
    mark_some(cleaner)
    before = tree(root)
    cleaner.apply()
    (cleaner.home/"trash"/"1"/"black"/"black 1.png").unlink()
    middle = tree(root)
    with pytest.raises(CourseError, match="black/black 1.png: not where apply 1 left it"): cleaner.undo()
    assert tree(root) == middle
    cleaner.undo(missing_ok=True)
    assert tree(root) == {file: content for file, content in before.items() if file != "black/black 1.png"}


# Interrupted

class Crash:
    "Lets some calls pass, then fails once"
    def __init__(self, passes, error): self.left, self.error, self.happened = passes, error, False
    def wrap(self, function):
        def call(*args, **options):
            self.left -= 1
            if self.left == -1: self.happened = True; raise self.error
            return function(*args, **options)
        return call


def crash(monkeypatch, passes, error, act):
    "Do something that fails at its nth call to the disk; whether it got that far"
    crashing = Crash(passes, error)
    with monkeypatch.context() as context:
        for name in ("rename", "replace", "mkdir", "rmdir", "fsync"):
            context.setattr(os, name, crashing.wrap(getattr(os, name)))
        try: act()
        except (CourseError, OSError, KeyboardInterrupt): assert crashing.happened
    return crashing.happened


@pytest.mark.parametrize("back", [False, True], ids=["then apply", "then undo"])
@pytest.mark.parametrize("interrupted", ["apply", "undo"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
                         ids=["full", "stopped"])
def test_stopped_anywhere(tmp_path, monkeypatch, error, interrupted, back):
    "Whatever call to the disk is the last one, both ways out lead to a whole state"
    monkeypatch.setattr(os, "fsync", lambda file: None) # Hundreds of them take a while
    for passes in range(100):
        root = make_set(tmp_path/str(passes)/"bears")
        cleaner = Cleaner(rows_of(root), classes=["wolf"])
        mark_some(cleaner)
        before = state(root)
        if interrupted == "undo": cleaner.apply()
        happened = crash(monkeypatch, passes, error, getattr(cleaner, interrupted))
        again, journal = Cleaner(rows_of(root), classes=["wolf"]), read_journal(cleaner.root)
        if journal and journal[-1].unfinished:
            assert "was interrupted" in repr(again)
            with pytest.raises(CourseError, match="was interrupted"): again.mark("grizzly/same.png", "delete")
            again.undo() if back else again.apply()
        elif journal and journal[-1].state == "applied" and back: again.undo()
        elif not back and (not journal or journal[-1].state == "undone"): again.apply()
        if back: assert state(root) == before
        else:
            files, decisions, _ = state(root)
            assert decisions == {"teddy/same.png": "keep"} and {
                "teddy/black 2.png", "wolf/teddy 1.png"} <= files.keys() and "black/black 1.png" not in files
            again.undo()
            assert state(root) == before
        if not happened: break
    assert 10 < passes < 99


def test_a_name_taken_at_the_last_moment(root, cleaner, monkeypatch):
    for number in (1, 2): cleaner.mark(f"black/black {number}.png", "teddy")
    rename, foreign = os.rename, root/"teddy"/"black 2.png"
    def rename_and_write(*paths): rename(*paths); foreign.write_bytes(b"somebody else's")
    with monkeypatch.context() as context:
        context.setattr(os, "rename", rename_and_write)
        with pytest.raises(CourseError, match="has just been taken.*after 1 of 2 files"): cleaner.apply()
    assert foreign.read_bytes() == b"somebody else's" and (root/"black"/"black 2.png").is_file()
    foreign.unlink()
    assert cleaner.apply().state == "applied"


def test_killed_in_the_middle(root, cleaner):
    mark_some(cleaner)
    before = state(root)
    code = ("import os, signal, sys; from pathlib import Path; from course_lib.pictures.cleaner import Cleaner\n"
            "rename, calls = os.rename, []\n"
            "def killed(*args):\n"
            "    calls.append(args)\n"
            "    if len(calls) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    rename(*args)\n"
            "os.rename = killed\n"
            "Cleaner([(file, file.parent.name, 1.) for file in Path(sys.argv[1]).rglob('*.png')]).apply()")
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert tree(root) != before[0]
    again = Cleaner(rows_of(root))
    assert str(again.summary()).startswith("apply 1 of ") and "was interrupted" in str(again.summary())
    again.undo()
    assert state(root) == before


# The widget

def menu(cleaner, file): return cleaner.widget.cards[file].children[1]

def test_all_pages_can_be_reached(cleaner):
    view, seen = cleaner.widget, []
    while True:
        seen += [row.file for row in view.rows]
        if view.buttons["forward"].disabled: break
        view.buttons["forward"].click()
    assert seen == [row.file for row in cleaner.view()] and len(seen) == 12
    view.page.value = 2
    assert [row.file for row in view.rows] == seen[5:10]
    view.buttons["back"].click()
    assert view.page.value == 1 and view.buttons["back"].disabled


def test_the_menus_say_that_all_is_shown(cleaner):
    assert [menu.label for menu in (cleaner.widget.label, cleaner.widget.split)] == ["all classes", "all parts"]
    assert len(cleaner.widget.cleaner.view()) == len(cleaner.rows)


def test_switching_forgets_nothing(root, cleaner):
    view = cleaner.widget
    view.label.value = "black"
    menu(cleaner, "black/black 1.png").value = "move to teddy"
    view.label.value, view.split.value = "teddy", "valid"
    menu(cleaner, view.rows[0].file).value = "delete"
    view.label.value, view.split.value = "black", ""
    assert menu(cleaner, "black/black 1.png").value == "move to teddy"
    assert "cleaner-move" in cleaner.widget.cards["black/black 1.png"]._dom_classes
    assert "1 to delete, 1 to move" in view.status.value
    assert len(Cleaner(rows_of(root)).decisions) == 2
    menu(cleaner, "black/black 1.png").value = ""
    assert len(cleaner.decisions) == 1


def test_a_late_click_marks_its_own_picture(cleaner):
    view = cleaner.widget
    file = view.rows[0].file
    card = view.cards[file]
    view.buttons["forward"].click()
    card.children[1].value = "delete"
    assert cleaner.decisions == {file: "delete"}


def test_choices_that_arrive_together(cleaner, monkeypatch):
    "JupyterLab hands changes to several threads: the second one comes while the first is being carried out"
    view, done, refresh = cleaner.widget, threading.Event(), type(cleaner.widget).refresh
    def choose_part():
        view.split.value = "valid"
        done.set()
    second = threading.Thread(target=choose_part)
    def slow(self):
        if not second.ident: # Just before the first choice is through
            with self._silently(): second.start(); done.wait(0.2)
        refresh(self)
    monkeypatch.setattr(type(view), "refresh", slow)
    view.label.value = "teddy"
    second.join(60)
    assert done.is_set() and [row.file for row in view.rows] == [row.file for row in cleaner.view("teddy", "valid")]
    assert len(view.grid.children) == len(view.rows) < len(cleaner.view("teddy"))


def test_marks_made_while_a_cell_applies(root, cleaner, monkeypatch):
    "A visitor who clicks while apply() runs in a cell: neither waits for the other for ever, and the mark counts"
    view, clicks = cleaner.widget, []
    cleaner.mark("black/black 1.png", "delete")
    def click(): menu(cleaner, view.rows[0].file).value = "keep"
    show = type(view).show
    def shown(self, *args):
        if not clicks:
            clicks.append(threading.Thread(target=click))
            clicks[0].start(); clicks[0].join(0.2)
        show(self, *args)
    monkeypatch.setattr(type(view), "show", shown)
    kept = view.rows[0].file
    assert len(cleaner.apply().moves) == 1
    clicks[0].join(60)
    assert not clicks[0].is_alive() and view.message.value == ""
    assert cleaner.decisions == {kept: "keep"}


def test_apply_asks_first(root, cleaner):
    view, before = cleaner.widget, tree(root)
    view.buttons["apply"].click()
    assert view.buttons["confirm"].disabled # Nothing is marked
    mark_some(cleaner)
    view.buttons["apply"].click()
    assert view.question.layout.display == "" and "black/black 1.png" in view.table.value
    view.buttons["cancel"].click()
    assert view.question.layout.display == "none" and tree(root) == before
    view.buttons["apply"].click()
    view.buttons["confirm"].click()
    assert "Done" in view.message.value and len(cleaner.view()) == 8
    assert [row.file for row in view.rows] == [row.file for row in cleaner.view()[:5]]
    view.buttons["undo"].click()
    assert "Taken back" in view.message.value and tree(root) == before
    view.buttons["undo"].click()
    assert "nothing to undo" in view.message.value


def test_marks_that_change_while_one_is_asked(root, cleaner):
    mark_some(cleaner)
    before, view = tree(root), cleaner.widget
    view.buttons["apply"].click()
    Cleaner(rows_of(root)).mark("black/same.png", "delete")
    view.buttons["confirm"].click()
    assert "have changed" in view.message.value and "black/same.png" in view.table.value and tree(root) == before
    view.buttons["confirm"].click()
    assert "Done" in view.message.value


def test_new_names_are_offered(root, cleaner):
    cleaner.mark("black/same.png", "teddy")
    view = cleaner.widget
    view.buttons["apply"].click()
    assert view.buttons["confirm"].description == "Give new names and apply" and "is there already" in view.table.value
    view.buttons["confirm"].click()
    assert (root/"teddy"/"same-2.png").is_file()


def test_an_interrupted_apply_is_finished(root, cleaner, monkeypatch):
    mark_some(cleaner)
    with monkeypatch.context() as context:
        context.setattr(os, "rename", Crash(2, OSError(errno.ENOSPC, "No space left on device")).wrap(os.rename))
        view = cleaner.widget
        for name in ("apply", "confirm"): view.buttons[name].click()
    assert "No space left on device" in view.message.value
    fresh = Cleaner(rows_of(root)).widget
    assert "was interrupted" in fresh.status.value
    fresh.buttons["apply"].click()
    assert fresh.buttons["confirm"].description == "Finish it"
    fresh.buttons["confirm"].click()
    assert read_journal(cleaner.root)[-1].state == "applied"


def test_what_goes_wrong_is_said(cleaner, monkeypatch):
    view = cleaner.widget
    file = view.rows[0].file
    def full(*args): raise OSError(errno.ENOSPC, "full")
    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        menu(cleaner, file).value = "delete"
    assert "is full" in view.message.value and menu(cleaner, file).value == "" # Shows what counts
    (cleaner.home/"decisions.json").write_text("{")
    view.buttons["forward"].click()
    assert "cannot be read" in view.message.value


def test_names_are_shown_as_they_are(tmp_path):
    root = make_set(tmp_path/"bears", ["<b>black", "<script>alert(1)"], 2)
    (root/"<b>black"/"same.png").write_bytes(b"no picture")
    cleaner = Cleaner([(file, file.parent.name, 1., "<i>", "<img src=x>", 0.5) for file in root.rglob("*.png")])
    mark = cleaner.view()[0].file
    cleaner.mark(mark, "delete")
    shown = [cleaner.sheet().data, cleaner.summary()._repr_html_(),
             *(card.children[0].value for card in cleaner.widget.cards.values())]
    assert "cannot be shown" in shown[0]
    for text in shown:
        for harm in ("<b>black", "<script", "<i>", "<img src=x"): assert harm not in text


def test_jupyter_is_given_the_widget(cleaner):
    bundle = cleaner._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == cleaner.widget.box.model_id
    assert bundle["text/plain"] == repr(cleaner) and "12 pictures in 3 classes" in repr(cleaner)


# A learner

@pytest.fixture(scope="module")
def fastai(): return pytest.importorskip("fastai.vision.all")

def learner(fastai, dls, loss=None, outputs=3):
    from torch import nn
    learn = fastai.Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(3*16*16, outputs)), loss_func=loss
                           or fastai.CrossEntropyLossFlat())
    learn.remove_cb(fastai.ProgressCallback)
    return learn

def block(fastai, **options):
    return fastai.DataBlock(**{"blocks": (fastai.ImageBlock, fastai.CategoryBlock), "get_y": fastai.parent_label,
                               "splitter": fastai.RandomSplitter(0.5, seed=1),
                               "item_tfms": fastai.RandomResizedCrop(16)} | options)

def test_a_learner(fastai, root):
    files = sorted(root.rglob("*.png"))
    cleaner = Cleaner(learner(fastai, block(fastai).dataloaders(files, bs=5, num_workers=0)))
    assert cleaner.root == root and cleaner.classes == list(CLASSES) and cleaner.splits == ["train", "valid"]
    # Of the last, shorter batch too
    assert {row.file for row in cleaner.view()} == {file.relative_to(root).as_posix() for file in files}
    for row in cleaner.view():
        assert row.label == row.file.split("/")[0] and 1/3 < row.probability <= 1
        if row.prediction == row.label: assert row.loss == pytest.approx(-math.log(row.probability), abs=1e-4)


def test_a_learner_from_a_table(fastai, root):
    import pandas as pd
    files = sorted(root.rglob("*.png"))
    table = pd.DataFrame({"name": [file.relative_to(root).as_posix() for file in files],
                          "kind": [file.parent.name for file in files]})
    made = block(fastai, get_x=fastai.ColReader("name", pref=root), get_y=fastai.ColReader("kind")).dataloaders(table,
        bs=4, num_workers=0)
    files[3].unlink()
    cleaner = Cleaner(learner(fastai, made))
    assert len(cleaner.view()) == 11 and cleaner.gone == [files[3].relative_to(root).as_posix()]


def test_a_loss_without_activation(fastai, root):
    from torch import nn
    cleaner = Cleaner(learner(fastai, block(fastai).dataloaders(sorted(root.rglob("*.png")), bs=4, num_workers=0),
                              nn.CrossEntropyLoss()))
    assert len(cleaner.view()) == len(sorted(root.rglob("*.png")))
    assert all(1/3 < row.probability <= 1 for row in cleaner.view())


def several_labels(fastai, root):
    made = block(fastai, blocks=(fastai.ImageBlock, fastai.MultiCategoryBlock),
                 get_y=lambda file: [file.parent.name]).dataloaders(sorted(root.rglob("*.png")), bs=4, num_workers=0)
    return learner(fastai, made, fastai.BCEWithLogitsLossFlat())

def a_number(fastai, root):
    made = block(fastai, blocks=(fastai.ImageBlock, fastai.RegressionBlock),
                 get_y=lambda file: 1.).dataloaders(sorted(root.rglob("*.png")), bs=4, num_workers=0)
    return learner(fastai, made, fastai.MSELossFlat(), 1)

@pytest.mark.parametrize("make", [several_labels, a_number])
def test_a_learner_of_another_kind(fastai, root, make):
    with pytest.raises(CourseError, match="one class for each picture"): Cleaner(make(fastai, root))


def test_a_learner_with_a_broken_picture(fastai, root):
    made = block(fastai).dataloaders(sorted(root.rglob("*.png")), bs=4, num_workers=0)
    learn = learner(fastai, made)
    (root/"black"/"same.png").write_bytes(b"no picture")
    with pytest.raises(CourseError, match="check_images"): Cleaner(learn)

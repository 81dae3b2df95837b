"Folders of apps: whole or not there, and made again without losing what their owners did"
import hashlib
import json
import os

import pytest

from course_lib.apps.folder import MARK, app_folder, known_files
from course_lib.base.env import CourseError

FIRST = {"app.py": "one", "pages/index.html": "first page", "pages/old/1.txt": "old", "model": "the model"}
SECOND = {"app.py": "two", "pages/index.html": "second page", "pages/new/1.txt": "new", "model": "the model"}


def make(dest, files, kind="web"):
    "Make an app of some files"
    with app_folder(dest, kind) as folder:
        for name, text in files.items():
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            (folder/name).write_text(text)
    return dest


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def without_mark(folder): return {name: text for name, text in contents(folder).items() if name != MARK}


@pytest.fixture
def app(tmp_path): return make(tmp_path/"app", FIRST)


def test_every_file_is_listed_with_its_hash(app):
    listed = json.loads((app/MARK).read_text())
    assert listed == {"kind": "web",
                      "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FIRST.items()}}
    assert known_files(app) == listed["files"]


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_an_app_appears_when_it_is_complete(tmp_path, there):
    dest = tmp_path/"app"
    if there == "an empty folder": dest.mkdir()
    with app_folder(dest, "web") as folder:
        (folder/"app.py").write_text("one")
        assert not dest.exists() or not any(dest.iterdir())
    assert without_mark(dest) == {"app.py": "one"} and [path.name for path in tmp_path.iterdir()] == ["app"]


@pytest.mark.parametrize("earlier", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, earlier):
    if earlier: make(tmp_path/"app", FIRST)
    before = contents(tmp_path)
    with pytest.raises(ValueError), app_folder(tmp_path/"app", "web") as folder:
        (folder/"app.py").write_text("half")
        raise ValueError
    assert contents(tmp_path) == before and (tmp_path/"app").exists() == earlier


def test_an_update_replaces_adds_and_removes_ours_and_leaves_the_rest(app):
    (app/"notes.txt").write_text("mine")
    (app/".git").mkdir()
    (app/".git"/"HEAD").write_text("ref: refs/heads/main")
    make(app, SECOND)
    assert without_mark(app) == SECOND | {"notes.txt": "mine", ".git/HEAD": "ref: refs/heads/main"}
    assert not (app/"pages"/"old").exists(), "a folder that is empty without our file goes too"
    make(app, FIRST)
    assert without_mark(app) == FIRST | {"notes.txt": "mine", ".git/HEAD": "ref: refs/heads/main"}


def test_a_folder_with_something_of_the_owners_stays(app):
    (app/"pages"/"old"/"mine.txt").write_text("mine")
    make(app, SECOND)
    assert [path.name for path in (app/"pages"/"old").iterdir()] == ["mine.txt"]


def test_what_is_already_right_is_not_written_again(app):
    state = lambda: {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in app.rglob("*")}
    before = state()
    make(app, FIRST)
    assert state() == before
    make(app, SECOND)
    assert state()[app/"model"] == before[app/"model"] and state()[app/"app.py"] != before[app/"app.py"]


def test_a_file_that_was_deleted_is_made_anew(app):
    (app/"app.py").unlink()
    make(app, FIRST)
    assert (app/"app.py").read_text() == "one"


def change(path, text): path.write_text(text)


def to_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()
    (path/"inside.txt").write_text("mine")


def to_file(path):
    for file in path.iterdir(): file.unlink()
    path.rmdir()
    path.write_text("mine")


def to_dead_link(path):
    path.unlink()
    path.symlink_to(path.parent/"somewhere")


@pytest.mark.parametrize("name, made, named", [
    ("app.py", lambda path: change(path, "mine"), "app.py"),                   # ours, changed
    ("app.py", lambda path: change(path, ""), "app.py"),
    ("pages/old/1.txt", lambda path: change(path, "mine"),
     "pages/old/1.txt"), # ours, changed, and not part of the new app
    ("pages/new", to_folder, None),                                            # theirs, beside what is to be written
    ("pages/new", lambda path: change(path, "mine"), "pages/new"),             # theirs, where a folder is wanted
    ("app.py", to_folder, "app.py"), ("pages/old", to_file, None),
    pytest.param("app.py", to_dead_link, "app.py",
                 marks=pytest.mark.skipif(os.name == "nt", reason="links need a permission on Windows")),
])
def test_what_the_owner_changed_is_named_and_nothing_is_touched(app, name, made, named):
    made(app/name)
    before = contents(app)
    if named is None:
        make(app, SECOND)
        assert {file: text for file, text in before.items() if text == "mine"}.items() <= contents(app).items()
    else:
        with pytest.raises(CourseError, match=rf"no longer as they were made: {named}\. Move them away"):
            make(app, SECOND)
        assert contents(app) == before and os.path.lexists(app/name)


def test_a_file_of_the_owner_in_the_place_of_a_new_one_is_kept(app):
    (app/"pages"/"new").mkdir()
    (app/"pages"/"new"/"1.txt").write_text("mine")
    with pytest.raises(CourseError, match=r"pages/new/1\.txt"): make(app, SECOND)
    assert without_mark(app) == FIRST | {"pages/new/1.txt": "mine"}


@pytest.mark.parametrize("mark",
                         [None, '{"expo": {"name": "theirs"}}', "[]", '"files"', "{", "", '{"files": ["app.py"]}',
                          '{"files": {"app.py": 3}}',
                                  '{"files": {"/etc/hosts": "0f"}}', '{"files": {"": "0f"}}'])
def test_a_folder_of_somebody_else_is_refused(tmp_path, mark):
    (tmp_path/"theirs").mkdir()
    (tmp_path/"theirs"/"app.py").write_text("long work")
    if mark is not None: (tmp_path/"theirs"/MARK).write_text(mark)
    before = contents(tmp_path)
    with pytest.raises(CourseError, match=r"is no app of this course \(it.* Choose another folder, or move it away"):
        make(tmp_path/"theirs", FIRST)
    assert contents(tmp_path) == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path/"app").write_text("long work")
    with pytest.raises(CourseError, match="is no app of this course"): make(tmp_path/"app", FIRST)
    assert (tmp_path/"app").read_text() == "long work"


def test_a_list_from_a_stranger_reaches_no_file_outside(app, tmp_path):
    (tmp_path/"victim.txt").write_text("known content")
    sha256 = hashlib.sha256(b"known content").hexdigest()
    (app/MARK).write_text(json.dumps({"kind": "web", "files": {"../victim.txt": sha256}}))
    with pytest.raises(CourseError, match="is no app of this course"): make(app, SECOND)
    assert (tmp_path/"victim.txt").read_text() == "known content"


@pytest.mark.parametrize("steps", range(5))
def test_an_update_killed_at_any_point_goes_on_when_it_is_repeated(app, steps, monkeypatch):
    (app/"notes.txt").write_text("mine")
    done = []
    def counted(work):
        def step(*args, **options):
            if len(done) == steps: raise KeyboardInterrupt
            done.append(args)
            return work(*args, **options)
        return step
    with monkeypatch.context() as broken: # it replaces three files, removes one, and replaces the list
        for owner, name in ((os, "replace"), (type(app), "unlink")):
            broken.setattr(owner, name, counted(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt): make(app, SECOND)
    found = without_mark(app)
    assert found.pop("notes.txt") == "mine" and all(text in (FIRST.get(name), SECOND.get(name)) for name,
                                                    text in found.items())
    assert json.loads((app/MARK).read_text())["files"].keys() == FIRST.keys(), "until the end it counts as the old app"
    make(app, SECOND)
    assert without_mark(app) == SECOND | {"notes.txt": "mine"} and known_files(app).keys() == SECOND.keys()
    assert [path.name for path in app.parent.iterdir()] == ["app"]

"Folders that take each other's place, whatever happens in between"
import errno
import os
import shutil

import pytest
from killing import every_step

from course_lib.base.files import old_folder, replace_folder, restore_folder, staging_folder


def put(dest, text):
    "Replace a folder by one of two files with this text"
    with staging_folder(dest) as work:
        (work/"new").mkdir()
        for name in ("one", "two"): (work/"new"/name).write_text(text)
        replace_folder(work/"new", dest)


def text_of(folder):
    "The text of both files; where they differ or one is missing, the folder is not whole"
    one, two = (folder/name for name in ("one", "two"))
    assert one.read_text() == two.read_text()
    return one.read_text()


def start_with(dest, text):
    "Nothing but a folder with this text, or nothing at all"
    shutil.rmtree(dest.parent, ignore_errors=True)
    dest.parent.mkdir()
    if text: put(dest, text)


@pytest.mark.parametrize("old", ["old", None])
def test_killed_at_any_moment_one_of_the_two_is_whole_and_the_next_call_goes_on(tmp_path, monkeypatch, old):
    dest, found = tmp_path/"place"/"pets", []
    def look():
        there = [folder for folder in (dest, old_folder(dest)) if folder.exists()]
        found.append([text_of(folder) for folder in there])
        restore_folder(dest)
        assert not dest.exists() if found[-1] == [] else text_of(dest) == found[-1][0]
        put(dest, "newer")
        assert text_of(dest) == "newer" and os.listdir(dest.parent) == [dest.name]
    steps = every_step(monkeypatch, lambda: put(dest, "new"), lambda: start_with(dest, old), look)
    assert steps >= (8 if old else 5) and found[0] == ([old] if old else []) and found[-1] == ["new"]
    assert [] not in found if old else ["new"] in found
    assert not old or ["new", "old"] in found # killed when the new one had its place


def test_killed_twice_in_a_row_nothing_is_lost(tmp_path, monkeypatch):
    dest, found = tmp_path/"place"/"pets", set()
    def killed_before():
        start_with(dest, "old")
        os.replace(dest, old_folder(dest))
    def look():
        restore_folder(dest)
        found.add(text_of(dest))
        put(dest, "newer")
        assert text_of(dest) == "newer" and os.listdir(dest.parent) == [dest.name]
    every_step(monkeypatch, lambda: put(dest, "new"), killed_before, look)
    assert found == {"old", "new"}


@pytest.mark.parametrize("at", range(3))
def test_an_error_of_the_disk_leaves_a_whole_folder(tmp_path, monkeypatch, at):
    put(tmp_path/"pets", "old")
    replace, asked = os.replace, []
    def broken(source, target):
        asked.append(target)
        if len(asked) == at + 1: raise OSError(errno.EIO, "Input/output error")
        replace(source, target)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", broken)
        with pytest.raises(OSError, match="Input/output"): put(tmp_path/"pets", "new")
    assert text_of(tmp_path/"pets") == ("new" if at == 2 else "old")
    put(tmp_path/"pets", "newer")
    assert text_of(tmp_path/"pets") == "newer" and os.listdir(tmp_path) == ["pets"]


def test_what_stands_in_the_place_is_never_taken_for_what_was_lost(tmp_path):
    put(tmp_path/"pets", "mine")
    old_folder(tmp_path/"pets").mkdir()
    restore_folder(tmp_path/"pets")
    assert text_of(tmp_path/"pets") == "mine"

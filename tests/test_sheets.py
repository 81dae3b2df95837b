"Sheets: workbooks are written whole or not at all, and calculated by a LibreOffice that may be missing, fail or hang"
import errno
import os
import shutil
import time

import numpy as np
import pytest
from course_lib.base.env import CourseError
from course_lib.tables import sheets
from course_lib.tables.sheets import name_cells, new_book, put, read_values, recalculate, save_book
from openpyxl import load_workbook

FOUND = shutil.which("soffice") or shutil.which("libreoffice")
office = pytest.mark.skipif(not FOUND, reason="LibreOffice is not installed")


@pytest.fixture
def book():
    "A workbook with a number and a formula, both named"
    book = new_book("tests")
    put(book.create_sheet("one"), "A1", [2, "=A1*1.5"])
    name_cells(book, given="one!A1", computed="one!B1")
    return book


@pytest.fixture
def written(book, tmp_path): return save_book(book, tmp_path/"small.xlsx")


# Writing

@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC, errno.EIO, errno.ETXTBSY])
def test_a_disk_that_refuses_leaves_the_old_workbook(book, written, tmp_path, monkeypatch, code):
    "On Windows a workbook that is open in Excel may not be replaced, and `os.replace` says so with EACCES"
    before = written.read_bytes()
    def refuse(source, dest): raise OSError(code, os.strerror(code))
    monkeypatch.setattr(os, "replace", refuse)
    words = f"small.xlsx cannot be written: {os.strerror(code)}. Close it if a program has it open"
    with pytest.raises(CourseError, match=words): save_book(book, written)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_numbers_of_numpy_are_numbers_of_the_file(book, tmp_path):
    put(book["one"], "A2", np.array([1.5, 2]), "input", "0.0")
    row = load_workbook(save_book(book, tmp_path/"numbers.xlsx"))["one"][2]
    assert [(cell.value, cell.data_type, cell.style, cell.number_format) for cell in row] == \
        [(1.5, "n", "course input", "0.0"), (2, "n", "course input", "0.0")]


# Calculating

@office
def test_a_calculated_copy_and_the_workbook_itself(written, tmp_path):
    for dest in (tmp_path/"copy.xlsx", written):
        assert read_values(recalculate(written, dest)) == {"given": 2, "computed": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.xlsx", "small.xlsx"]


@pytest.fixture
def fake_office(tmp_path, monkeypatch):
    "Put a shell script in LibreOffice's place"
    if os.name != "posix": pytest.skip("needs a shell")
    def install(script):
        (tmp_path/"bin").mkdir()
        program = tmp_path/"bin"/"soffice"
        program.write_text(f"#!/bin/sh\n{script}\n"); program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return install


def test_no_libreoffice(written, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets.shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="Install LibreOffice"): recalculate(written, tmp_path/"new.xlsx")


def test_libreoffice_that_fails(written, tmp_path, fake_office):
    fake_office("echo 'source file could not be loaded'; exit 1")
    with pytest.raises(CourseError, match="did not calculate small.xlsx: source file could not be loaded"):
        recalculate(written, tmp_path/"new.xlsx")


@pytest.mark.timing
def test_libreoffice_that_hangs_is_ended_with_its_children(written, tmp_path, fake_office):
    fake_office(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    began = time.monotonic()
    with pytest.raises(CourseError, match="did not finish small.xlsx within 1 s"):
        recalculate(written, tmp_path/"new.xlsx", timeout=1)
    assert time.monotonic() - began < 20
    child = int((tmp_path/"child").read_text())
    for _ in range(100):
        if not running(child): break
        time.sleep(0.05)
    assert not running(child)


def running(pid):
    "Whether a process is alive; one that nobody has waited for is not"
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    status = f"/proc/{pid}/stat"
    return not (os.path.exists(status) and open(status).read().rsplit(")", 1)[1].split()[0] == "Z")


@pytest.mark.parametrize("content, words", [(None, "There is no workbook"), (b"not a workbook", "is not a workbook")])
def test_sources_that_are_no_workbook(content, words, tmp_path):
    if content: (tmp_path/"a.xlsx").write_bytes(content)
    with pytest.raises(CourseError, match=words): recalculate(tmp_path/"a.xlsx", tmp_path/"b.xlsx")
    with pytest.raises(CourseError, match="cannot be read as a workbook"): read_values(tmp_path/"a.xlsx")


def test_values_that_were_never_calculated(written):
    with pytest.raises(CourseError, match="has not been calculated yet"): read_values(written)


@office
def test_errors_in_cells_are_named(book, tmp_path):
    book["one"]["B1"] = "=1/0"
    broken = save_book(book, tmp_path/"broken.xlsx")
    with pytest.raises(CourseError, match="computed in broken.xlsx shows #DIV/0!"):
        read_values(recalculate(broken, broken))

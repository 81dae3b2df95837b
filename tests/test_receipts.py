"Receipts that were damaged, forged or cut off, and sets whose files have changed since"
import gzip
import hashlib
import json
import os

import pytest
from conftest import manifest, tgz
from killing import every_step

from course_lib.base.env import CourseError
from course_lib.base.places import downloads_folder, receipts_folder
from course_lib.data import get, receipts
from course_lib.data.get import data_table, get_data, remove_data
from course_lib.data.receipts import provenance, read_receipt, receipt_paths, seen_path, verify_data
from course_lib.data.sets import data_path

ADULT = tgz([("adult_sample/adult.csv", b"age,salary\n49,>=50k\n"), ("adult_sample/more/names.txt", b"age")])
FILES = {"adult_sample.tgz": ADULT,
         "manifest.json": manifest({"ADULT_SAMPLE": ("adult_sample.tgz", ADULT, "adult_sample/")})}


@pytest.fixture
def mirror(home, serve, monkeypatch):
    server = serve(dict(FILES))
    monkeypatch.setenv("COURSE_DATA_MIRROR", server.url)
    return server


@pytest.fixture
def here(mirror): return get_data("adult_sample")


def here_now(): return next(row["here"] for row in data_table() if row["name"] == "adult_sample")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"name": "adult_sample"}', b"\xff", b"["*10**5])
def test_a_damaged_receipt_gets_words_and_can_be_removed(here, content):
    receipt_paths("adult_sample")[0].write_bytes(content)
    for ask in (get_data, verify_data, provenance):
        with pytest.raises(CourseError, match="receipt of .adult_sample. cannot be used.*course data rm adult_sample"):
            ask("adult_sample")
    assert here_now() == "damaged receipt"
    remove_data("adult_sample")
    assert get_data("adult_sample").is_dir() and verify_data("adult_sample").ok and here_now() == "mirror"


LISTS = {"empty": b"", "nothing packed": gzip.compress(b""), "another": gzip.compress(b"0  adult.csv\n"),
         "no gzip": b"no gzip", "gone": None, "cut off": gzip.compress(b"x"*1000)[:-9]}

@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS)
def test_a_list_that_is_not_the_one_of_the_receipt(here, content):
    listing = receipt_paths("adult_sample")[1]
    if content is None: listing.unlink()
    else: listing.write_bytes(content)
    with pytest.raises(CourseError, match="its list of files is"): verify_data("adult_sample")


def test_a_file_that_is_gone_or_changed_is_not_handed_out(here):
    (here/"adult.csv").write_text("age,salary\n49,< 50k\n") # as long as before
    with pytest.raises(CourseError, match="DAMAGED.*1 changed.*adult.csv.*data rm"): get_data("adult_sample")
    remove_data("adult_sample"); get_data("adult_sample")
    (here/"more"/"names.txt").unlink()
    with pytest.raises(CourseError, match="DAMAGED.*1 missing.*more/names.txt"): get_data("adult_sample")


def test_what_only_looks_changed_is_read_once_and_handed_out(here, monkeypatch):
    os.utime(here/"adult.csv", (1, 1)); (here/"models").mkdir(); (here/"models"/"mine.pth").write_text("mine")
    asked, verify = [], receipts.verify_data
    monkeypatch.setattr(receipts, "verify_data", lambda name: asked.append(name) or verify(name))
    for _ in range(2): assert get_data("adult_sample") == here
    assert asked == ["adult_sample"]


def test_a_set_of_an_earlier_version_is_read_once(here):
    seen_path("adult_sample").unlink()
    assert get_data("adult_sample") == here and seen_path("adult_sample").is_file()


def test_killed_at_any_moment_a_set_is_whole_and_has_its_receipt(mirror, home, monkeypatch):
    def clear():
        if data_path("adult_sample").exists(): remove_data("adult_sample")
    def look():
        if data_path("adult_sample").exists(): assert read_receipt("adult_sample") and verify_data("adult_sample").ok
        assert (get_data("adult_sample")/"adult.csv").is_file() and verify_data("adult_sample").ok
        left = [path.name for path in home.glob(".adult*")] + [path.name for path in downloads_folder().glob("*")]
        assert left == []
    assert every_step(monkeypatch, lambda: get_data("adult_sample"), clear, look) >= 10


@pytest.mark.parametrize("error", [KeyboardInterrupt, CourseError("too little space")])
def test_a_download_that_has_arrived_is_kept(mirror, monkeypatch, error):
    def stop(*args): raise error
    with monkeypatch.context() as patched:
        patched.setattr(get, "unpack", stop)
        with pytest.raises(type(error) if isinstance(error, Exception) else error): get_data("adult_sample")
    assert (downloads_folder()/"adult_sample.tgz").read_bytes() == ADULT
    asked = len(mirror.asked)
    get_data("adult_sample")
    assert [name for name, _ in mirror.asked[asked:]] == ["manifest.json"]
    assert list(downloads_folder().iterdir()) == []


def test_a_damaged_archive_is_not_kept(mirror):
    mirror.files["adult_sample.tgz"] = damaged = ADULT[:-20] + b"x"*20
    mirror.files["manifest.json"] = manifest({"ADULT_SAMPLE": ("adult_sample.tgz", damaged, "adult_sample/")})
    with pytest.raises(CourseError, match="cannot be unpacked"): get_data("adult_sample")
    assert not data_path("adult_sample").exists() and list(downloads_folder().iterdir()) == []


def test_a_link_that_leads_nowhere_can_be_removed(mirror, home):
    home.mkdir(parents=True, exist_ok=True)
    data_path("adult_sample").symlink_to(home/"gone")
    with pytest.raises(CourseError, match="is a link that leads nowhere"): get_data("adult_sample")
    remove_data("adult_sample")
    assert get_data("adult_sample").is_dir()


def test_the_receipt_says_what_the_list_is(here):
    files = gzip.decompress(receipt_paths("adult_sample")[1].read_bytes())
    receipt = json.loads(receipt_paths("adult_sample")[0].read_text())
    assert receipt["tree_sha256"] == hashlib.sha256(files).hexdigest() and receipts_folder().is_dir()

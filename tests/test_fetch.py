"Faults of networks, disks and archives, one by one"
import errno
import gzip
import hashlib
import io
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from types import SimpleNamespace

import pytest
from conftest import tgz
from hypothesis import given, settings, strategies as st

from course_lib.base import files, web
from course_lib.data import fetch
from course_lib.base.env import CourseError
from course_lib.data.fetch import BadArchive, Expected, Part, StoppedDownload, download, unpack
from course_lib.base.web import reachable, with_timeout
from course_lib.base.files import safe_path

CONTENT = bytes(range(256)) * 2**10 # 256 KiB, four pieces of the server
FULL, RO = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system")
pytestmark = pytest.mark.usefixtures("home")


def expected(content=CONTENT, **more):
    return Expected(len(content), **({"sha256": hashlib.sha256(content).hexdigest()} | more), by="the test")

def get(server, dest, **more):
    return download(f"{server.url}/f", dest, more.pop("expected", expected()), **({"tries": 2, "pause": 0} | more))


# Downloads

def test_download_leaves_only_the_file(serve, tmp_path):
    server = serve({"f": CONTENT})
    assert get(server, tmp_path/"new"/"f") == hashlib.sha256(CONTENT).hexdigest()
    assert [p.name for p in (tmp_path/"new").iterdir()] == ["f"]
    assert (tmp_path/"new"/"f").read_bytes() == CONTENT


def test_interrupted_download_goes_on(serve, tmp_path):
    server = serve({"f": CONTENT}); server.most = [2**16, 2**16]
    with pytest.raises(StoppedDownload, match="0.1 MiB of 0.2 MiB have arrived; run this again"):
        get(server, tmp_path/"f")
    assert not (tmp_path/"f").exists()
    get(server, tmp_path/"f")
    assert [asked for _, asked in server.asked] == [None, "bytes=65536-", "bytes=131072-"]
    assert (tmp_path/"f").read_bytes() == CONTENT


def test_server_that_ignores_range(serve, tmp_path, capsys):
    server = serve({"f": CONTENT}); server.most, server.ranges = [2**16], False
    get(server, tmp_path/"f")
    assert [asked for _, asked in server.asked] == [None, "bytes=65536-"]
    assert (tmp_path/"f").read_bytes() == CONTENT
    assert "f: this server cannot go on where it stopped; it starts anew" in capsys.readouterr().out


@pytest.mark.parametrize("mark", ["", 'W/"v1"'], ids=["no mark", "weak mark"])
def test_without_a_strong_mark_it_starts_over(serve, tmp_path, mark):
    server = serve({"f": CONTENT}); server.most, server.etag = [2**16]*2, mark
    with pytest.raises(StoppedDownload, match="this server cannot go on; it starts anew"):
        get(server, tmp_path/"f", tries=1)
    get(server, tmp_path/"f")
    assert [asked for _, asked in server.asked] == [None, None, None]
    assert (tmp_path/"f").read_bytes() == CONTENT


def test_file_changed_between_attempts(serve, tmp_path):
    server, changed = serve({"f": CONTENT}), CONTENT[::-1]
    server.most = [2**16]
    with pytest.raises(StoppedDownload): get(server, tmp_path/"f", tries=1)
    server.files["f"], server.etag = changed, '"v2"'
    get(server, tmp_path/"f", expected=expected(changed))
    assert server.asked[-1] == ("f", "bytes=65536-") # it asked for the rest, and got the new file
    assert (tmp_path/"f").read_bytes() == changed


@pytest.mark.parametrize("mark", ['"v0"', '"v1"'], ids=["of another file", "of this file"])
def test_part_that_is_too_long_for_the_server(serve, tmp_path, mark):
    server = serve({"f": CONTENT})
    part = Part(tmp_path/"f")
    part.path.write_bytes(CONTENT + b"more"); part.mark_path.write_text(mark, encoding="utf-8")
    get(server, tmp_path/"f")
    assert (tmp_path/"f").read_bytes() == CONTENT


def test_complete_part_is_not_downloaded_again(serve, tmp_path):
    server = serve({"f": CONTENT})
    Part(tmp_path/"f").path.write_bytes(CONTENT)
    get(server, tmp_path/"f")
    assert server.asked == []


def test_compressing_server(serve, tmp_path):
    server = serve({"f": tgz([("a/b", b"x")])}); server.headers = {"Content-Encoding": "x-gzip"}
    get(server, tmp_path/"f", expected=expected(server.files["f"]))
    assert (tmp_path/"f").read_bytes() == server.files["f"]


@pytest.mark.timing
def test_slow_server_may_take_longer_than_the_time_out(serve, tmp_path):
    server = serve({"f": CONTENT}); server.delay = 0.4
    start = time.monotonic()
    get(server, tmp_path/"f", tries=1, timeouts=(10, 1))
    assert time.monotonic() - start > 1
    assert (tmp_path/"f").read_bytes() == CONTENT


@pytest.mark.timing
def test_silent_server(serve, tmp_path):
    server = serve({"f": CONTENT}); server.silent = True
    start = time.monotonic()
    with pytest.raises(StoppedDownload, match="fell silent"): get(server, tmp_path/"f", timeouts=(10, 0.2))
    assert time.monotonic() - start < 30


WRONG = {
    "truncated, and stated so": (CONTENT[:-1], expected(), "offers 262,143 bytes; the test says 262,144"),
    "other size": (CONTENT + b"x", expected(), "a proxy or log-in page"),
    "other content": (CONTENT[::-1], expected(), "SHA-256.*came from .* and was deleted"),
    "other start": (b"x" + CONTENT[1:], expected(sha256="", md5_start=hashlib.md5(CONTENT).hexdigest()),
                    "MD5 of the first MiB"),
}

@pytest.mark.parametrize(("content", "stated", "words"), WRONG.values(), ids=WRONG)
def test_wrong_file_is_deleted_and_named(serve, tmp_path, content, stated, words):
    server = serve({"f": content})
    with pytest.raises(CourseError, match=words) as caught: get(server, tmp_path/"f", expected=stated)
    assert "f" in str(caught.value) and list(tmp_path.glob("f*")) == []


def test_endless_body_is_stopped(serve, tmp_path, monkeypatch):
    server = serve({"f": CONTENT * 4})
    monkeypatch.setattr(fetch, "body_start", lambda *args: 0) # as if no length had been stated
    with pytest.raises(CourseError, match="sends more than the 262,144 bytes"): get(server, tmp_path/"f")
    assert list(tmp_path.glob("f*")) == []


@pytest.mark.parametrize(("status", "error", "requests"),
                         [(404, "not there any more", 1), (403, "not for everybody", 1), (503, "answered 503", 2)])
def test_error_pages(serve, tmp_path, status, error, requests):
    server = serve({"f": CONTENT}); server.status = status
    with pytest.raises(CourseError, match=error): get(server, tmp_path/"f")
    assert len(server.asked) == requests # a passing fault is tried again, a final one is not


@pytest.mark.parametrize("url", ["ftp://example.org/f", "file:///etc/passwd", "f", "s3://bucket/f"])
def test_only_the_web(url, tmp_path):
    with pytest.raises(CourseError, match="Only http and https"): download(url, tmp_path/"f", expected())


def test_messages_hide_passwords(tmp_path):
    with pytest.raises(CourseError) as caught:
        download("http://ann:secret@127.0.0.1:9/f?key=secret", tmp_path/"f", expected(), tries=1)
    assert "secret" not in str(caught.value) and "127.0.0.1:9/f" in str(caught.value)


# Disks. Root may write anywhere, so the errors are injected.

class FullFile(io.BytesIO):
    def write(self, data): raise FULL

def failing(error, only):
    "An `open` that fails with `error` when a file is opened in the mode `only`"
    def opener(path, mode="r", *args, **more):
        if mode != only: return open(path, mode, *args, **more)
        if error is FULL: return FullFile()
        raise error
    return opener

@pytest.mark.parametrize(("error", "words"), [(FULL, "is full"), (RO, "may not be written")], ids=["full", "read-only"])
def test_disk_fails_while_downloading(serve, tmp_path, monkeypatch, error, words):
    server = serve({"f": CONTENT})
    monkeypatch.setattr(fetch, "open", failing(error, "ab"), raising=False)
    with pytest.raises(CourseError, match=words): get(server, tmp_path/"f")
    assert list(tmp_path.glob("f*")) == []


@pytest.mark.parametrize(("error", "words"), [(FULL, "is full"), (RO, "may not be written")], ids=["full", "read-only"])
@pytest.mark.parametrize("step", ["write", "mkdtemp", "rename"])
def test_disk_fails_while_unpacking(tmp_path, monkeypatch, error, words, step):
    def fail(*args, **more): raise error
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/1", b"one"), ("set/2", b"two")]))
    if step == "write": monkeypatch.setattr(fetch, "open", failing(error, "xb"), raising=False)
    if step == "mkdtemp": monkeypatch.setattr(files.tempfile, "mkdtemp", fail)
    if step == "rename": monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(CourseError, match=words): unpack(archive, tmp_path/"data"/"set")
    assert list((tmp_path/"data").iterdir()) == []


def test_space_is_checked_before_anything_is_sent(serve, tmp_path, monkeypatch):
    server = serve({"f": CONTENT})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(CourseError, match="1,000 bytes free, and 0.2 MiB are needed"): get(server, tmp_path/"f")
    assert server.asked == [] and list(tmp_path.glob("f*")) == []


def test_other_errors_pass_through():
    with pytest.raises(OSError) as caught, files.disk_errors("folder"): raise OSError(errno.EIO, "broken disk")
    assert not isinstance(caught.value, CourseError)


# Archives

HOSTILE = {
    "climbs": ([("set/../../evil", b"x")], "leads out of its folder"),
    "climbs as a folder": ([("../evil/", b"", {"type": tarfile.DIRTYPE})], "leads out of its folder"),
    "absolute": ([("/evil", b"x")], "leads out of its folder"),
    "backslash": ([("set/..\\evil", b"x")], "leads out of its folder"),
    "drive": ([("C:/evil", b"x")], "leads out of its folder"),
    "symlink": ([("set/l", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"})], "link or a device"),
    "hardlink": ([("set/l", b"", {"type": tarfile.LNKTYPE, "linkname": "../../x"})], "link or a device"),
    "symlink as top": ([("set", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"}), ("set/a", b"x")],
                       "link or a device"),
    "character device": ([("set/d", b"", {"type": tarfile.CHRTYPE})], "link or a device"),
    "block device": ([("set/d", b"", {"type": tarfile.BLKTYPE})], "link or a device"),
    "fifo": ([("set/d", b"", {"type": tarfile.FIFOTYPE})], "link or a device"),
    "bomb": ([("set/zeros", bytes(40*2**20))], "more than 100 times its size"),
    "other top": ([("other/a", b"x")], "outside of the folder 'set'"),
    "two tops": ([("set/a", b"x"), ("other/a", b"x")], "outside of the folder 'set'"),
    "file beside the top": ([("set/a", b"x"), ("readme", b"x")], "outside of the folder 'set'"),
    "one name twice": ([("set/a", b"x"), ("set/a", b"y")], "cannot be unpacked"),
    "file as folder": ([("set/a", b"x"), ("set/a/b", b"y")], "cannot be unpacked"),
    "a name too long": ([("set/" + "x"*256, b"x")], "a name of more than 255 bytes"),
    "a folder too long": ([("set/" + "ä"*128 + "/a", b"x")], "a name of more than 255 bytes"),
    "a name of two lines": ([("set/a\nb", b"x")], "is no name of a file"),
    "a name that is no text": ([("set/a\udcff", b"x")], "is no name of a file"),
    "empty": ([], "holds 0 files"),
}

@pytest.mark.parametrize(("members", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archive_leaves_nothing(tmp_path, members, words):
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/good", b"x"), *members] if members else []))
    with pytest.raises(CourseError, match=words) as caught: unpack(archive, tmp_path/"deep"/"data"/"set")
    assert "a.tgz" in str(caught.value)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["a.tgz", "deep", "deep/data"]


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_flipped_bit_anywhere_is_noticed(tmp_path, mode):
    "The checks of a publisher may end at the first MiB; those of the archive go to its end"
    content, archive = random.Random(1).randbytes(2**16), tmp_path/"a.tgz"
    with tarfile.open(archive, mode) as tar:
        for number in range(2):
            info = tarfile.TarInfo(f"set/{number}"); info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    good = archive.read_bytes()
    unpack(archive, tmp_path/"good"/"set")
    places, noticed = [*range(100, len(good), len(good)//20), len(good) - 6], 0
    for at in places:
        archive.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:])
        try: unpack(archive, tmp_path/"data"/"set")
        except BadArchive: noticed += 1; assert list((tmp_path/"data").iterdir()) == []; continue
        assert all((tmp_path/"data"/"set"/str(number)).read_bytes() == content for number in range(2))
        shutil.rmtree(tmp_path/"data")
    assert noticed >= len(places) - 2


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_an_archive_that_is_cut_off(tmp_path, mode, keep):
    archive = tmp_path/"a.tgz"
    with tarfile.open(archive, mode) as tar:
        for number in range(40):
            info = tarfile.TarInfo(f"set/{number}"); info.size = 2**12
            tar.addfile(info, io.BytesIO(random.Random(number).randbytes(2**12)))
    archive.write_bytes(archive.read_bytes()[:int(archive.stat().st_size * keep)])
    with pytest.raises(BadArchive): unpack(archive, tmp_path/"data"/"set", least=40)
    assert list((tmp_path/"data").iterdir()) == []


def test_much_behind_the_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MOST_REST", 2**20)
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/1", b"one")]))
    with gzip.open(archive, "ab") as more: more.write(bytes(2**22))
    with pytest.raises(BadArchive, match="more than 1.0 MiB lie behind its last file"):
        unpack(archive, tmp_path/"data"/"set")


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path):
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/1", b"one")]))
    (tmp_path/"set").symlink_to(tmp_path/"gone")
    with pytest.raises(CourseError, match="is a link that leads nowhere"): unpack(archive, tmp_path/"set")
    assert (tmp_path/"set").is_symlink()


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(st.data())
def test_damaged_archives_get_words(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    mode = data.draw(st.sampled_from(["w:gz", "w:xz", "w:bz2", "w", "zip"]))
    if mode == "zip": content = bytearray(zip_of([("set/1", b"one"*200), ("set/2", b"two")]))
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            for name in ("set/1", "set/2"):
                info = tarfile.TarInfo(name); info.size = 600
                tar.addfile(info, io.BytesIO(b"one"*200))
        content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 1200) - 1))] = data.draw(st.integers(0, 255))
    (folder/"a.tgz").write_bytes(content)
    try: unpack(folder/"a.tgz", folder/"data"/"set")
    except CourseError: assert list((folder/"data").iterdir()) == []
    assert {path.name for path in folder.iterdir()} == {"a.tgz", "data"}


def test_many_empty_files_are_a_bomb(monkeypatch, tmp_path):
    archive = tmp_path/"a.tgz"; archive.write_bytes(b"x"*100)
    entries = (fetch.Entry(f"set/{number}", 0, "file", None) for number in range(100_000))
    with pytest.raises(CourseError, match="more than 100 times"): fetch.check_entries(entries, "set", archive)


def zip_of(members, links=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members:
            info = zipfile.ZipInfo(name); info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFLNK if name in links else stat.S_IFREG) << 16
            zipped.writestr(info, content)
    return buffer.getvalue()

def test_zip_is_told_by_its_content(tmp_path):
    archive = tmp_path/"a.tgz"; archive.write_bytes(zip_of([("set/", b""), ("set/b/c", b"text")]))
    assert list(unpack(archive, tmp_path/"set")) == ["b/c"]
    assert (tmp_path/"set"/"b"/"c").read_bytes() == b"text"


@pytest.mark.parametrize(("content", "words"), [
    (zip_of([("set/../../evil", b"x")]), "leads out"), (zip_of([("/evil", b"x")]), "leads out"),
    (zip_of([("set/l", b"/etc")], links=["set/l"]), "link or a device"),
    (zip_of([("set/zeros", bytes(40*2**20))]), "100 times"),
    (zip_of([("set/a", b"x"*999)])[:60], "cut off or damaged")], ids=["climbs", "absolute", "symlink", "bomb", "cut"])
def test_hostile_zip_leaves_nothing(tmp_path, content, words):
    archive = tmp_path/"a.zip"; archive.write_bytes(content)
    with pytest.raises(CourseError, match=words): unpack(archive, tmp_path/"data"/"set")
    assert list((tmp_path/"data").iterdir()) == []


@pytest.mark.parametrize("keep", [0, 1, 20, 100, 3000])
def test_cut_archive(tmp_path, keep):
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/a", os.urandom(5000))])[:keep])
    with pytest.raises(CourseError, match="a.tgz cannot be unpacked"): unpack(archive, tmp_path/"data"/"set")
    assert list((tmp_path/"data").iterdir()) == []


def test_permissions_of_an_archive_are_not_taken_over(tmp_path):
    archive = tmp_path/"a.tgz"; archive.write_bytes(tgz([("set/a", b"x", {"mode": 0o6777})]))
    unpack(archive, tmp_path/"set")
    assert (tmp_path/"set"/"a").stat().st_mode & 0o6111 == 0


@pytest.mark.parametrize(("name", "safe"),
                         [("a/b", True), ("./a", True), ("a/./b", True), ("..", False), ("a/..", False), ("/", False),
                                            ("", False), (".", False), ("//a", False), ("c:a", False),
                                            ("\\\\host\\share", False)])
def test_safe_path(name, safe):
    assert (safe_path(name) is not None) == safe


# Networks

@pytest.mark.timing
def test_network_that_swallows_packets():
    "The connection is made and nothing is ever said: what a swallowing network looks like from here"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, start = f"http://127.0.0.1:{silent.getsockname()[1]}/f", time.monotonic()
        assert reachable(url, seconds=0.3) is False
        assert reachable(url, seconds=60) is False # remembered
        assert time.monotonic() - start < 30


@pytest.mark.timing
def test_name_lookup_that_hangs(monkeypatch):
    import requests
    released = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *args, **more: released.wait(60))
    start = time.monotonic()
    assert reachable("http://example.org", seconds=0.2) is False
    assert time.monotonic() - start < 30
    released.set()


def test_a_no_is_forgotten_and_a_yes_is_kept(serve, monkeypatch):
    server = serve({}); host = server.url.removeprefix("http://")
    monkeypatch.setitem(web._answers, host, (time.monotonic(), False))
    assert reachable(server.url) is False # though it answers
    monkeypatch.setitem(web._answers, host, (time.monotonic() - web.KEEP_NO, False))
    assert reachable(server.url) is True
    server.shutdown(); server.server_close()
    assert reachable(server.url) is True # no second look


@pytest.mark.timing
def test_exit_does_not_wait_for_a_hanging_question():
    code = ("import time; from course_lib.base.web import with_timeout\n"
            "try: with_timeout(.1, lambda: time.sleep(60))\n"
            "except TimeoutError: print('gave up')")
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "gave up\n" and time.monotonic() - start < 30


def test_within_hands_errors_on():
    with pytest.raises(KeyError): with_timeout(5, lambda: {}["missing"])

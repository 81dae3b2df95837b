"Picture servers with every fault, and addresses that must not be fetched"
import errno
import hashlib
import io
import json
import socket
import threading
import time

import misbehaving
import pytest
from misbehaving import bomb, photo
from PIL import Image

from course_lib.pictures import download
from course_lib.pictures.download import (
    INDEX, Limits, Refused, Web, checked_url, download_all, fetch, is_public, queues_by_host)
from course_lib.base.env import CourseError
from course_lib.pictures.search import ImageRecord

trouble = misbehaving.trouble # a fixture
QUICK = Limits(seconds=1, total_seconds=60, pause=0.01, longest_wait=0.5, timeouts=(20, 20), bytes=2**20, give_up=99)
TOO_LONG = 30 # Seconds: no server here lets anybody wait for less than twice as long
pytestmark = pytest.mark.usefixtures("home")


def get(trouble, names, dest, limits=QUICK, allow=True):
    return download_all([trouble.url(name) for name in names], dest, limits, [trouble.host] if allow else ())

def visible(dest): return sorted(path.name for path in dest.iterdir() if path.name not in (INDEX, ".downloads.lock"))

def name_of(content, suffix=".jpg"): return hashlib.sha256(content).hexdigest()[:16] + suffix


# What goes well

def test_photos_are_named_after_their_content(trouble, tmp_path):
    report = get(trouble, ["photo/1", "photo/2.gif", "chunked", "moved.jpg"], tmp_path/"new"/"robin")
    expected = [name_of(content) for content in map(photo, ("1", "2.gif", "chunked", "moved"))]
    assert [row.file for row in report.rows] == expected and visible(tmp_path/"new"/"robin") == sorted(expected)
    assert (report.files[0].read_bytes(), str(report)) == (photo("1"), "robin: 4 saved")


@pytest.mark.parametrize("kind, suffix", [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif"), ("WEBP", ".webp"),
                                          ("BMP", ".bmp"), ("MPO", ".jpg")])
def test_content_decides_about_the_suffix(trouble, tmp_path, kind, suffix):
    content = photo("kind", kind)
    if kind == "MPO":
        buffer, image = io.BytesIO(), Image.open(io.BytesIO(photo("kind")))
        image.save(buffer, "MPO", save_all=True, append_images=[image]); content = buffer.getvalue()
    trouble.say("picture.txt", (200, {"Content_Type": "text/html"}, content))
    [row] = get(trouble, ["picture.txt"], tmp_path).rows
    assert (row.status, row.file) == ("saved", name_of(content, suffix))


def test_duplicates(trouble, tmp_path):
    report = get(trouble, ["photo/one", "duplicate.jpg", "photo/one", "photo/two", "duplicate.jpg?again"], tmp_path)
    assert [row.status for row in report.rows] == ["saved", "duplicate", "duplicate", "saved", "duplicate"]
    assert len(visible(tmp_path)) == len(report.files) == 2
    assert trouble.asked.count("/photo/one") == 1 # one address is asked once


def test_records_keep_licence_and_creator(trouble, tmp_path):
    record = ImageRecord(trouble.url("photo/1"), "A robin", "https://example.org/1", "CC BY 4.0",
                         "https://example.org/by", "Ann", "openverse")
    table = download_all([record, trouble.url("empty.jpg")], tmp_path, QUICK, [trouble.host]).table()
    assert list(table) == ["file", "status", "why", "url", "title", "page", "licence", "licence_url", "creator",
                           "provider"]
    assert table.loc[0, ["title", "licence", "creator", "file"]].tolist() == ["A robin", "CC BY 4.0", "Ann",
        name_of(photo("1"))]


# What goes wrong on one address

FAULTS = {
    "forbidden": "refuses to give it to a program (403)", "missing": "does not have it any more (404)",
    "limited": "answered 429 (3 tries)",
    "limited-long": "answered 429 and asks to wait 3,600 s", "accepted": "answered 202 (3 tries)",
    "broken": "answered 500 (3 tries)",
    "html": "a web page came in place of a photo", "empty": "the file is empty", "text": "not a photo in JPEG",
    "bomb": "could fill the memory",
    "endless": "larger than 1.0 MiB", "length-enormous": "larger than 1.0 MiB", "slow-drip": "took longer than 1 s",
    "header-drip": "took longer than 1 s",
    "length-too-long": "broke off (3 tries)", "reset": "broke off (3 tries)", "loop": "redirected more than 5 times",
    "to-private": "10.0.0.1 is in a private network", "to-metadata": "169.254.169.254 is in a private network",
    "to-other-port": "127.0.0.1 is in a private network", "to-file": "only http and https",
    "to-password": "a user name or a password",
}

@pytest.mark.timing
@pytest.mark.parametrize("name, words", FAULTS.items(), ids=FAULTS)
def test_fault(trouble, tmp_path, name, words):
    start = time.monotonic()
    report = get(trouble, [f"{name}.jpg", "photo/1"], tmp_path)
    assert time.monotonic() - start < TOO_LONG
    assert [row.status for row in report.rows] == ["failed", "saved"] and words in report.rows[0].why
    assert visible(tmp_path) == [name_of(photo("1"))]
    tries = 3 if "3 tries" in words else 6 if name == "loop" else 1
    assert sum(path == f"/{name}.jpg" for path in trouble.asked) == tries


def test_connection_of_a_slow_answer_is_closed(trouble, tmp_path):
    get(trouble, ["slow-drip.jpg"], tmp_path)
    end = time.monotonic() + TOO_LONG
    while trouble.at_once and time.monotonic() < end: time.sleep(0.02)
    assert trouble.at_once == 0


@pytest.mark.parametrize("side", [11_000, 16_000]) # Pillow warns of the first and refuses the second
def test_bombs(trouble, tmp_path, side):
    trouble.say("bomb", (200, {}, bomb(side)))
    assert "could fill the memory" in get(trouble, ["bomb"], tmp_path).rows[0].why


@pytest.mark.timing
def test_silent_server(trouble, tmp_path):
    start = time.monotonic()
    report = get(trouble, ["silent.jpg"], tmp_path, Limits(pause=0.01, timeouts=(2, 0.1)))
    assert report.rows[0].why == "the server fell silent (3 tries)" and time.monotonic() - start < TOO_LONG


@pytest.mark.timing
def test_all_faults_at_once(trouble, tmp_path):
    names = [f"{name}.jpg" for name in FAULTS] + [f"photo/{number}" for number in range(9)]
    start = time.monotonic()
    report = get(trouble, names, tmp_path, Limits(seconds=3, pause=0.01, bytes=2**20, per_host=16, give_up=99))
    assert time.monotonic() - start < TOO_LONG
    assert {row.record.url for row in report.failed} == {trouble.url(f"{name}.jpg") for name in FAULTS}
    assert visible(tmp_path) == sorted(name_of(photo(str(number))) for number in range(9))
    assert len(repr(report).splitlines()) == 1 + len(FAULTS)


@pytest.mark.parametrize("name, content",
                         [("truncated", photo("cut")[:-1500]), ("length-too-short", photo("long")[:1500])])
def test_cut_pictures_pass_and_are_for_the_check_to_find(trouble, tmp_path, name, content):
    [file] = get(trouble, [f"{name}.jpg"], tmp_path).files
    assert file.read_bytes() == content
    with pytest.raises(OSError, match="truncated"): Image.open(file).load()


def test_wrong_suffix_is_put_right(trouble, tmp_path):
    [file] = get(trouble, ["wrong-extension.jpg"], tmp_path).files
    assert file.name == name_of(photo("wrong", "PNG"), ".png")


def test_the_bomb_is_one():
    assert len(bomb()) < 100_000
    with pytest.raises(Image.DecompressionBombError): Image.open(io.BytesIO(bomb()))


@pytest.mark.parametrize("refusal", [(429, {}), (429, {"Retry-After": "0"}), (202, {}), (503, {}), (500, {})], ids=str)
def test_refusal_then_photo(trouble, tmp_path, refusal):
    trouble.say("later.jpg", (*refusal, b""), (200, {}, photo("1")))
    assert str(get(trouble, ["later.jpg"], tmp_path)).endswith("1 saved") and len(trouble.asked) == 2


@pytest.mark.timing
def test_retry_after_is_respected(trouble, tmp_path):
    trouble.say("later.jpg", (429, {"Retry-After": "1"}, b""), (200, {}, photo("1")))
    start = time.monotonic()
    report = get(trouble, ["later.jpg"], tmp_path, Limits(pause=0.01, longest_wait=2))
    assert report.rows[0].status == "saved" and 1 <= time.monotonic() - start < TOO_LONG


def test_unsuitable_certificate(trouble, tmp_path):
    report = download_all([f"https://{trouble.host}/photo/1"], tmp_path, QUICK, [trouble.host])
    assert report.rows[0].status == "failed" and not visible(tmp_path) # plain http where TLS is expected


# Limits for all

@pytest.mark.parametrize("per_host, workers, most", [(1, 16, 1), (2, 16, 2), (16, 3, 3)])
def test_connections_to_one_server(trouble, tmp_path, per_host, workers, most):
    trouble.latency = 0.1
    report = get(trouble, [f"photo/{number}" for number in range(12)], tmp_path,
                 Limits(per_host=per_host, workers=workers))
    assert len(report.files) == 12 and trouble.most_at_once == most
    assert trouble.connections == 1 + most # the one that chose the number, and then the same few again and again


def test_redirects_of_others_count_as_well(trouble, tmp_path):
    trouble.latency = 0.1
    others = [misbehaving.Server() for _ in range(4)]
    for other in others:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        other.say("photo.jpg", (302, {"Location": trouble.url(f"photo/{other.server_port}")}, b""))
    try:
        report = download_all([other.url("photo.jpg") for other in others], tmp_path, QUICK,
                              [server.host for server in (trouble, *others)])
    finally:
        for other in others: other.shutdown(); other.server_close()
    assert len(report.files) == 4 and trouble.most_at_once == 2


@pytest.mark.timing
def test_a_slow_server_holds_up_no_other(trouble, tmp_path):
    slow = misbehaving.Server()
    threading.Thread(target=slow.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    urls = [slow.url(f"silent.jpg?{number}") for number in range(4)] + [trouble.url(f"photo/{number}")
        for number in range(8)]
    try: report = download_all(urls, tmp_path, Limits(workers=3, total_seconds=3), [slow.host, trouble.host])
    finally: slow.stop.set(); slow.shutdown(); slow.server_close()
    assert len(report.files) == 8 and "the 3 s for one call are used up" in report.failed[0].why


def test_total_bytes(trouble, tmp_path):
    report = get(trouble, [f"photo/{number}" for number in range(9)], tmp_path,
                 Limits(total_bytes=2 * len(photo("0")), workers=1))
    assert 2 <= len(report.files) <= 3 and all("for one call are used up" in row.why for row in report.failed)
    assert len(visible(tmp_path)) == len(report.files)


def test_server_that_keeps_failing_is_left_alone(trouble, tmp_path):
    report = get(trouble, [f"limited.jpg?{number}" for number in range(9)], tmp_path,
                 Limits(pause=0.01, give_up=3, per_host=1))
    assert [row.why.startswith("not tried, as 3 photos") for row in report.rows] == [False] * 3 + [True] * 6
    assert len(trouble.asked) == 9


def test_dead_server_is_asked_once(tmp_path, monkeypatch):
    calls = []
    def count(name, *_, **__): calls.append(name); raise socket.gaierror(socket.EAI_NONAME, "unknown")
    monkeypatch.setattr(socket, "getaddrinfo", count)
    report = download_all([f"http://dead.example/{number}.jpg" for number in range(9)], tmp_path, QUICK)
    assert calls == ["dead.example"] and {row.why for row in report.rows} == {"no address is known for dead.example"}


@pytest.mark.timing
def test_name_server_that_hangs(tmp_path, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(misbehaving.WAIT))
    start = time.monotonic()
    report = download_all(["http://slow.example/1.jpg"], tmp_path, Limits(timeouts=(0.2, 1)))
    assert "looking up slow.example took too long" in report.rows[0].why and time.monotonic() - start < TOO_LONG
    never.set()


@pytest.mark.parametrize("name, value", [("workers", 0), ("seconds", -1), ("timeouts", (5, 0)), ("bytes", None),
                                         ("total_seconds", float("nan"))])
def test_limits_must_be_positive(name, value):
    with pytest.raises(CourseError, match=f"limit {name} must be greater than 0"): Limits(**{name: value})


# Safety

BAD = ["file:///etc/passwd", "FILE:///etc/passwd", "ftp://example.org/a.jpg", "data:image/png;base64,AAAA",
       "javascript:alert(1)", "gopher://example.org", "a.jpg",
       "//example.org/a.jpg", "", "http://", "http:///a.jpg", "http://[::1", "http://a:99999/", "http://a:b/",
       "http://ann:secret@example.org/",
       "http://ann@example.org/", "http://.example.org/"]

@pytest.mark.parametrize("url", BAD)
def test_addresses_that_are_not_fetched(url):
    with pytest.raises(Refused): checked_url(url)


@pytest.mark.parametrize("url, expected", [
    ("http://example.org", "http://example.org/"), (" https://example.org/a b", "https://example.org/a%20b"),
    ("https://example.org/a%20b?x=1&y", "https://example.org/a%20b?x=1&y"),
    ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"), ("http://example.org:8080/a",
        "http://example.org:8080/a"), ("http://[2606:4700::1111]/a", "http://[2606:4700::1111]/a")])
def test_addresses_in_standard_form(url, expected): assert checked_url(url).geturl() == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1",
                                  "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
                                  "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "192.168.0.1",
                                  "172.31.255.255", "169.254.169.254", "100.64.0.1",
                                  "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[ff02::1]"])
def test_private_networks_are_refused(trouble, tmp_path, monkeypatch, host):
    def forbidden(*_, **__): pytest.fail("a connection was made")
    monkeypatch.setattr(socket, "create_connection", forbidden)
    [row] = download_all([f"http://{host}:{trouble.server_port}/photo/1"], tmp_path, QUICK).rows
    # not every system reads every form
    assert row.status == "failed" and ("private network" in row.why or "no address is known" in row.why)
    assert trouble.asked == []


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses(address): assert is_public(address)


def resolver(monkeypatch, *answers):
    "Let names lead to these numbers, look-up after look-up, the last for ever; the names looked up"
    real, asked, answers = socket.getaddrinfo, [], list(answers)
    def look_up(name, port, *rest, **more):
        if not name.endswith(".example"): return real(name, port, *rest, **more)
        asked.append(name)
        numbers = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in numbers]
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_name_that_leads_inside(trouble, tmp_path, monkeypatch):
    resolver(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    [row] = download_all([f"http://trick.example:{trouble.server_port}/photo/1"], tmp_path, QUICK).rows
    assert "trick.example is in a private network" in row.why and trouble.asked == []


def test_name_that_changes_its_mind(trouble, tmp_path, monkeypatch):
    "The connection goes to the number that was checked, whatever a second look-up would say"
    asked, connected = resolver(monkeypatch, ["8.8.8.8"], ["127.0.0.1"]), []
    def connect(address, *_, **__): connected.append(address); raise OSError("not from here")
    monkeypatch.setattr(socket, "create_connection", connect)
    [row] = download_all([f"http://rebind.example:{trouble.server_port}/photo/1"], tmp_path, QUICK).rows
    assert asked == ["rebind.example"] and connected == [
        ("8.8.8.8", trouble.server_port)] and row.status == "failed" and trouble.asked == []


def test_allowed_name_is_pinned_and_keeps_its_host_header(trouble, tmp_path, monkeypatch):
    asked, host = resolver(monkeypatch, ["127.0.0.1"], ["10.0.0.1"]), f"mirror.example:{trouble.server_port}"
    headers = []
    monkeypatch.setattr(misbehaving.Handler, "send", lambda self, content, *rest, _send=misbehaving.Handler.send,
                        **more:
                        (headers.append((self.headers["Host"], self.headers["User-Agent"])),
                         _send(self, content, *rest, **more)))
    report = download_all([f"http://{host}/photo/{number}" for number in range(5)], tmp_path, QUICK, [host.upper()])
    assert len(report.files) == 5 and asked == ["mirror.example"]
    assert {name for name, _ in headers} == {host} and headers[0][1].startswith("course-lib/")


def test_first_number_that_answers_is_taken(trouble, tmp_path, monkeypatch):
    resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    real, host = socket.create_connection, f"mirror.example:{trouble.server_port}"
    def connect(address, *rest, **more):
        if address[0] == "127.0.0.2": raise OSError("nothing listens there")
        return real(address, *rest, **more)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert len(download_all([f"http://{host}/photo/1"], tmp_path, QUICK, [host]).files) == 1


def test_allow_hosts_is_exact(trouble, tmp_path):
    for allowed in (f"127.0.0.1:{trouble.server_port - 1}", f"localhost:{trouble.server_port}",
                    f"0.0.0.0:{trouble.server_port}"):
        assert "private network" in download_all([trouble.url("photo/1")], tmp_path, QUICK, [allowed]).rows[0].why
    assert trouble.asked == []


def test_no_environment_variable_opens_the_door(trouble, tmp_path, monkeypatch):
    for name in ("ALLOW_HOSTS", "COURSE_ALLOW_HOSTS", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, trouble.url(""))
    assert get(trouble, ["photo/1"], tmp_path, allow=False).files == [] and trouble.asked == []


def test_long_redirects_within_the_limit(trouble):
    for number in range(5): trouble.say(f"hop{number}", (301, {"Location": f"/hop{number + 1}"}, b""))
    trouble.say("hop5", (200, {}, b"there"))
    assert fetch(trouble.url("hop0"), Web(QUICK, [trouble.host])) == b"there"


# Again

def test_second_call_downloads_nothing(trouble, tmp_path):
    names = ["photo/1", "duplicate.jpg", "photo/one", "wrong-extension.jpg", "moved.jpg"]
    first, asked = get(trouble, names, tmp_path), len(trouble.asked)
    second = get(trouble, names, tmp_path)
    assert len(trouble.asked) == asked and second.files == first.files
    assert [row.status for row in second.rows] == ["here", "here", "duplicate", "here", "here"]


def test_second_call_gets_what_is_missing(trouble, tmp_path):
    trouble.say("later.jpg", (404, {}, b""), (200, {}, photo("later")))
    get(trouble, ["photo/1", "later.jpg"], tmp_path)
    report = get(trouble, ["photo/1", "later.jpg", "photo/2"], tmp_path)
    assert [row.status for row in report.rows] == ["here", "saved", "saved"] and trouble.asked.count("/photo/1") == 1


def test_removed_photos_stay_away(trouble, tmp_path):
    get(trouble, ["photo/1", "photo/2"], tmp_path).files[0].unlink()
    report = get(trouble, ["photo/1", "photo/2"], tmp_path)
    assert [row.status for row in report.rows] == ["removed", "here"] and len(visible(tmp_path)) == 1
    (tmp_path/INDEX).unlink()
    assert [row.status for row in get(trouble, ["photo/1", "photo/2"], tmp_path).rows] == ["saved", "saved"]


def test_call_after_a_killed_one(trouble, tmp_path):
    get(trouble, ["photo/1", "photo/2"], tmp_path)
    index = (tmp_path/INDEX).read_text(encoding="utf-8")
    (tmp_path/INDEX).write_text(index[:-20], encoding="utf-8")
    (tmp_path/".0123.jpg.part").write_bytes(b"half")
    report = get(trouble, ["photo/1", "photo/2"], tmp_path)
    assert len(report.files) == 2 and visible(tmp_path) == sorted(name_of(photo(seed)) for seed in "12")
    assert get(trouble, ["photo/1", "photo/2"], tmp_path).files == report.files


def test_two_calls_at_once_do_the_work_once(trouble, tmp_path):
    trouble.latency, reports = 0.02, []
    names = [f"photo/{number}" for number in range(6)]
    threads = [threading.Thread(target=lambda: reports.append(get(trouble, names, tmp_path))) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)
    assert len(trouble.asked) == 6 and sorted(str(report).split()[-1] for report in reports) == ["here", "saved"]


# Disk and questions

@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "is full"), (errno.EROFS, "may not be written")])
def test_disk_faults(trouble, tmp_path, monkeypatch, number, words):
    def broken(*_): raise OSError(number, "as the test wants it")
    monkeypatch.setattr(download.os, "replace", broken)
    with pytest.raises(CourseError, match=words): get(trouble, [f"photo/{number}" for number in range(9)], tmp_path)
    assert visible(tmp_path) == []


def test_faults_of_our_own_are_not_hidden(trouble, tmp_path, monkeypatch):
    def wrong(*_): raise ZeroDivisionError("a mistake in the program")
    monkeypatch.setattr(download, "fetch", wrong)
    with pytest.raises(ZeroDivisionError): get(trouble, ["photo/1"], tmp_path)


@pytest.mark.parametrize("items, words", [
    ([], "list of photos is empty"), ("http://example.org/a.jpg", "not the single"),
    (ImageRecord("http://example.org/a.jpg"), "not the single"),
    ([None], "not None"), ([b"http://example.org/a.jpg"], "not b'http")], ids=str)
def test_items_that_are_none(tmp_path, items, words):
    with pytest.raises(CourseError, match=words): download_all(items, tmp_path)


@pytest.mark.parametrize("hosts", ["127.0.0.1:8000", ["127.0.0.1"], ["http://127.0.0.1:80"], [":80"], [None]], ids=str)
def test_allow_hosts_that_are_none(tmp_path, hosts):
    with pytest.raises(CourseError, match="list of hosts with their ports"):
        download_all(["http://example.org/a.jpg"], tmp_path, allow_hosts=hosts)


def test_folder_that_is_a_file(tmp_path):
    (tmp_path/"birds").write_text("x", encoding="utf-8")
    with pytest.raises(CourseError, match="is a file; photos need a folder"):
        download_all(["http://example.org/a.jpg"], tmp_path/"birds")


def test_report_escapes_what_strangers_wrote(trouble, tmp_path):
    shown = get(trouble, ["missing.jpg?<script>"], tmp_path)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "1 failed" in shown


def test_lanes_serve_all_servers_first():
    order = [waiting[0] for waiting in queues_by_host(["http://a/1", "http://a/2", "http://A/3", "http://b/1",
                                                       "http://c/1", "http://c/2"], QUICK)]
    assert order == ["http://a/1", "http://b/1", "http://c/1", "http://a/1", "http://c/1"]


def test_a_list_of_downloads_that_lies_is_passed_over(tmp_path):
    lines = [{"url": "http://a/1", "file": "1.jpg"}, {"url": "http://a/2", "file": "../../letter.jpg"},
             {"url": 3, "file": "3.jpg"},
             {"url": "http://a/4", "file": "/etc/passwd"}, {"url": "http://a/5", "file": ["5.jpg"]}, 7, {"url": "x"}]
    (tmp_path/download.INDEX).write_text("\n".join([*map(json.dumps, lines), "["*10_000, "{", '"\\ud800"']))
    assert download.read_index(tmp_path) == {"http://a/1": "1.jpg"}

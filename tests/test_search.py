"Search services that refuse, fail, lie or help"
import json
import os
import re
import sys
import time
import types
import warnings
from urllib.parse import parse_qs, urlsplit

import misbehaving
import pytest
from misbehaving import commons_results, duckduckgo_results, openverse_results

from course_lib.pictures import search
from course_lib.base.env import CourseError
from course_lib.pictures.search import ImageRecord, RetryPolicy, search_images

trouble, fake_ddgs = misbehaving.trouble, misbehaving.fake_ddgs # fixtures
QUICK = RetryPolicy(pause=0.01, tries=3, longest_wait=0.5, seconds=60, timeouts=(20, 20))
TOO_LONG = 30 # Seconds: no server here lets anybody wait for less than twice as long
NO_RESULTS = Exception("No results found.")


@pytest.fixture(autouse=True)
def calm(home, fake_ddgs, monkeypatch):
    "A home of its own, nobody asked yet and nobody offended, and DuckDuckGo refusing unless a test says otherwise"
    for name in ("_last_request", "_last_refusal"): monkeypatch.setattr(search, name, {})
    fake_ddgs.answers = [NO_RESULTS]


def urls(who, count): return [f"https://example.org/{who}/{number}.jpg" for number in range(count)]

def ask(trouble, term="robin", count=9, **more):
    return search_images(term, count, **({"retry": QUICK, "openverse": trouble.url("openverse"),
                                          "commons": trouble.url("commons")} | more))

def outcome(found, provider): return next(attempt for attempt in found.attempts if attempt.provider == provider)

def question(path): return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def test_all_three_help(trouble, fake_ddgs):
    fake_ddgs.answers = [duckduckgo_results(urls("d", 9))]
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 2) + urls("d", 1))))
    trouble.say("commons", (200, {}, commons_results(urls("c", 3))))
    found = ask(trouble, "  robin\n bird ", 8)
    # in turn; the double only once
    assert [record.url.split("/")[3] for record in found] == ["d", "o", "c", "d", "o", "c", "d", "c"]
    assert found.term == "robin bird" and len({record.url for record in found}) == 8
    assert [attempt.words for attempt in found.attempts] == ["answered"] * 3
    assert fake_ddgs.asked == [("robin bird", {"safesearch": "on", "max_results": 8, "backend": "duckduckgo"})]


def test_licence_and_creator_are_kept(trouble):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 1))))
    trouble.say("commons", (200, {}, commons_results(urls("c", 2))))
    first, second, third = ask(trouble)
    assert first == ImageRecord("https://example.org/o/0.jpg", "Photo 0", "https://example.org/0", "CC BY-SA 2.0",
                                "https://creativecommons.org/licenses/by-sa/2.0/", "Ann", "openverse")
    assert (second.title, second.licence, second.creator, second.page) == ("Photo 1", "CC0", "Bo & Co",
        "https://example.org/File:1")
    assert third.title == "Photo 2" # by rank, not as they came


def test_questions_to_the_open_providers(trouble):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 20), pages=9)),
                (200, {}, openverse_results(urls("p", 20), pages=9)))
    trouble.say("commons", (200, {}, commons_results(urls("c", 50), {"gsroffset": 50})),
                (200, {}, commons_results(urls("e", 9))))
    found = ask(trouble, "robin & wren", 70)
    assert len(found) == 70
    openverse, commons = ([question(path) for path in trouble.asked if path.startswith(f"/{name}")]
                          for name in ("openverse", "commons"))
    assert [(asked["q"], asked["page"], asked["page_size"])
            for asked in openverse[:2]] == [("robin & wren", "1", "20"), ("robin & wren", "2", "20")]
    assert openverse[0]["excluded_source"] == "wikimedia" and openverse[0]["mature"] == "false"
    assert commons[0]["gsrsearch"] == "filetype:bitmap robin & wren" and commons[0]["iiurlwidth"] == "960"
    assert ["gsroffset" in asked for asked in commons] == [False, True]


def test_user_agent_names_the_course(trouble, monkeypatch):
    import requests
    sent = []
    monkeypatch.setattr(requests, "get", lambda *_, **options: sent.append(options["headers"]["User-Agent"])
                        or pytest.fail("not sent"))
    with pytest.raises(pytest.fail.Exception): search.request(trouble.url("openverse"), {}, QUICK)
    assert sent[0].startswith("course-lib/") and "https://github.com/" in sent[0]


REFUSALS = {
    "429 with a header": (429, {"Retry-After": "0"}, {}), "429 without": (429, {}, {}), "403": (403, {}, {}),
    "202": (202, {}, {}),
    "503": (503, {}, {}), "429 with nonsense": (429, {"Retry-After": "soon"}, {}),
}

@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_refusal_then_help(trouble, refusal):
    trouble.say("openverse", refusal, (200, {}, openverse_results(urls("o", 2))))
    found = ask(trouble, providers=["openverse"])
    assert len(found) == 2 and len(trouble.asked) == 2


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_refusal_for_ever_leaves_the_others(trouble, refusal):
    trouble.say("openverse", refusal)
    trouble.say("commons", (200, {}, commons_results(urls("c", 2))))
    found = ask(trouble)
    assert len(found) == 2
    assert outcome(found, "openverse").words.startswith(f"answered {refusal[0]} to each of 3 requests")
    assert sum(path.startswith("/openverse") for path in trouble.asked) == 3


@pytest.mark.timing
def test_retry_after_is_respected(trouble):
    trouble.say("openverse", (429, {"Retry-After": "1"}, {}), (200, {}, openverse_results(urls("o", 1))))
    start = time.monotonic()
    ask(trouble, providers=["openverse"], retry=RetryPolicy(pause=0.01, longest_wait=2, seconds=60))
    assert 1 <= time.monotonic() - start < TOO_LONG


@pytest.mark.timing
def test_wait_beyond_the_bound_is_not_shortened(trouble):
    trouble.say("openverse", (429, {"Retry-After": "3600"}, {}))
    start = time.monotonic()
    with pytest.raises(CourseError, match="openverse answered 429 and asks to wait 3,600 s"):
        ask(trouble, providers=["openverse"])
    assert time.monotonic() - start < TOO_LONG and len(trouble.asked) == 1


def test_who_has_just_refused_is_asked_once(trouble, fake_ddgs):
    trouble.say("openverse", (429, {}, {}))
    trouble.say("commons", (200, {}, commons_results(urls("c", 2))))
    asked = []
    for term in ("robin", "wren", "owl"):
        found = ask(trouble, term)
        asked.append((len(fake_ddgs.asked), sum(path.startswith("/openverse") for path in trouble.asked)))
    assert asked == [(3, 3), (4, 4), (5, 5)]
    assert outcome(found, "openverse").words == "answered 429: it wants to be left alone for a while"


def test_a_refusal_is_forgotten_after_a_while(trouble, monkeypatch):
    monkeypatch.setattr(search, "ASK_ONCE", 0.2)
    trouble.say("openverse", (429, {}, {}))
    with pytest.raises(CourseError): ask(trouble, providers=["openverse"])
    time.sleep(0.25)
    with pytest.raises(CourseError, match="each of 3 requests"): ask(trouble, providers=["openverse"])
    assert len(trouble.asked) == 6


@pytest.mark.timing
def test_pauses_between_requests(trouble):
    trouble.say("openverse", *[(200, {}, openverse_results(urls(page, 20), pages=9)) for page in "abc"])
    start = time.monotonic()
    found = ask(trouble, count=60, providers=["openverse"], retry=RetryPolicy(pause=0.2))
    assert len(found) == 60 and 0.4 <= time.monotonic() - start < TOO_LONG


STRANGE = {
    "HTML": (b"<!DOCTYPE html>log in", "a web page or a broken answer"),
    "cut off": (b'{"results": [', "a web page or a broken answer"),
    "a list": (b"[]", "in a form that"), "no results": (b"{}", "in a form that"),
    "results of another kind": (b'{"results": [1, 2]}', "in a form that"),
    "no list": (b'{"results": null}', "in a form that"), "nothing": (b"", "a web page or a broken answer"),
}

@pytest.mark.parametrize("body, words", STRANGE.values(), ids=STRANGE)
def test_strange_answers(trouble, body, words):
    trouble.say("openverse", (200, {}, body))
    with pytest.raises(CourseError, match=words): ask(trouble, providers=["openverse"])


def test_answer_that_is_too_long(trouble, monkeypatch):
    monkeypatch.setattr(search, "MOST_JSON", 1000)
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 20))))
    with pytest.raises(CourseError, match="more than 1,000 bytes"): ask(trouble, providers=["openverse"])


@pytest.mark.timing
@pytest.mark.parametrize("name, words", [("silent", "did not answer in time"), ("slow-drip.json",
    "took longer than 0.5 s"), ("header-drip.json", "took longer than 0.5 s"),
                                         ("broken", "answered 500"), ("reset", "broke off its answer"),
                                         ("missing", "answered 404"), ("endless", "more than 8,388,608 bytes")])
def test_faults_of_the_network(trouble, name, words):
    silence, seconds = 0.1 if name == "silent" else 20, 0.5 if "drip" in name else 60
    start, retry = time.monotonic(), RetryPolicy(pause=0.01, seconds=seconds, timeouts=(20, silence))
    with pytest.raises(CourseError, match=words):
        ask(trouble, providers=["openverse"], openverse=trouble.url(name), retry=retry)
    assert time.monotonic() - start < TOO_LONG


def test_what_came_before_a_failure_is_kept_but_not_remembered(trouble, home):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 20), pages=9)), (500, {}, {}))
    found = ask(trouble, count=40, providers=["openverse"])
    assert (len(found), found.attempts[0].words) == (20, "answered 500")
    assert not (home/".course").exists()


def test_hostile_results_are_left_out(trouble):
    results = openverse_results(urls("o", 4))
    for item, url in zip(results["results"], ["file:///etc/passwd", None, 7], strict=False): item["url"] = url
    results["results"][3] |= {"title": "<script>alert(1)</script>T" + "x" * 500,
                              "foreign_landing_url": "javascript:alert(1)", "creator": None}
    trouble.say("openverse", (200, {}, results))
    [record] = ask(trouble, providers=["openverse"])
    assert record.title.startswith("alert(1) Tx") and len(record.title) == 200 and (record.page,
        record.creator) == ("", "")


def test_commons_leaves_out_what_is_no_picture(trouble):
    results = commons_results(urls("c", 3))
    del results["query"]["pages"][0]["imageinfo"]
    results["query"]["pages"][1]["imageinfo"][0]["mime"] = "application/pdf"
    trouble.say("commons", (200, {}, results))
    assert [record.title for record in ask(trouble, providers=["commons"])] == ["Photo 1"]


def test_commons_reports_errors_with_status_200(trouble):
    trouble.say("commons", (200, {}, {"error": {"code": "maxlag", "info": "Waiting for a database"}}))
    with pytest.raises(CourseError, match="commons answered with the error 'maxlag'"):
        ask(trouble, providers=["commons"])


def test_commons_that_continues_for_ever(trouble):
    trouble.say("commons", (200, {}, {"query": {"pages": []}, "continue": {"gsroffset": 1}}))
    with pytest.raises(CourseError, match="other or fewer words"): ask(trouble, providers=["commons"])
    assert len(trouble.asked) == 2


# DuckDuckGo

def test_duckduckgo_refuses_then_helps(trouble, fake_ddgs):
    fake_ddgs.answers = [NO_RESULTS, duckduckgo_results(urls("d", 3))]
    assert len(ask(trouble, providers=["duckduckgo"])) == 3 and len(fake_ddgs.asked) == 2


RateLimit = type("RatelimitException", (Exception,), {})

@pytest.mark.parametrize("error, words, requests", [
    (NO_RESULTS, "too many requests", 3), (RateLimit("202"), "too many requests", 3),
    (Exception("Could not extract vqd."), "too many requests", 3),
    (Exception("DNSError: no record"), "could not be reached", 1),
    (type("TimeoutException", (Exception,), {})("x"), "did not answer in time", 1),
    (Exception("Expecting value: line 1 column 1 (char 0)"), "sent a web page", 1),
    (KeyError("results"), "failed: KeyError: 'results'", 1)], ids=str)
def test_duckduckgo_fails(trouble, fake_ddgs, error, words, requests):
    fake_ddgs.answers = [error]
    with pytest.raises(CourseError, match=words): ask(trouble, providers=["duckduckgo"])
    assert len(fake_ddgs.asked) == requests


def test_old_package_where_only_that_is_installed(trouble, fake_ddgs, monkeypatch):
    class Old(fake_ddgs):
        def __init__(self, timeout=None):
            warnings.simplefilter("always")
            warnings.warn("renamed to `ddgs`!", RuntimeWarning, stacklevel=2)
        def images(self, keywords, safesearch="moderate", max_results=None):
            return duckduckgo_results(urls("d", max_results))
    monkeypatch.setitem(sys.modules, "ddgs", None)
    monkeypatch.setitem(sys.modules, "duckduckgo_search", types.SimpleNamespace(DDGS=Old))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ask(trouble, count=4, providers=["duckduckgo"])) == 4


def test_neither_package(trouble, monkeypatch):
    for name in ("ddgs", "duckduckgo_search"): monkeypatch.setitem(sys.modules, name, None)
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 1))))
    found = ask(trouble)
    assert len(found) == 1 and "pip install ddgs" in outcome(found, "duckduckgo").words


# All fail

def test_all_fail(trouble):
    trouble.say("openverse", (403, {}, {}))
    with pytest.raises(CourseError) as caught: ask(trouble)
    message = str(caught.value)
    for words in ("No photos of 'robin'", "duckduckgo gave no results", "openverse answered 403",
                  "commons answered 404", "Run this again in some minutes",
                  "get_data('pets')", "COURSE_MODE=quick"): assert words in message


FOUND, NONE = (200, {}, openverse_results(urls("o", 2))), (200, {}, openverse_results([]))

@pytest.mark.parametrize("openverse, duckduckgo, advice", [
    (NONE, [], "commons found none. Try other or fewer words. You"), (NONE, NO_RESULTS, "commons found none. Try other "
                                                                                        "or fewer words, or run this "
                                                                                        "again in some minutes."),
    ((500, {}, {}), [], "openverse answered 500; commons found none. Try other or fewer words, or run")],
    ids=["none", "none, perhaps", "trouble"])
def test_advice(trouble, fake_ddgs, openverse, duckduckgo, advice):
    fake_ddgs.answers = [duckduckgo]
    trouble.say("openverse", openverse); trouble.say("commons", (200, {}, {"batchcomplete": True}))
    with pytest.raises(CourseError) as caught: ask(trouble)
    assert advice in str(caught.value)


@pytest.mark.parametrize("openverse, words", [
    (FOUND, ""), (NONE, ""), ((429, {}, {}), "duckduckgo found 3; openverse answered 429 to each of 3 requests: it "
                                             "wants to be left alone for a while; commons found 2.")])
def test_who_did_not_help_is_told_even_where_others_did(trouble, fake_ddgs, capsys, openverse, words):
    fake_ddgs.answers = [duckduckgo_results(urls("d", 3))]
    trouble.say("openverse", openverse); trouble.say("commons", (200, {}, commons_results(urls("c", 2))))
    ask(trouble)
    assert capsys.readouterr().out == (f"Search for 'robin': {words}\n" if words else "")
    ask(trouble) # what is remembered counts as help
    assert ("commons found 2" in capsys.readouterr().out) == bool(words)


def test_photos_before_a_failure_are_told(trouble, capsys):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 20), pages=9)), (500, {}, {}))
    ask(trouble, count=40, providers=["openverse"])
    assert capsys.readouterr().out == "Search for 'robin': openverse answered 500 (after 20 photos).\n"


def test_ready_sets_of_the_message_exist():
    from importlib import import_module
    from course_lib.data.sets import find_dataset
    from course_lib.pictures.search import nothing_found
    module = re.search(r"from (course_lib[.a-z]+)", str(nothing_found("robin", []))).group(1)
    assert callable(import_module(module).get_data)
    assert [find_dataset(name).key for name in ("pets", "dogs", "bears")] == ["pets", "dogs", "bears"]


@pytest.mark.timing
def test_nothing_listens(trouble):
    trouble.shutdown(); trouble.server_close()
    start = time.monotonic()
    with pytest.raises(CourseError, match="openverse could not be reached; commons could not be reached"): ask(trouble)
    assert time.monotonic() - start < TOO_LONG


# Memory

def test_second_search_asks_nobody(trouble, fake_ddgs):
    fake_ddgs.answers = [duckduckgo_results(urls("d", 3))]
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 3))))
    trouble.say("commons", (200, {}, commons_results(urls("c", 3))))
    first, asked = ask(trouble), len(trouble.asked)
    second = ask(trouble, " ROBIN ", count=5)
    assert second == first[:5] and len(trouble.asked) == asked and len(fake_ddgs.asked) == 1
    assert [attempt.words for attempt in second.attempts] == ["remembered"] * 3


def test_more_photos_are_asked_for_again(trouble):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 20), pages=9)))
    ask(trouble, count=5, providers=["openverse"]); ask(trouble, count=6, providers=["openverse"])
    assert len(trouble.asked) == 2


def test_a_refusal_is_not_remembered(trouble):
    trouble.say("openverse", *[(403, {}, {})] * 3, (200, {}, openverse_results(urls("o", 2))))
    with pytest.raises(CourseError): ask(trouble, providers=["openverse"])
    assert len(ask(trouble, providers=["openverse"])) == 2


@pytest.mark.parametrize("spoil", [lambda text: text[:30], lambda text: "[]", lambda text: "",
                                   lambda text: text.replace('"url"', '"address"'),
                                   lambda text: json.dumps(json.loads(text) | {"when": 0})],
                                   ids=["cut", "list", "empty", "other fields", "old"])
def test_spoilt_memory_is_asked_for_again(trouble, home, spoil):
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 2))))
    first = ask(trouble, providers=["openverse"])
    [path] = (home/".course"/"search").iterdir()
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert ask(trouble, providers=["openverse"]) == first and len(trouble.asked) == 2


def test_full_disk_is_told(trouble, monkeypatch):
    import errno
    def full(*_): raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "replace", full)
    trouble.say("openverse", (200, {}, openverse_results(urls("o", 2))))
    with pytest.raises(CourseError, match="is full"): ask(trouble, providers=["openverse"])


# Questions

@pytest.mark.parametrize("arguments, words", [
    (("",), "a few words"), ((" \n\t",), "a few words"), ((None,), "a few words"), (("x" * 201,), "201 characters"),
    (("robin", 0), "from 1 to 200, not 0"), (("robin", -3), "not -3"), (("robin", 10**9), "several terms"),
    (("robin", 2.5), "not 2.5"),
    (("robin", True), "not True"), (("robin", 5, ["bing"]), "no provider called 'bing'"),
    (("robin", 5, ["openvers"]), "Did you mean 'openverse'"),
    (("robin", 5, "openverse"), "list of names"), (("robin", 5, []), "list of names")])
def test_questions_that_make_no_sense(trouble, arguments, words):
    with pytest.raises(CourseError, match=words):
        search_images(*arguments, openverse=trouble.url("openverse"), commons=trouble.url("commons"))
    assert trouble.asked == []


def test_summary(trouble):
    trouble.say("commons", (200, {}, commons_results(urls("c", 2))))
    lines = repr(ask(trouble)).splitlines()
    assert lines[0] == "2 found for 'robin'" and len(lines) == 4 and "gave no results" in lines[
        1] and "2 found   answered" in lines[3]

"A web server with every fault a picture server can have, and search services that say what they are told; on loopback"
import io
import json
import random
import socket
import struct
import sys
import threading
import types
import zlib
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image

WAIT = 60 # Seconds after which every slow answer ends by itself; who waits for that takes too long


@cache
def photo(seed, kind="JPEG", size=(64, 48)) -> bytes:
    "A picture of coloured noise; another seed gives another picture"
    width, height = size
    image = Image.frombytes("RGB", size, random.Random(str(seed)).randbytes(width * height * 3))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@cache
def bomb(side=16_000) -> bytes:
    "A real PNG of a few kilobytes that unpacks to `side` x `side` black pixels"
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    packer, row = zlib.compressobj(9), bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class Handler(BaseHTTPRequestHandler):
    "Answers /NAME by the method NAME below, /photo/SEED by a picture, and what `server.say` set by that"
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True # as real servers do; else each answer takes 40 ms more

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0].strip("/")
        with server.lock:
            server.asked.append(self.path)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            server.stop.wait(server.latency)
            if path in server.answers: self.said(server.answers[path])
            elif path.startswith("photo/"): self.send(photo(path.removeprefix("photo/")))
            else: getattr(self, path.rpartition(".")[0].replace("-", "_") or path, self.missing)()
        finally:
            with server.lock: server.at_once -= 1

    def send(self, content, status=200, **headers):
        self.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": len(content), "Content-Type": "image/jpeg"} | given).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def said(self, answers):
        with self.server.lock: status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(body): body = body(dict(parse_qsl(urlsplit(self.path).query)))
        self.send(body if isinstance(body, bytes) else json.dumps(body).encode(), status, **headers)

    def drip(self, prefix=b"", pause=0.05):
        "A byte now and then, and never an end"
        self.close_connection = True
        self.wfile.write(prefix)
        for _ in range(int(WAIT / pause)):
            if self.server.stop.wait(pause): return
            self.wfile.write(b"x")

    # Statuses
    def missing(self): self.send(b"", 404)
    def forbidden(self): self.send(b"", 403)
    def limited(self): self.send(b"", 429)
    def limited_long(self): self.send(b"", 429, Retry_After=3600)
    def accepted(self): self.send(b"", 202)
    def broken(self): self.send(b"", 500)

    # Contents
    def html(self): self.send(b"<!DOCTYPE html><title>Log in</title>")
    def empty(self): self.send(b"")
    def duplicate(self): self.send(photo("one"))
    def wrong_extension(self): self.send(photo("wrong", "PNG"))
    def truncated(self): self.send(photo("cut")[:-1500])
    def bomb(self): self.send(bomb())
    def text(self): self.send(b"no picture at all", Content_Type="image/png")

    # Streams
    def chunked(self):
        content = photo("chunked")
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(content), 1000):
            piece = content[start:start + 1000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def endless(self):
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        while not self.server.stop.is_set(): self.wfile.write(b"\xff" * 2**16)

    def slow_drip(self): self.drip(b"HTTP/1.1 200 OK\r\n\r\n")
    def header_drip(self): self.drip(b"HTTP/1.1 200 OK\r\nX-Long: ")

    def silent(self):
        self.close_connection = True
        self.server.stop.wait(WAIT)

    def length_too_long(self):
        self.close_connection = True
        self.send(photo("short"), Content_Length=10**5)

    def length_too_short(self):
        self.close_connection = True
        self.send(photo("long"), Content_Length=1500)

    def length_enormous(self):
        self.close_connection = True
        self.send(b"", Content_Length=10**12)

    def reset(self):
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    # Redirects
    def redirect(self, location): self.send(b"", 302, Location=location)
    def moved(self): self.redirect("/photo/moved")
    def loop(self): self.redirect("/loop.jpg")
    def to_private(self): self.redirect("http://10.0.0.1/photo.jpg")
    def to_metadata(self): self.redirect("http://169.254.169.254/latest/meta-data")
    def to_other_port(self): self.redirect(f"http://127.0.0.1:{self.server.server_port - 1}/photo.jpg")
    def to_file(self): self.redirect("file:///etc/passwd")
    def to_password(self): self.redirect(f"http://ann:secret@{self.server.host}/photo/1")

    def finish(self):
        if self.connection.fileno() != -1: super().finish()

    def log_message(self, *args): "Requests are kept in `server.asked` instead"


class Server(ThreadingHTTPServer):
    "The server; `asked` holds the paths of all requests"
    daemon_threads, request_queue_size = True, 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        bomb() # made once, and not while a client waits
        self.asked, self.answers, self.lock, self.stop = [], {}, threading.Lock(), threading.Event()
        self.connections, self.at_once, self.most_at_once, self.latency = 0, 0, 0, 0
        self.host = f"127.0.0.1:{self.server_port}"

    def url(self, name): return f"http://{self.host}/{name}"

    def say(self, name, *answers) -> str:
        """Answer /NAME with (status, headers, body), one after the other, the last one for ever; its address.
        A body is bytes, an object for JSON, or a function that makes one of them from the question."""
        self.answers[name] = list(answers)
        return self.url(name)

    def handle_error(self, request, client_address): "A client that hangs up is what these tests are about"


@contextmanager
def running_server():
    "A misbehaving server on a free port of this computer, stopped at the end"
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
    try: yield server
    finally: server.stop.set(); server.shutdown(); server.server_close()


@pytest.fixture
def trouble(monkeypatch):
    "A misbehaving server, stopped after the test"
    monkeypatch.setenv("NO_PROXY", "*")
    with running_server() as server: yield server


# Search services

def openverse_results(urls, pages=1) -> dict:
    "A page of results as Openverse sends it"
    return {"result_count": len(urls), "page_count": pages, "page_size": 20, "page": 1, "results": [
        {"id": url, "title": f"Photo {number}", "url": url, "foreign_landing_url": f"https://example.org/{number}",
         "creator": "Ann",
         "license": "by-sa", "license_version": "2.0", "license_url": "https://creativecommons.org/licenses/by-sa/2.0/"}
        for number, url in enumerate(urls)]}


def commons_results(urls, following=None) -> dict:
    "A part of results as Wikimedia Commons sends it, in the wrong order"
    pages = [{"pageid": number, "ns": 6, "title": f"File:Photo {number}.jpg", "index": number, "imageinfo": [
        {"url": f"{url}?original", "thumburl": url, "descriptionurl": f"https://example.org/File:{number}",
         "mime": "image/jpeg",
         "extmetadata": {"LicenseShortName": {"value": "CC0"},
                         "Artist": {"value": '<a href="//example.org/Bo">Bo &amp; Co</a>'}}}]}
        for number, url in enumerate(urls, 1)]
    return {"query": {"pages": pages[::-1]}} | ({"continue": following} if following else {})


def duckduckgo_results(urls) -> list:
    "Results as `ddgs` gives them"
    return [{"title": f"Photo {number}", "image": url, "thumbnail": url, "url": "https://example.org/", "height": 480,
             "width": 640,
             "source": "Bing"} for number, url in enumerate(urls)]


@pytest.fixture
def fake_ddgs(monkeypatch):
    "A stand-in for `ddgs.DDGS`: `answers` are given or, where they are exceptions, raised, one after the other"
    class DDGS:
        answers, asked = [], []
        def __init__(self, timeout=None): self.timeout = timeout
        def images(self, query, **options):
            self.asked.append((query, options))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception): raise answer
            return answer
    monkeypatch.setitem(sys.modules, "ddgs", types.SimpleNamespace(DDGS=DDGS))
    monkeypatch.setitem(sys.modules, "duckduckgo_search", None)
    return DDGS

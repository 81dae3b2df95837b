"Shared fixtures, a home for fastai and a web server that misbehaves on request; and which files come first"
import hashlib
import io
import json
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

LONGEST = ("test_web_app.py", "test_intro_searches.py", "test_served.py", "test_exercises.py", "test_runner.py",
           "test_publish.py", "test_site.py", "test_workbook.py", "test_site_assets.py", "test_launch.py",
           "test_cli.py", "test_pets.py", "test_questions.py", "test_download.py", "test_cleaner_browser.py")


def pytest_collection_modifyitems(items):
    "The files that take longest come first, so that no worker is left alone with one of them at the end"
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty home of fastai, no mirror, no mode; the folder of the data sets"
    from course_lib.base import web
    from course_lib.data.receipts import count_files
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path/"home"))
    for name in ("COURSE_DATA_MIRROR", "COURSE_MODE"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IN_TEST", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(web, "_answers", {})
    count_files.cache_clear()
    return tmp_path/"home"/"data"


class Handler(BaseHTTPRequestHandler):
    "Serves `server.files`; the other attributes of the server say how badly"
    protocol_version = "HTTP/1.0"

    def do_HEAD(self): self.send_response(200); self.end_headers()

    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        content, etag = server.files.get(name), server.etag
        asked = self.headers.get("Range")
        server.asked.append((name, asked))
        if server.status != 200 or content is None:
            return self.send_error(server.status if server.status != 200 else 404)
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == etag: start = int(asked[6:-1])
        if start >= len(content) > 0: return self.send_error(416)
        self.send_response(206 if start else 200)
        if etag: self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        if start: self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for header in server.headers.items(): self.send_header(*header)
        self.end_headers()
        self.wfile.flush()
        most = server.most.pop(0) if server.most else len(content)
        if server.silent: server.stop.wait(60)
        for at in range(start, min(start + most, len(content)), 2**16):
            self.wfile.write(content[at:min(at + 2**16, start + most)])
            if server.delay: time.sleep(server.delay)

    def log_message(self, *args): "Requests are kept in `server.asked` instead"


@pytest.fixture
def serve():
    "Start servers of {path: bytes}, which are stopped after the test"
    servers = []
    def start(files):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.files, server.etag, server.ranges, server.status = files, '"v1"', True, 200
        server.asked, server.most, server.delay, server.silent, server.headers = [], [], 0, False, {}
        server.url, server.stop = f"http://127.0.0.1:{server.server_port}", threading.Event()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server
    yield start
    for server in servers: server.stop.set(); server.shutdown(); server.server_close()


def tgz(members) -> bytes:
    "A .tgz of (name, content, fields) or (name, content)"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content, *fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in (fields[0] if fields else {}).items(): setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def manifest(archives, **changes) -> bytes:
    "A manifest for {name: (file, content, extracts_to)}"
    entries = [{"name": name, "file": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
                "extracts_to": folder, "differs_from_original": True, "note": "made up"} | changes
               for name, (file, content, folder) in archives.items()]
    return json.dumps(entries).encode()

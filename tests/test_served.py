"Apps as their visitors, callers and attackers meet them: real servers on loopback, with a model of known answers."
import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from browser import start_browser
from course_lib.apps import gradio_app
from course_lib.apps import server as prediction_server
from course_lib.apps.folder import MARK
from course_lib.base.env import CourseError
from course_lib.apps.predictor import Prediction
from course_lib.apps.parts import COLOUR_CLASSES, colour_bundle
from course_lib.apps.served import make_gradio_app, make_notebook_app
from PIL import Image

MAKERS = {"gradio": make_gradio_app, "notebook": make_notebook_app}
TITLE = "Which <b>colour</b>? & 'why'"


def picture(colour="red", kind="PNG", mode="RGB", size=(90, 60), **options):
    "The file of a picture of one colour"
    file = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(file, kind, **options)
    return file.getvalue()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(command, folder, port, ready, **env):
    "A server in a process of its own, which is waited for and ended; its temporary folder is removed"
    with tempfile.TemporaryDirectory() as temporary, open(Path(temporary)/"log", "w+") as log:
        env = {**os.environ, "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "*", **env}
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=env, stdout=log,
                                   stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 300
            while not answers(f"http://127.0.0.1:{port}{ready}"):
                assert process.poll() is None and time.monotonic() < end, Path(temporary, "log").read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            try: process.wait(10)
            except subprocess.TimeoutExpired: process.kill(); process.wait(10)


def answers(url):
    try: return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError: return False


def gradio_running(folder):
    port = free_port()
    return port, running(["app.py"], folder, port, "/config", GRADIO_SERVER_PORT=str(port), OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory): return colour_bundle(tmp_path_factory.mktemp("model")/"bundle", title=TITLE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for colour in COLOUR_CLASSES: (folder/f"{colour}.png").write_bytes(picture(colour))
    return [folder/f"{colour}.png" for colour in COLOUR_CLASSES]


@pytest.fixture(scope="module")
def folder(bundle, pictures, tmp_path_factory):
    return make_gradio_app(bundle, tmp_path_factory.mktemp("apps")/"colours", examples=pictures)


@pytest.fixture(scope="module")
def app(folder):
    "Address of a running Gradio app"
    port, server = gradio_running(folder)
    with server: yield f"http://127.0.0.1:{port}"


def upload(app, name, content):
    return httpx.post(f"{app}/gradio_api/upload", files={"files": (name, content, "image/jpeg")}, timeout=60)


def call(app, item):
    "What the app answers to one call of its API: ('complete' or 'error', data)"
    started = httpx.post(f"{app}/gradio_api/call/predict", json={"data": [item]}, timeout=60)
    assert started.status_code == 200, started.text
    lines = httpx.get(f"{app}/gradio_api/call/predict/{started.json()['event_id']}", timeout=60).text.splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("event: "))
    return lines[last].removeprefix("event: "), json.loads(lines[last + 1].removeprefix("data: "))


def file_data(path): return {"path": path, "meta": {"_type": "gradio.FileData"}}


def classify(app, name, content): return call(app, file_data(upload(app, name, content).json()[0]))


# Pictures, good and bad

def animated():
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue", "green")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def grey_16_bit():
    file = io.BytesIO()
    Image.new("I;16", (90, 60), 40000).save(file, "PNG")
    return file.getvalue()


def huge(width, height):
    "A small file, yet a whole picture: black, one bit a pixel"
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header, rows = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), zlib.compress(bytes((width//8 + 1)*height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def turned():
    exif = Image.Exif()
    exif[274] = 6
    return picture("blue", "JPEG", exif=exif)


GOOD = {"animated.gif": (animated, "red"), "cmyk.jpg": (partial(picture, "green", "JPEG", "CMYK"), "green"),
        "palette.png": (partial(picture, "blue", mode="P"), "blue"), "turned.jpg": (turned, "blue"),
        "phone.png": (lambda: huge(6000, 4000), None), "sixteen_bits.png": (grey_16_bit, None),
        "no_ending": (partial(picture, "red"), "red")} # None: any label
BAD = {"corrupt.jpg": (lambda: picture(kind="JPEG", size=(900, 600))[:900], "damaged"),
       "cut_off.png": (lambda: picture()[:100], "damaged"),
       "vector.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>", "SVG"),
       "text.jpg": (lambda: b"Dear model, I am no picture.", "no picture"), "nothing.png": (lambda: b"", "empty"),
       "page.html": (lambda: b"<script>alert(1)</script>", "no picture"),
       "huge.png": (lambda: huge(30_000, 20_000), "pixels"),
       "many.png": (lambda: huge(9_400, 9_400), "the most is 25,000,000"),
       "bomb.gif": (lambda: b"GIF89a\xff\xff\xff\xff\x00\x00\x00"
                            b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;", "pixels")}


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_picture_gets_its_answer(app, name):
    make, label = GOOD[name]
    kind, (answer, remark) = classify(app, name, make())
    assert kind == "complete" and answer["label"] in ([label] if label else COLOUR_CLASSES)
    assert sum(item["confidence"] for item in answer["confidences"]) == pytest.approx(1, abs=1e-3) and remark


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_usable_picture_gets_a_message_and_the_app_goes_on(app, name):
    make, words = BAD[name]
    kind, data = classify(app, name, make())
    assert kind == "error" and name in data["error"] and words in data["error"], data
    assert "Traceback" not in data["error"] and "/" not in data["error"]
    assert classify(app, "red.png", picture("red"))[1][0]["label"] == "red"


def test_an_upload_of_100_mb_is_refused(app):
    for size in (100*2**20, 10*2**20 + 1):
        refused = upload(app, "large.jpg", bytes(size))
        assert refused.status_code == 413 and "bytes" in refused.text
    assert classify(app, "red.png", picture("red"))[1][0]["label"] == "red"


@pytest.mark.parametrize("path", ["/gradio_api/call/predict", "/gradio_api/queue/join", "/gradio_api/upload"])
def test_no_other_request_can_be_100_mb_either(app, path):
    refused = httpx.post(f"{app}{path}", json={"data": ["A"*100*2**20]}, timeout=60)
    assert refused.status_code in (400, 413)
    assert classify(app, "red.png", picture("red"))[1][0]["label"] == "red"


@pytest.mark.parametrize(("colour", "unlike"), [("red", False), ("white", True)])
def test_a_picture_unlike_the_training_data_is_said_to_be(app, colour, unlike):
    assert ("unlike" in classify(app, "a.png", picture(colour))[1][1]) == unlike


def test_no_picture_at_all(app):
    kind, data = call(app, None)
    assert (kind, data["error"]) == ("error", "Choose a picture first.")


# What must not be reached

@pytest.mark.parametrize("path",
                         ["/etc/passwd", "../app.py", "app.py", "{folder}/app.py", "{folder}/bundle/model.onnx",
                          "{folder}",
                                  "{folder}/examples/1.jpg", "..%2f..%2fetc%2fpasswd", "file:///etc/passwd",
                                  "C:%5CWindows%5Cwin.ini",
                                  "http://127.0.0.1:1/", "{uploads}/../../../../../../etc/passwd"])
def test_no_file_of_the_server_is_served(app, folder, path):
    uploads = upload(app, "a.png", picture()).json()[0].rsplit("/", 1)[0]
    answer = httpx.get(f"{app}/gradio_api/file={path.format(folder=folder, uploads=uploads)}", timeout=30)
    assert answer.status_code in (400, 403, 404)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("path",
                         ["{folder}/examples/1.jpg", "examples/1.jpg", "/etc/passwd", "http://127.0.0.1:1/a.png",
                                  "HTTPS://localhost/a.png", "ftp://127.0.0.1:1/a.png", "", "\0"])
def test_no_file_of_the_server_is_classified_and_nothing_fetched(app, folder, path, marked):
    item = file_data(path.format(folder=folder))
    if not marked: del item["meta"]
    kind, data = call(app, item)
    assert kind == "error"
    assert data["error"] is None or "pload the picture" in data["error"]


@pytest.mark.parametrize("item", ["text", 7, [], {}, {"path": 7}, {"url": "data:image/png;base64,AAAA"}])
def test_nonsense_is_refused(app, item):
    assert call(app, item)[0] == "error"
    assert classify(app, "red.png", picture("red"))[1][0]["label"] == "red"


def test_an_uploaded_page_is_not_served_as_one(app):
    path = upload(app, "page.html", b"<script>alert(1)</script>").json()[0]
    answer = httpx.get(f"{app}/gradio_api/file={path}", timeout=30)
    assert "attachment" in answer.headers["content-disposition"]


def test_it_listens_on_loopback_and_reports_to_nobody(app):
    config = httpx.get(f"{app}/config", timeout=30).json()
    assert config["analytics_enabled"] is False and config["max_file_size"] == 10*2**20 and config["space_id"] is None
    if sys.platform == "linux": # every 127.x.x.x is this machine; a server that listens everywhere would answer
        with pytest.raises(httpx.ConnectError): httpx.get(app.replace("127.0.0.1", "127.0.0.2"), timeout=5)


@pytest.mark.parametrize(("origin", "allowed"), [("http://127.0.0.1:8000", True), ("http://localhost:5", True),
                                                 ("https://example.com", False), ("null", False)])
def test_pages_of_other_machines_cannot_read_the_answers(app, origin, allowed):
    answer = httpx.get(f"{app}/config", headers={"Origin": origin}, timeout=30)
    assert (answer.headers.get("access-control-allow-origin") == origin) == allowed


# Many at once, and a sudden end

def test_clients_at_once_all_get_their_own_answer(app):
    "The full run, 50 clients with 4 requests each, is in benchmarks/serving.py"
    def client(number):
        colours = [COLOUR_CLASSES[(number + step) % 3] for step in range(2)]
        return [classify(app, "a.png", picture(colour))[1][0]["label"] == colour for colour in colours]
    with ThreadPoolExecutor(12) as pool: assert list(pool.map(client, range(12))) == [[True, True]]*12


def contents(folder): return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
                              for path in folder.rglob("*") if path.is_file()}


def uploads_in(folder): return [path for path in folder.rglob("picture-app-uploads-*/files/**/*") if path.is_file()]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
def test_killed_in_mid_request_it_loses_nothing_and_the_next_start_sweeps_up(folder, tmp_path):
    "While another one that runs keeps its own; and those that are asked to stop leave nothing"
    own, temporary, stop = shutil.copytree(folder, tmp_path/"app"), tmp_path/"temporary", threading.Event()
    temporary.mkdir()
    before = contents(own)
    def start():
        # SIGINT may be ignored by inheritance
        code = "import signal, app; signal.signal(signal.SIGINT, signal.default_int_handler); app.serve('.')"
        env = dict(GRADIO_SERVER_PORT=str(port := free_port()), TMPDIR=str(temporary), OMP_NUM_THREADS="1")
        return f"http://127.0.0.1:{port}", running(["-c", code], own, port, "/config", **env)
    def ask():
        while not stop.is_set():
            try: classify(one, "a.jpg", picture(kind="JPEG", size=(3000, 2000)))
            except (httpx.TransportError, AssertionError, ValueError): return
    def sent(): return [path for path in uploads_in(temporary) if path.name == "a.png"]
    def end(process, number): process.send_signal(number); process.wait(120)
    (one, first), (two, second) = start(), start()
    with second as other:
        with first as process, ThreadPoolExecutor(4) as pool:
            for address in (one, two): upload(address, "a.png", picture())
            asking = [pool.submit(ask) for _ in range(4)]
            time.sleep(1)
            assert not any(future.done() for future in asking)
            process.kill()
            stop.set()
        assert contents(own) == before and len(sent()) == 2
        three, third = start()
        with third as process:
            assert len(sent()) == 1
            for address in (two, three): assert classify(address, "b.png", picture("green"))[1][0]["label"] == "green"
            end(process, signal.SIGTERM)
        assert len(sent()) == 1
        end(other, signal.SIGINT)
    assert list(temporary.glob("*uploads-*")) == [] and contents(own) == before


def test_two_apps_keep_their_uploads_on_windows_too(tmp_path, monkeypatch):
    "Where an open file can neither be renamed nor removed, and locks are of another kind"
    held = set()
    def locking(number, mode, count):
        if os.fstat(number).st_ino in held: raise PermissionError(13, "Permission denied")
        held.add(os.fstat(number).st_ino)
    def rename(*_): raise PermissionError(13, "The process cannot access the file")
    windows = SimpleNamespace(**{**vars(os), "name": "nt", "rename": rename})
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(gradio_app, "os", windows)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with gradio_app.uploads_folder() as first:
        (first/"cat.jpg").touch()
        with gradio_app.uploads_folder() as second: assert (first/"cat.jpg").is_file() and second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_no_option_takes_the_guards_of_an_app_away(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gradio_app, "end_in_order", lambda: None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    with pytest.raises(ValueError, match="guards the page"): gradio_app.serve(folder, app_kwargs={})


def test_only_those_who_know_its_name_are_answered(app):
    port = app.rpartition(":")[2]
    for host, status in [(f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), ("10.1.2.3", 200),
                         (f"evil.example:{port}", 421), ("127.0.0.1.evil.example", 421), ("[", 421)]:
        assert httpx.get(f"{app}/config", headers={"Host": host}, timeout=30).status_code == status, host


def test_uploads_cannot_fill_the_disk(folder, tmp_path):
    "With a limit of 12 MiB, 10 of them kept for what is arriving"
    port = free_port()
    code = "import app; app.LAUNCH['app_kwargs']['middleware'][2].kwargs['most'] = 12*2**20; app.serve('.')"
    with running(["-c", code], folder, port, "/config", GRADIO_SERVER_PORT=str(port), TMPDIR=str(tmp_path)):
        address, stored = f"http://127.0.0.1:{port}", sum(max(path.stat().st_size, 2**16)
                                                          for path in uploads_in(tmp_path))
        content = picture() + bytes(2*2**20 - stored - 2**16)
        first = upload(address, "a.png", picture())
        assert [upload(address, "b.png", content).status_code for _ in range(2)] == [200, 507]
        assert call(address, file_data(first.json()[0]))[1][0]["label"] == "red"


@pytest.mark.parametrize("path", ["process_recording", "component_server"])
def test_forms_are_for_uploads_only(app, path):
    assert httpx.post(f"{app}/gradio_api/{path}", files={"video": ("a.mp4", b"film", "video/mp4")},
                      timeout=300).status_code == 404


# Clients

def test_the_python_client(app, folder, pictures):
    done = subprocess.run([sys.executable, folder/"clients"/"client.py", pictures[1], app], capture_output=True,
                          text=True, timeout=120)
    assert done.stdout.startswith("{'green': "), done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_the_curl_client(app, folder, pictures, tmp_path):
    (tmp_path/"letter.jpg").write_text("no picture")
    for path, expected in ((pictures[2], 'data: [{"label": "blue"'), (tmp_path/"letter.jpg", "event: error")):
        done = subprocess.run(["sh", folder/"clients"/"client.sh", path, app], capture_output=True, text=True,
                              timeout=300)
        assert expected in done.stdout, done.stderr


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with start_browser(tmp_path_factory.mktemp("browser")) as browser: yield browser


@pytest.fixture
def own_page(folder):
    "Address of the page of one's own, on another port than the app"
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder/"clients"))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/client.html"
    server.shutdown()
    server.server_close()


def test_a_page_of_ones_own(app, own_page, browser, pictures, tmp_path):
    (tmp_path/"letter.jpg").write_text("no picture")
    page = browser.page(own_page)
    page.evaluate(f"document.getElementById('address').value = '{app}/'")
    page.set_files("#picture", pictures[2])
    page.wait_for("document.querySelectorAll('meter').length === 3")
    assert "blue: 100.0 %" in page.evaluate("document.getElementById('answer').innerText")
    page.set_files("#picture", tmp_path/"letter.jpg")
    page.wait_for("document.querySelectorAll('meter').length === 0 && !document.body.innerText.includes('Asking')")
    assert len(page.evaluate("document.getElementById('answer').innerText").split()) >= 4
    assert page.errors == []


@pytest.mark.parametrize("mobile", [False, True])
def test_the_page_as_a_visitor_uses_it(app, browser, pictures, tmp_path, mobile):
    (tmp_path/"letter.jpg").write_text("no picture")
    page = browser.page(app, **({"width": 390, "height": 844, "mobile": True} if mobile else {}))
    page.wait_for("document.querySelector('input[type=file]') !== null", 60)
    assert page.evaluate("[document.querySelector('h1').textContent, "
                         "document.querySelectorAll('h1 b').length]") == [TITLE, 0]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_files("input[type=file]", pictures[1])
    page.wait_for("document.querySelector('textarea')?.value.includes(\"gives 'green'\")", 60)
    page.evaluate("document.querySelector('button[aria-label=\"Remove Image\"]').click()")
    page.wait_for("document.querySelector('input[type=file]') !== null")
    page.set_files("input[type=file]", tmp_path/"letter.jpg")
    page.wait_for("document.body.innerText.includes('letter.jpg')", 60)


def test_the_page_asks_nobody_else(app, browser):
    page = browser.page(app)
    page.wait_for("document.querySelector('input[type=file]') !== null", 60)
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded and [address for address in loaded if not address.startswith((app, "data:", "blob:"))] == []


# The server for programs

@pytest.fixture(scope="module")
def server(folder):
    port = free_port()
    command = ["-m", "uvicorn", "--factory", "server:create_app", "--workers", "2", "--port", str(port), "--log-level",
               "warning"]
    with running(command, folder, port, "/health", OMP_NUM_THREADS="1"): yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("name", GOOD)
def test_the_server_answers(server, name):
    make, label = GOOD[name]
    answer = httpx.post(f"{server}/predict", content=make(), timeout=60)
    assert answer.status_code == 200 and answer.json()["label"] in ([label] if label else COLOUR_CLASSES)


@pytest.mark.parametrize("name", BAD)
def test_the_server_says_what_is_wrong(server, name):
    make, words = BAD[name]
    answer = httpx.post(f"{server}/predict", content=make(), timeout=60)
    assert answer.status_code == 422 and words in answer.json()["error"]


def test_the_server_answers_those_who_know_its_name(server, monkeypatch):
    for host, status in [("localhost", 200), ("[::1]:80", 200), ("evil.example", 421)]:
        answer = httpx.post(f"{server}/predict", content=picture("red"), headers={"Host": host}, timeout=60)
        assert answer.status_code == status, host
    assert "APP_HOSTS" in answer.text and not prediction_server.is_known("evil.example")
    monkeypatch.setenv("APP_HOSTS", "pictures.example, Evil.example")
    assert prediction_server.is_known("evil.example:8000") and not prediction_server.is_known("example")


def test_a_form_is_told_how_to_send_a_picture(server):
    answer = httpx.post(f"{server}/predict", files={"file": ("a.png", picture("red"))}, timeout=60)
    assert answer.status_code == 415 and "curl --data-binary @FILE" in answer.json()["error"]


def test_the_server_stops_reading_a_body_of_100_mb(server):
    sent = []
    def parts():
        for _ in range(100): sent.append(1); yield bytes(2**20)
    try: assert httpx.post(f"{server}/predict", content=parts(), timeout=60).status_code == 413
    except httpx.TransportError: assert len(sent) < 100 # the server answered and hung up while we were still sending
    assert httpx.post(f"{server}/predict", content=picture("red"), timeout=60).json()["label"] == "red"


def test_half_a_picture_is_not_waited_for(folder):
    port = free_port()
    code = ("import server, uvicorn; server.read_body.__defaults__ = (server.SERVED_BYTES, 0.5)\n"
            f"uvicorn.run(server.create_app('.'), port={port}, log_level='warning')")
    with running(["-c", code], folder, port, "/health"), socket.create_connection(("127.0.0.1", port),
        timeout=300) as caller:
        caller.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf a picture")
        answer = b"".join(iter(partial(caller.recv, 4096), b"")) # until the server hangs up
    assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 seconds" in answer


def test_the_server_works_on_as_many_pictures_as_there_are_cores(folder, monkeypatch):
    class Busy:
        now, most, lock, three = 0, 0, threading.Lock(), threading.Barrier(3)
        def predict(self, picture):
            with self.lock: self.now += 1; self.most = max(self.most, self.now)
            self.three.wait(60) # fewer at a time would never get on
            time.sleep(0.02)
            with self.lock: self.now -= 1
            return Prediction("red", 0, {"red": 1.}, False, None)
    busy = Busy()
    monkeypatch.setattr(prediction_server, "load_bundle", lambda *_, **__: busy)
    monkeypatch.setattr(prediction_server, "usable_cores", lambda: 3)
    async def ask_at_once():
        transport = httpx.ASGITransport(prediction_server.create_app(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(*(client.post("/predict", content=b"picture") for _ in range(21)))
    answers = asyncio.run(ask_at_once())
    assert [answer.status_code for answer in answers] == [200]*21 and busy.most == 3


# Folders

@pytest.mark.parametrize("kind", MAKERS)
def test_the_folder_runs_without_this_course_and_passes_its_own_test(bundle, pictures, tmp_path, kind):
    MAKERS[kind](bundle, tmp_path/"app", examples=pictures)
    (tmp_path/"app"/"conftest.py").write_text(
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'fastai', 'course_lib']))\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=tmp_path/"app", capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout
    requirements = (tmp_path/"app"/"requirements.txt").read_text()
    assert not [name for name in ("torch", "fastai", "course") if name in requirements]


@pytest.mark.parametrize(("change", "failed"),
                         [("model", "test_the_model_is_whole"), ("answer", "test_an_example_gets_its_answer")])
def test_the_owners_test_can_fail(bundle, pictures, tmp_path, change, failed):
    app = make_notebook_app(bundle, tmp_path/"app", examples=pictures)
    if change == "model": (app/"bundle"/"model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    else:
        expected = app/"examples"/"expected.json"
        expected.write_text(expected.read_text().replace("red", "blue"))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "test_app.py"], cwd=app, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 1 and failed in done.stdout


def test_the_notebook_runs_and_answers(bundle, tmp_path):
    import nbformat
    from nbclient import NotebookClient
    app = make_notebook_app(bundle, tmp_path/"app")
    notebook = nbformat.read(app/"app.ipynb", as_version=4)
    assert notebook.cells[0].source.startswith("# Which &lt;b&gt;colour&lt;/b&gt;?")
    visit = ("from datetime import datetime\nupload, button, shown, said = _.children\n"
             f"content = {picture('green')!r}\n"
             "file = dict(name='a.png', type='image/png', size=len(content), content=memoryview(content), "
             "last_modified=datetime.now())\n"
             "upload.value = (file,)\nbutton.click()\nprint(said.value, len(shown.outputs))")
    notebook.cells.append(nbformat.v4.new_code_cell(visit))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(app)}}).execute()
    assert notebook.cells[-1].outputs[-1]["text"] == "green, with a probability of more than 99%. 1\n"


@pytest.mark.parametrize("kind", MAKERS)
def test_what_somebody_else_made_stays(bundle, tmp_path, kind):
    (tmp_path/"thesis").mkdir()
    (tmp_path/"thesis"/"chapter.txt").write_text("long work")
    with pytest.raises(CourseError, match="no app of this course"): MAKERS[kind](bundle, tmp_path/"thesis")
    assert contents(tmp_path/"thesis").keys() == {Path("chapter.txt")}


def test_made_anew_it_keeps_the_owners_files_and_drops_stale_ones(bundle, pictures, tmp_path):
    app = make_gradio_app(bundle, tmp_path/"app", examples=pictures)
    (app/".git").mkdir()
    (app/".git"/"HEAD").write_text("ref: refs/heads/main")
    make_gradio_app(bundle, app, examples=pictures[:1], title="New title")
    assert (app/".git"/"HEAD").is_file()
    assert json.loads((app/"bundle"/"bundle.json").read_text())["title"] == "New title"
    assert [path.name for path in sorted((app/"examples").glob("*.jpg"))] == ["1.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_file_that_its_owner_changed_is_not_replaced(bundle, tmp_path):
    app = make_gradio_app(bundle, tmp_path/"app")
    (app/"app.py").write_text("my own")
    with pytest.raises(CourseError, match="no longer as they were made: app.py"):
        make_gradio_app(bundle, app, title="Other")
    assert (app/"app.py").read_text() == "my own"
    assert json.loads((app/"bundle"/"bundle.json").read_text())["title"] == TITLE


def test_an_update_killed_halfway_can_be_repeated(bundle, pictures, tmp_path, monkeypatch):
    app, moved = make_gradio_app(bundle, tmp_path/"app"), []
    replace = os.replace
    def stop_after_three(source, target):
        if app in Path(target).parents:
            if len(moved) == 3: raise KeyboardInterrupt
            moved.append(target)
        replace(source, target)
    monkeypatch.setattr(os, "replace", stop_after_three)
    with pytest.raises(KeyboardInterrupt): make_gradio_app(bundle, app, examples=pictures, title="Second")
    monkeypatch.undo()
    make_gradio_app(bundle, app, examples=pictures, title="Second")
    listed = json.loads((app/MARK).read_text())["files"]
    assert {path.as_posix(): sum for path, sum in contents(app).items() if path.name != MARK} == listed


def test_where_the_bundle_is_none_nothing_is_left(tmp_path, bundle):
    broken = tmp_path/"broken"
    shutil.copytree(bundle, broken)
    (broken/"model.onnx").write_bytes(b"another")
    for source in (tmp_path, broken):
        with pytest.raises(CourseError, match="bundle"): make_gradio_app(source, tmp_path/"app")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


def test_a_bad_example_is_named_and_nothing_is_left(bundle, tmp_path):
    (tmp_path/"letter.jpg").write_text("no picture")
    with pytest.raises(CourseError, match="letter.jpg"):
        make_gradio_app(bundle, tmp_path/"app", examples=[tmp_path/"letter.jpg"])
    assert not (tmp_path/"app").exists()


def test_examples_carry_no_metadata(bundle, tmp_path):
    exif = Image.Exif()
    exif[271] = "Secret camera"
    (tmp_path/"photo.jpg").write_bytes(picture(kind="JPEG", exif=exif))
    app = make_gradio_app(bundle, tmp_path/"app", examples=[tmp_path/"photo.jpg"])
    assert b"Secret camera" not in (app/"examples"/"1.jpg").read_bytes()


def test_the_card_is_one_that_a_space_reads(folder):
    import yaml
    _, facts, text = (folder/"README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(facts)
    assert (facts["title"], facts["sdk"], facts["app_file"]) == (TITLE, "gradio", "app.py")
    assert "check [the host's own page](https://huggingface.co/docs/hub/spaces-overview)" in text and "<b>" not in text
    assert "--limit-concurrency 64" in text and "proxy in front" in text
    assert "*.onnx filter=lfs" in (folder/".gitattributes").read_text()

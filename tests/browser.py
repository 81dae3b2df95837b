"Headless Chromium over its debugging protocol: open a page, use it as a visitor would, look at it"
import base64
import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--remote-debugging-port=0")
KEYS = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, ""), "Escape": (27, ""), "Delete": (46, ""),
        "Backspace": (8, ""),
        "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""),
        "ArrowDown": (40, "")} # {key: (code, text it types)}


class Page:
    "One tab. `errors` holds what scripts threw and what was written with console.error"
    def __init__(self, address, seconds):
        from websocket import create_connection
        self.socket, self.last, self.errors = create_connection(address, timeout=seconds, suppress_origin=True), 0, []
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"): self.call(f"{domain}.enable")

    def call(self, method, **params):
        "Send one command of the protocol; its result"
        self.last += 1
        self.socket.send(json.dumps({"id": self.last, "method": method, "params": params}))
        while (message := json.loads(self.socket.recv())).get("id") != self.last: self.note(message)
        if "error" in message: raise AssertionError(f"{method}: {message['error']['message']}")
        return message["result"]

    def note(self, event):
        "Keep what an event says about errors"
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
        if event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in params["args"]))

    def open(self, url, seconds=60):
        "Go to an address and wait until the page has loaded"
        error = self.call("Page.navigate", url=url).get("errorText")
        if error: raise AssertionError(f"{url}: {error}")
        self.wait_for(f"document.readyState === 'complete' && location.href !== 'about:blank' || {json.dumps(url)} "
                      f"=== 'about:blank'", seconds)

    def evaluate(self, expression):
        "Value of a JavaScript expression, which may be a promise"
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=60):
        "The value of an expression, or True for an element, once there is one; fails after `seconds`"
        end = time.monotonic() + seconds
        asked = (f"(async () => {{ const value = await ({expression}); "
                 "return value instanceof Node || value; })()")
        while True:
            try: value, reason = self.evaluate(asked), ""
            except AssertionError as error: value, reason = None, str(error) # The page may be changing just now
            if value: return value
            if time.monotonic() > end:
                raise AssertionError(f"not true after {seconds} s: {expression} {reason}; errors of the page: "
                                     f"{self.errors}")
            time.sleep(0.05)

    def why_not_installable(self):
        "What keeps the page from being installed; nothing where the browser has no such command: it is experimental"
        try: return self.call("Page.getInstallabilityErrors")["installabilityErrors"]
        except AssertionError as error:
            if "wasn't found" in str(error): return []
            raise

    def set_files(self, selector, *paths):
        "Choose files in a file input, as its dialog would"
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        assert node, f"nothing matches {selector}"
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def click(self, selector):
        "Click with the mouse in the middle of an element"
        middle = self.evaluate(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width/2, box.y + box.height/2];
        }})()""")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    def press(self, key):
        "Press and release a key: a letter or digit, or one of KEYS"
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        if key == " ": name = "Space"
        elif key in KEYS: name = key
        else: name = f"Key{key.upper()}" if key.isalpha() else f"Digit{key}"
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=name, windowsVirtualKeyCode=code, **typed)

    def to_the_top(self):
        """Begin where a visitor begins: the next Tab goes to the first thing on the page.

        Browsers differ in where it goes otherwise."""
        self.evaluate("(body => { body.tabIndex = -1; body.focus({preventScroll: true}); "
                      "body.removeAttribute('tabindex'); })(document.body)")

    def view(self, width=1280, height=800, *, mobile=False, dark=False, scale=1):
        "Set the size of the window, touch or not, light or dark"
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=mobile)
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path, *, full=False):
        "Save what is seen, or with `full` the page to its end, as PNG"
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(picture))
        return path

    def close(self):
        self.call("Page.close")
        self.socket.close()


class Browser:
    "A running Chromium; `page` opens a tab"
    def __init__(self, port, seconds):
        self.base, self.seconds, self.pages = f"http://127.0.0.1:{port}/json", seconds, []

    def page(self, url="about:blank", **view):
        "A new tab of the size `view`, as for `Page.view`, at an address"
        with urlopen(Request(f"{self.base}/new?about:blank", method="PUT"), timeout=self.seconds) as answer:
            page = Page(json.load(answer)["webSocketDebuggerUrl"], self.seconds)
        self.pages.append(page)
        page.view(**view)
        page.open(url)
        return page


class Files(SimpleHTTPRequestHandler):
    "Serves a folder below /some/path/, as hosts do that give each project a path, and keeps no log"
    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/some/path") if path.startswith("/some/path/") else "/nowhere")

    def log_message(self, *args): "Errors reach the page, where the tests look for them"


@contextmanager
def served(folder):
    "The address of a folder, while it is served"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try: yield f"http://127.0.0.1:{server.server_port}/some/path/"
    finally: server.shutdown(); server.server_close(); thread.join(10)


@cache
def usable(program):
    "Whether a browser starts and is no snap, which sees no profiles or pictures in the folder for temporary files"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    return said.returncode == 0 and not said.stdout.split()[-1:] == ["snap"]


def find_browser():
    "Path of Chromium or Chrome; skips the test where there is none"
    found = next(filter(usable, filter(None, map(shutil.which, NAMES))), None)
    if found is None:
        pytest.skip(f"no browser found that can be used; looked for {', '.join(NAMES)} (snaps do not count)")
    return found


def wait_for_port(folder, process, seconds):
    "The port that a starting browser writes into its profile"
    end = time.monotonic() + seconds
    while not (written := folder/"DevToolsActivePort").is_file() or "\n" not in written.read_text():
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        assert time.monotonic() < end, f"the browser did not start within {seconds} s"
        time.sleep(0.05)
    return int(written.read_text().split("\n")[0])


@contextmanager
def start_browser(folder, *flags, seconds=60):
    "A browser with a fresh profile in `folder`/profile, ended afterwards; `seconds` bounds every wait for an answer"
    profile = folder/"profile"
    process = subprocess.Popen([find_browser(), *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = Browser(wait_for_port(profile, process, seconds), seconds)
        yield browser
        for page in browser.pages: page.socket.close()
    finally:
        process.terminate()
        try: process.wait(10)
        except subprocess.TimeoutExpired: process.kill(); process.wait(10)

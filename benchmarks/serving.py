"""How fast served apps are: start-up, one worker process against two, and a Gradio app under many clients.

All on this machine, which plays the clients too, so that the rates are lower bounds.
`python benchmarks/serving.py [BUNDLE]`; without a bundle a tiny network stands in, and decoding the photo is nearly all
the work. Exit status 1 where a request was lost or answered wrongly."""
import io, json, os, socket, subprocess, sys, tempfile, time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
from PIL import Image
from timing import ROUNDS, compare

from course_lib.base.env import usable_cores
from course_lib.apps.parts import COLOUR_CLASSES, colour_bundle
from course_lib.apps.served import make_gradio_app

CLIENTS, REQUESTS = 50, 4      # the load on the Gradio app: clients at once, requests of each
CALLERS, PHOTOS = 8, 48        # the load on the server for programs: connections, photos in a round
PHOTO = (1600, 1200)           # pixels

def photo(
    colour:str, # Its only one, with some noise: a plain colour would be decoded faster than any photo
) -> bytes: # JPEG
    "A picture of the size that phones send"
    noise = Image.effect_noise(PHOTO, 40).convert("RGB")
    file = io.BytesIO()
    Image.blend(Image.new("RGB", PHOTO, colour), noise, 0.15).save(file, "JPEG", quality=90)
    return file.getvalue()

def free_port() -> int: # A number that no program uses now
    "A port for a server"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

def answers(
    url:str, # On this machine
) -> bool: # Whether a server answers there
    "Ask once"
    try: return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError: return False

@contextmanager
def running(
    command:list[str], # For Python, with {port} in it where the program wants one
    folder:Path,       # Of the app
    ready:str,         # Path that answers when it has started
): # (address, seconds that it took to start)
    "A server, ended afterwards"
    port, started = free_port(), time.perf_counter()
    process = subprocess.Popen([sys.executable, *(part.format(port=port) for part in command)], cwd=folder,
                               env=os.environ | {"GRADIO_SERVER_PORT": str(port)}, stdout=subprocess.DEVNULL)
    try:
        while not answers(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.perf_counter() - started > 120:
                raise SystemExit("The server did not start.")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)

def ask_server(
    client:httpx.Client, # Keeps its connection
    url:str,             # Of the server for programs
    content:bytes,       # A picture's file
) -> str: # Label
    "One request"
    return client.post(f"{url}/predict", content=content, timeout=120).json()["label"]

def load_server(
    url:str,         # Of the server for programs
    photos:dict,     # {what must be answered: file}
) -> None:
    "Send a round of photos over several connections"
    right = [list(photos)[number % len(photos)] for number in range(PHOTOS)]
    with httpx.Client() as client, ThreadPoolExecutor(CALLERS) as pool:
        said = list(pool.map(lambda label: ask_server(client, url, photos[label]), right))
    if said != right: raise SystemExit("The server answered wrongly.")

def ask_gradio(
    client:httpx.Client, # Keeps its connection
    url:str,             # Of the Gradio app
    content:bytes,       # A picture's file
) -> str: # Label
    "Upload, call, and wait for the answer, as the page does"
    api = f"{url}/gradio_api"
    path = client.post(f"{api}/upload", files={"files": ("photo.jpg", content)}, timeout=300).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    event = client.post(f"{api}/call/predict", json={"data": data}, timeout=300).json()["event_id"]
    lines = client.get(f"{api}/call/predict/{event}", timeout=300).text.splitlines()
    return json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))[0]["label"]

def gradio_client(
    url:str,     # Of the Gradio app
    photos:dict, # {what must be answered: file}
    number:int,  # Which client this is
) -> list: # For each request: (answered, right, seconds)
    "One visitor, who sends the next picture when the last is answered"
    labels, results = list(photos), []
    with httpx.Client() as client:
        for step in range(REQUESTS):
            right, started = labels[(number + step) % len(labels)], time.perf_counter()
            try: said = ask_gradio(client, url, photos[right])
            except (httpx.HTTPError, ValueError): said = None
            results.append((said is not None, said == right, time.perf_counter() - started))
    return results

def load_gradio(
    url:str,     # Of the Gradio app
    photos:dict, # {what must be answered: file}
) -> bool: # Whether all were answered, and none wrongly
    "All clients at once"
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        results = sum(pool.map(partial(gradio_client, url, photos), range(CLIENTS)), [])
    seconds, waits = time.perf_counter() - started, sorted(wait for _, _, wait in results)
    answered, right = (sum(result[place] for result in results) for place in (0, 1))
    print(f"Gradio app, {CLIENTS} clients x {REQUESTS} requests: {answered} of {len(results)} answered, "
          f"{answered - right} wrong, "
          f"{len(results)/seconds:.1f} a second; a request takes {waits[len(waits)//2]:.1f} s, "
          f"{waits[int(len(waits)*0.95)]:.1f} s at the 95th percentile")
    return right == len(results)

def right_answers(
    folder:Path, # Of the app
) -> dict[str, bytes]: # {label: photo}
    "Photos, and what the predictor says to them without a server"
    said = ("import sys; from predictor import load_bundle; "
            "print(load_bundle('bundle').predict(sys.stdin.buffer.read()).label)")
    photos = [photo(colour) for colour in COLOUR_CLASSES]
    return {subprocess.run([sys.executable, "-c", said], cwd=folder, input=content, capture_output=True,
                           check=True).stdout.decode().strip(): content
            for content in photos}

def main() -> int: # Exit status: 0 where no request was lost or answered wrongly
    "Run all of it"
    os.environ |= {"NO_PROXY": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as servers:
        bundle = Path(sys.argv[1]) if len(sys.argv) > 1 else colour_bundle(Path(name)/"bundle")
        folder = make_gradio_app(bundle, Path(name)/"app")
        photos = right_answers(folder)
        print(f"{(bundle/'model.onnx').stat().st_size/2**20:.1f} MiB of model, photos of {PHOTO[0]}x{PHOTO[1]}, "
              f"{usable_cores()} cores")
        command = ["-m", "uvicorn", "--factory", "server:create_app", "--port", "{port}", "--log-level", "warning",
                   "--workers"]
        ways:list[tuple[str, Callable, None]] = []
        for workers in (1, 2):
            url, seconds = servers.enter_context(running([*command, str(workers)], folder, "/health"))
            print(f"server with {workers} worker{'s' if workers > 1 else ''}: starts in {seconds:.1f} s")
            ways.append((f"{PHOTOS} photos, {workers} worker{'s' if workers > 1 else ''}",
                         partial(load_server, url, photos), None))
        print(f"fastest of {ROUNDS} rounds")
        compare(ways)
        url, seconds = servers.enter_context(running(["app.py"], folder, "/config"))
        print(f"Gradio app: starts in {seconds:.1f} s")
        return 0 if load_gradio(url, photos) else 1

if __name__ == "__main__": sys.exit(main())

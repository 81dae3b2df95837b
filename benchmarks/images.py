"""What the image tools claim about speed, as ratios measured in one run, and how good the small copies are.

Run `python benchmarks/images.py`. It takes about two minutes and exits with 1 where a claim does not hold.
"""
import io, os, shutil, sys, tempfile, threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from timing import ROUNDS, Way, compare

from course_lib.pictures.download import Limits, download_all
from course_lib.base.env import usable_cores
from course_lib.pictures.gather import resize_all
from course_lib.pictures.reading import open_picture, small_copy

CAMERA, SMALL = (4032, 3024), (200, 150) # Pixels; the first is 12 megapixels
LARGE_COUNT = 24     # Photos of a camera in a round; 200 take the same time each, and two minutes a round
SMALL_COUNT = 500    # Small pictures in a round
DOWNLOADS = 200      # Pictures to download
LATENCY = 0.05       # Seconds before the server answers
MAX_SIZE = 400       # Longest side of a copy, in pixels
LEAST_DECIBELS = 40. # Likeness of our copies to the slow ones

def draw(
    size:tuple, # (width, height) in pixels
    seed:int,   # Another one gives another picture
) -> Image.Image:
    "A picture with as much detail at every scale as photos have, and some grain"
    rng, total = np.random.default_rng(seed), np.zeros((size[1], size[0], 3), np.float32)
    for step, weight in ((512, 0.55), (128, 0.25), (32, 0.12), (8, 0.05), (2, 0.03)):
        cells = rng.integers(0, 256, (size[1]//step + 2, size[0]//step + 2, 3), dtype=np.uint8)
        total += weight*np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))

def write_photos(
    folder:Path, # To be made
    size:tuple,  # (width, height) in pixels
    count:int,   # Photos
    different:int=4, # Drawings; each is used several times, turned and compressed differently
) -> Path: # The folder
    "JPEG files as a camera writes them"
    folder.mkdir()
    drawings = [draw(size, seed) for seed in range(different)]
    for number in range(count):
        turn = Image.Transpose(number//different % 2) # left to right, or upside down
        drawings[number % different].transpose(turn).save(folder/f"{number}.jpg", quality=92 - number//different % 3)
    return folder

def usual_way(
    folder:Path, # Photos
    dest:Path,   # For the copies
) -> None:
    "The loop that everyone writes"
    dest.mkdir()
    for file in folder.iterdir():
        Image.open(file).verify()
        image = Image.open(file).convert("RGB")
        scale = min(1, MAX_SIZE/max(image.size))
        image.resize((round(image.width*scale), round(image.height*scale)),
                     Image.Resampling.LANCZOS).save(dest/file.name, quality=90)

def our_way(
    folder:Path, # Photos
    dest:Path,   # For the copies
) -> None:
    "Small copies, and a check of them that compares all with all as well"
    resize_all(folder, dest, MAX_SIZE).check()

def afresh(
    work:Callable, # Function of a folder that does not exist yet
    root:Path,     # Where the folder is made
) -> Callable: # Function without arguments
    "Do something in a new folder every time"
    def run():
        folder = Path(tempfile.mkdtemp(dir=root))
        work(folder/"dest")
        shutil.rmtree(folder)
    return run

def ways_to_shrink(
    folder:Path, # Photos
    root:Path,   # For temporary folders
    least:float, # What we claim
) -> list[Way]: # The usual way first
    "Check and resize all photos of a folder; only our way compares them with one another"
    return [("verify, open, resize, save, one by one", afresh(partial(usual_way, folder), root), None),
            ("resize_all(...).check()", afresh(partial(our_way, folder), root), least)]

def decibels(
    folder:Path, # Photos
) -> float: # Lowest peak signal-to-noise ratio of all photos
    "How close our small copies are to those that are decoded in full, before either is compressed"
    found = []
    for file in folder.iterdir():
        with open_picture(file) as image: ours = small_copy(image, MAX_SIZE)
        slow = Image.open(file).resize(ours.size, Image.Resampling.LANCZOS)
        error = np.asarray(ours, float) - np.asarray(slow, float)
        found.append(10*np.log10(255**2/(error**2).mean()))
    return min(found)

class PhotoHandler(BaseHTTPRequestHandler):
    "Answers every request with another picture, late"
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    def do_GET(self):
        threading.Event().wait(LATENCY)
        content = self.server.pictures[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *args): "Nothing is printed"

def start_server() -> ThreadingHTTPServer:
    "A server of pictures on a free port of this computer"
    server = ThreadingHTTPServer(("127.0.0.1", 0), PhotoHandler)
    server.daemon_threads, server.pictures = True, {}
    for number in range(DOWNLOADS):
        buffer = io.BytesIO()
        Image.new("RGB", SMALL, (number, 0, 0)).save(buffer, "JPEG")
        server.pictures[f"/{number}.jpg"] = buffer.getvalue()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def one_by_one(
    urls:list, # Addresses
    dest:Path, # Folder to make
) -> None:
    "The loop that everyone writes"
    dest.mkdir()
    for number, url in enumerate(urls): (dest/f"{number}.jpg").write_bytes(requests.get(url, timeout=10).content)

def ways_to_download(
    servers:list, # From `start_server`; photos of a search come from as many hosts
    root:Path,    # For temporary folders
) -> list[Way]: # The usual way first
    "Fetch as many pictures from one host, and spread over many"
    hosts = [f"127.0.0.1:{server.server_port}" for server in servers]
    spread = [f"http://{hosts[number % len(hosts)]}/{number}.jpg" for number in range(DOWNLOADS)]
    one = [f"http://{hosts[0]}/{number}.jpg" for number in range(DOWNLOADS)]
    own = Limits(per_host=16) # for a server of one's own; two connections are polite to those of others
    return [("download: requests.get, one by one", afresh(partial(one_by_one, one), root), None),
            ("download_all, one host, per_host=16", afresh(lambda dest: download_all(one, dest, own, hosts), root), 8.),
            (f"download_all, {len(hosts)} hosts",
             afresh(lambda dest: download_all(spread, dest, allow_hosts=hosts), root), 8.)]

def main() -> int: # Exit status: 0 where all claims hold
    "Run all comparisons"
    os.environ |= {"IN_TEST": "1", "NO_PROXY": "127.0.0.1"} # no progress bars
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        large, small = write_photos(root/"large", CAMERA, LARGE_COUNT), write_photos(root/"small", SMALL, SMALL_COUNT,
            different=SMALL_COUNT)
        size = sum(file.stat().st_size for file in large.iterdir())/LARGE_COUNT/2**20
        print(f"{LARGE_COUNT} photos of 12 megapixels, {size:.1f} MiB each, and {SMALL_COUNT} of "
              f"{SMALL[0]}x{SMALL[1]}; "
              f"{usable_cores()} cores; fastest of {ROUNDS} rounds")
        claims = [compare(ways_to_shrink(large, root, 8.)), compare(ways_to_shrink(small, root, 1.))]
        least = decibels(large)
        claims.append(least >= LEAST_DECIBELS)
        print(f"our copies against those decoded in full: {least:.1f} dB at least   claim: {LEAST_DECIBELS:g} dB, "
              f"{'holds' if claims[-1] else 'DOES NOT HOLD'}")
        servers = [start_server() for _ in range(8)]
        claims.append(compare(ways_to_download(servers, root)))
        for server in servers: server.shutdown(); server.server_close()
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())

"""How long a visitor of the web app waits for the first answer, and how far its answers are from Python's.

Run `python benchmarks/web_app.py BUNDLE PICTURE...` with a folder that `export_bundle` wrote and some pictures, 50 or
more. It needs Chromium, and exits with 1 where an answer differs.
"""
import sys, tempfile, time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent/"tests"))
from browser import VisitedPage, served, start_browser

from course_lib.apps.predictor import load_bundle
from course_lib.apps.web_app import make_web_app

MOST_OFF = 0.01 # Difference of a probability
CARDS = """[...document.querySelectorAll("#results article:not(.problem)")].reverse().map(card => ({
    label: card.querySelector("h3").textContent, probability: Number(card.querySelector("data").value)}))"""

def mark(
    page:VisitedPage, # The open app
    name:str,  # 'ready' or 'answered'
) -> float: # Seconds since the visit began
    "When the page first did something"
    return page.wait_for(f"performance.getEntriesByName('{name}')[0]?.startTime", 120)/1000

def answers(
    page:VisitedPage,           # The open app
    pictures:list[Path], # To be classified
) -> list[dict]: # label and probability of each
    "Give the page all pictures and wait for its answers"
    before = page.evaluate(f"{CARDS}.length")
    page.set_files("#files", *pictures)
    page.wait_for(f"document.querySelectorAll('#results article').length === {before + len(pictures)}", 600)
    return page.evaluate(CARDS)[before:]

def time_visit(
    url:str,      # Of the app
    browser,      # From `start_browser`
    picture:Path, # To be classified
    words:str,    # Which visit this is
) -> VisitedPage: # The open app
    "Open the app as a visitor, ask once, and print how long it took"
    page = browser.page(url)
    ready = mark(page, "ready")
    start = time.perf_counter()
    answers(page, [picture])
    print(f"{words}: ready after {ready:.2f} s, then {time.perf_counter() - start:.2f} s to the answer")
    return page

def agreement(
    bundle:Path,         # What the app was made of
    found:list[dict],    # From `answers`
    pictures:list[Path], # The pictures they belong to
) -> bool: # Whether all labels are the same and all probabilities near
    "Compare the page's answers with Python's"
    predictor = load_bundle(bundle)
    truths = [predictor.predict(picture) for picture in pictures]
    same = sum(truth.label == answer["label"] for truth, answer in zip(truths, found, strict=True))
    off = max(abs(truth.probabilities[answer["label"]] - answer["probability"]) for truth,
              answer in zip(truths, found, strict=True))
    print(f"{same} of {len(pictures)} labels are Python's; the largest difference of a probability is {off:.1e}")
    return same == len(pictures) and off <= MOST_OFF

def main(
    bundle:Path,         # From `export_bundle`
    pictures:list[Path], # To be classified
) -> bool: # Whether the page answers as Python does
    "Two visits, the second without downloads, then all pictures"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, start_browser(Path(folder)) as browser:
        with served(make_web_app(bundle, Path(folder)/"app")) as url:
            first = time_visit(url, browser, pictures[0], "first visit")
            first.wait_for("!document.querySelector('#offline').hidden", 120)
            page = time_visit(url, browser, pictures[0], "second visit")
            start = time.perf_counter()
            found = answers(page, pictures)
            print(f"{(time.perf_counter() - start)/len(pictures):.3f} s for each further picture")
    return agreement(bundle, found, pictures)

if __name__ == "__main__":
    if len(sys.argv) < 3: sys.exit(__doc__)
    sys.exit(not main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))

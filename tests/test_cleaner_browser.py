"The cleaner in a real JupyterLab, with mouse and keyboard: no mark gets lost, and all that was moved comes back"
import json
import os
import signal
import time

import pytest
from browser import start_browser, start_jupyter
from PIL import Image, ImageDraw

from course_lib.tools.browser import run_notebook

KINDS = ("circle", "square", "triangle")
CELLS = ("""from pathlib import Path
import os
from course_lib.pictures.cleaner import Cleaner
Path("kernel.txt").write_text(str(os.getpid()))
files = sorted(Path("shapes").rglob("*.png"))
rows = [(file, file.parent.name, int(file.stem[-1]), "train" if int(file.stem[-1]) % 2 else "valid", "square", 0.9)
        for file in files]""",
         "Cleaner(rows)", "1 + 1")


# A notebook with pictures, and Jupyter to open it

def draw(kind, file):
    picture = Image.new("RGB", (120, 90), "#e2efdc")
    draw = ImageDraw.Draw(picture)
    {"circle": draw.ellipse, "square": draw.rectangle, "triangle": lambda box,
     fill: draw.regular_polygon((60, 45, 35), 3, fill=fill)}[kind]((30, 15, 90, 75), fill="#2f5d8a")
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


@pytest.fixture
def desk(tmp_path):
    "A folder with a notebook and eighteen pictures; two squares lie among the circles"
    work = tmp_path/"work"
    for kind in KINDS:
        for number in range(6):
            draw("square" if kind == "circle" and number > 3 else kind, work/"shapes"/kind/f"{kind}-{number}.png")
    cells = [{"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source, "outputs": [],
              "execution_count": None} for number, source in enumerate(CELLS)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    (work/"clean.ipynb").write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4,
                                                "nbformat_minor": 5}), encoding="utf-8")
    return work


def contents(folder): return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}


# What a visitor does

class Visitor:
    "Somebody in front of the notebook"
    def __init__(self, page, work):
        self.page, self.work = page, work
        self.run()

    def run(self):
        "Run all cells once the kernel is there"
        run_notebook(self.page)
        self.page.wait_for("document.querySelector('.jp-Cell:nth-of-type(3) .jp-OutputArea-output')?.innerText.trim() "
                           "=== '2'"
                           " || [...document.querySelectorAll('.jp-OutputArea-executeResult')].some(output => "
                           "output.innerText.trim().endsWith('2'))", 240)
        self.wait_for_cards(12)

    def wait_for_cards(self, count):
        self.page.wait_for(f"document.querySelectorAll('.cleaner-card').length === {count}")

    def files(self):
        "The names on the cards"
        return self.page.evaluate("[...document.querySelectorAll('.cleaner-card .widget-dropdown "
                                  ".widget-label')].map(label => label.innerText)")

    def choose(self, description, words):
        "Choose from the menu beside or below some words"
        self.page.wait_for(f"{menu_of(description)} !== undefined")
        self.page.evaluate(f"""(() => {{const menu = {menu_of(description)};
            menu.value = [...menu.options].find(option => option.text === {json.dumps(words)}).value;
            menu.dispatchEvent(new Event("change", {{bubbles: true}}))}})()""")

    def chosen(self, description): return self.page.evaluate(f"{menu_of(description)}.selectedOptions[0].text")

    def focus(self, description): self.page.evaluate(f"{menu_of(description)}.focus()")

    def click(self, words):
        "Press a button of the cleaner with the mouse"
        self.page.evaluate("[...document.querySelectorAll('.cleaner button')].find(button => button.innerText === "
                           f"{json.dumps(words)}).id = 'wanted'")
        self.page.wait_for("!document.querySelector('#wanted').disabled")
        self.page.click("#wanted")
        self.page.evaluate("document.querySelector('#wanted').id = ''")

    def wait_for_message(self, words):
        self.page.wait_for(f"document.querySelector('.cleaner-message')?.innerText.includes({json.dumps(words)})")

    def wait_for_decisions(self, decisions):
        "What is on the disk, once it is what it should be"
        file, end = self.work/"shapes-cleaning"/"decisions.json", time.monotonic() + 120
        while (found := json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None) != decisions:
            assert time.monotonic() < end, f"{found} instead of {decisions}; {self.page.errors}"
            time.sleep(0.05)


def menu_of(description):
    "A menu, in JavaScript"
    starts = f"part => part.innerText.trim().startsWith({json.dumps(description)})"
    return f"[...document.querySelectorAll('.cleaner .widget-dropdown')].find({starts})?.querySelector('select')"


def test_marks_apply_and_undo(desk, tmp_path):
    before, home = contents(desk/"shapes"), tmp_path/"home"
    home.mkdir()
    with start_jupyter(desk, home, "clean.ipynb") as address, start_browser(tmp_path) as browser:
        visitor = Visitor(browser.page(address, width=1400, height=1100), desk)
        first = {"circle/circle-5.png": "move to square"}
        visitor.choose("Class", "circle")
        visitor.wait_for_cards(6)
        assert visitor.files()[0] == "circle-5.png" # The worst first
        visitor.choose("circle-5.png", "square")
        visitor.wait_for_decisions(first)

        visitor.choose("Class", "triangle") # Another class, another part: fastai's widget would have forgotten by now
        visitor.choose("Part", "valid")
        visitor.wait_for_cards(3)
        visitor.focus("triangle-4.png")
        for key in "dd": visitor.page.press(key) # In JupyterLab this deletes a cell, unless it is told not to
        visitor.page.press("Tab")
        visitor.page.press("k")
        second = first | {"triangle/triangle-4.png": "delete", "triangle/triangle-2.png": "keep"}
        visitor.wait_for_decisions(second)
        assert visitor.page.evaluate("document.querySelectorAll('.jp-Notebook .jp-Cell').length") == len(CELLS)
        # One sees where one is
        assert visitor.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

        os.kill(int((desk/"kernel.txt").read_text()), signal.SIGKILL)
        visitor.page.wait_for("!!document.querySelector('.jp-Dialog')", 60)
        visitor.page.click(".jp-Dialog .jp-mod-accept")
        killed = (desk/"kernel.txt").read_text()
        visitor.run()
        assert (desk/"kernel.txt").read_text() != killed
        visitor.choose("Class", "circle")
        visitor.wait_for_cards(6)
        assert visitor.chosen("circle-5.png") == "square"

        visitor.choose("circle-4.png", "square")
        second["circle/circle-4.png"] = "move to square"
        visitor.wait_for_decisions(second)
        visitor.click("Apply…")
        visitor.page.wait_for(
            "document.querySelector('.cleaner-plan').innerText.includes('shapes/square/circle-5.png')")
        assert contents(desk/"shapes") == before # Nothing without consent
        visitor.click("Apply")
        visitor.wait_for_message("Done")
        moved = {"circle/circle-5.png": "square/circle-5.png", "circle/circle-4.png": "square/circle-4.png"}
        after = {moved.get(name, name): content for name, content in before.items()
                 if name != "triangle/triangle-4.png"}
        assert contents(desk/"shapes") == after
        assert contents(desk/"shapes-cleaning") == {
            "trash/1/triangle/triangle-4.png": before["triangle/triangle-4.png"]}
        visitor.wait_for_decisions({"triangle/triangle-2.png": "keep"})
        visitor.wait_for_cards(4)

        visitor.click("Undo")
        visitor.wait_for_message("Taken back")
        assert contents(desk/"shapes") == before
        assert contents(desk/"shapes-cleaning") == {}
        visitor.wait_for_decisions(second)
        visitor.wait_for_cards(6)
        assert visitor.chosen("circle-5.png") == "square"

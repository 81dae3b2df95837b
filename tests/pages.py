"""What a learner meets on a page, counted: `python tests/pages.py` prints a line for each.

A cell is seen unless it is hidden or folded; words are those of the prose, without addresses; code is what is seen,
without `#|` lines. The first result is the first cell that trains a model, asks one, or works out its accuracy;
a loop with `backward` is training by hand.
"""
import json
import re
from dataclasses import dataclass
from pathlib import Path

NBS = Path(__file__).resolve().parents[1]/"nbs"
FOLDED = re.compile(r"^#\|\s*(hide\b|exporti?\b|default_exp\b|echo:\s*false|code-fold:\s*true|include:\s*false)", re.M)
RESULT = re.compile(r"\.(fine_tune|fit|fit_one_cycle|train|predict)\(|^accuracy\w*\b.* = |"
                    r"^for .*\n(?: .*\n)* .*\.backward\(\)", re.M)


@dataclass(frozen=True)
class Page:
    "A lesson or a dive as its reader meets it"
    path:Path     # Of the notebook
    cells:int     # All that hold something, but for the front matter
    words:int     # In prose
    code:int      # Lines seen
    result:tuple  # (cells seen, words, lines of code) up to and with the first result, or ()
    picks:int     # Cells with `lesson.pick`
    machinery:int # Seen `lesson.record` and `test_` calls
    codes:tuple   # Row codes, such as 'I7', in prose


def cells_of(path):
    "Each cell that holds something: (kind, source, whether it is seen)"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.strip() and cell["cell_type"] != "raw":
            yield cell["cell_type"], source, cell["cell_type"] == "markdown" or not FOLDED.search(source)


def words_of(prose): return len(re.sub(r"\(https?:[^)]*\)", "", prose).split())


def code_lines(source): return [line for line in source.splitlines() if line.strip() and not line.startswith("#|")]


def counted(path):
    cells = seen = words = code = picks = machinery = 0
    result, codes = (), []
    for kind, source, is_seen in cells_of(path):
        cells, seen = cells + 1, seen + is_seen
        if kind == "markdown":
            words += words_of(source)
            codes += re.findall(r"\b[IDFMPTCN]\d{1,2}\b", source)
            continue
        picks += "lesson.pick(" in source
        if not is_seen: continue
        code += len(code_lines(source))
        machinery += len(re.findall(r"lesson\.record\(|\btest_(?:eq|close|fail|ne|is)\(", source))
        if not result and RESULT.search(source): result = seen, words, code
    return Page(path, cells, words, code, result, picks, machinery, tuple(codes))


def sections_of(path):
    "All headings of a page, without the title and those of callouts"
    found = []
    for kind, source, _ in cells_of(path):
        fences = ""
        for line in source.splitlines():
            if line.startswith((":::", "```")): fences = "" if fences else line[:3]
            heading = re.match(r"##+ (.+?)(?: *\{.*\})?$", line)
            if kind == "markdown" and heading and not fences: found.append(heading[1])
    return found


def section_text(path, wanted):
    "Prose and code under a heading, up to the next one of its level or above; of the whole page for '*'"
    lines, inside, level = [], wanted == "*", 0
    for kind, source, _ in cells_of(path):
        fenced = False
        for line in source.splitlines():
            fenced ^= line.startswith("```")
            heading = re.match(r"(##+) (.+?)(?: *\{.*\})?$", line) if kind == "markdown" and not fenced else None
            if heading and wanted != "*":
                if heading[2] == wanted: inside, level = True, len(heading[1])
                elif inside and len(heading[1]) <= level: inside = False
            if inside: lines.append(line)
    return "\n".join(lines)


def pages(): return [counted(path) for folder in (NBS, NBS/"dives") for path in sorted(folder.glob("*.ipynb"))]


def main():
    print(f"{'page':36} cells words code  first result (cells, words, lines)")
    for page in pages():
        name = page.path.relative_to(NBS).with_suffix("").as_posix()
        print(f"{name:36} {page.cells:5} {page.words:5} {page.code:4}  {page.result or ''}")


if __name__ == "__main__": main()

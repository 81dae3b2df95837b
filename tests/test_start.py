"Pages for the first hour: notebooks, machines, and what the words mean"
import re
from itertools import pairwise

import pytest
from pages import NBS, cells_of, sections_of
from test_pages import WRITTEN

PAGE, ENTRY = NBS/"start"/"glossary.ipynb", re.compile(r"^\*\*(.+?)\*\*: (.+) \(\[.+?\]\((?:\.\./)?(.+?)\.ipynb.*\)\)$")
NO_TERMS = {"begin", "train a model", "performance", "weight assignment", "fastai", # Bold for another reason
            "kinds", "layers", "items", "pictures", "x", "y", "distorted", "five folds",
            "anchor", "target", "context", "clipped", "stream", "units", "random", "stem", "stages"}
ALSO = {"at the edge": "edge", "data augmentation": "augmentation", "entity embeddings": "embedding",
        "diverged": "diverge", "matrix multiplication": "matrix product", "rectified linear unit": "ReLU",
        "seed": "random seed",
        "key": "query, key, value", "query": "query, key, value", "value": "query, key, value", "unfreeze": "frozen"}


def prose(path): return "\n".join(source for kind, source, _ in cells_of(path) if kind == "markdown")


def entries():
    lines = [line for line in prose(PAGE).splitlines() if line and not line.startswith(("#", ">"))][1:]
    return [ENTRY.match(line) or pytest.fail(f"no entry: {line}") for line in lines]


def key(term): return term.split(" (")[0].lower().replace("-", " ").rstrip("s")


def test_the_glossary_is_in_order_and_says_each_word_once():
    words = [entry[1].lower().replace("-", " ") for entry in entries()]
    assert len(words) > 100 and all(one < two for one, two in pairwise(words))
    assert sections_of(PAGE) == sorted({word[0].upper() for word in words})


@pytest.mark.parametrize("page", WRITTEN)
def test_new_words_of_a_lesson_stand_in_the_glossary(page):
    known = {key(entry[1]) for entry in entries()}
    bold = re.findall(r"\*\*([^*\n`]+)\*\*", prose(NBS/f"{page}.ipynb"))
    terms = {term for term in bold if len(term.split()) <= 3 and term[0].islower() and term[-1].isalnum()}
    assert terms and {term for term in terms - NO_TERMS if key(ALSO.get(term, term)) not in known} == set()


def test_a_page_uses_the_word_that_leads_to_it():
    other = {"cosine similarity": "cosine", "data loader": "dataloader", "precision at k": "precision at",
             "query, key, value": "query", "random seed": "seed",
             "regularisation": "regulari", "distillation": "distil"}
    for entry in entries():
        word = other.get(entry[1], entry[1].split(" (")[0]).lower().replace("-", " ")
        page = "\n".join(source for _, source, _ in cells_of(PAGE.parent/f"../{entry[3]}.ipynb")).lower()
        assert word in page.replace("-", " "), (entry[1], entry[3])

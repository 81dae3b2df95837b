"Quizzes: the files say what is true, mistakes in them are named, and every reply gets its feedback in a browser"
import html, json, random, re, shutil, subprocess, sys
from collections import Counter
from importlib import resources

import nbformat
import pytest
import yaml
from jsonschema import Draft202012Validator
from nbclient import NotebookClient

from course_lib.quiz import schema as schema_module
from course_lib.base.env import CourseError
from course_lib.quiz.questions import KINDS, answers_markdown, load_quiz, read_quiz, to_jupyterquiz
from course_lib.quiz.schema import quiz_folder

FILES = sorted(quiz_folder().glob("*.yml"))
QUIZZES = {file.stem: load_quiz(file.stem) for file in FILES}
BY_ID = {(lesson, question.id): question for lesson, quiz in QUIZZES.items() for question in quiz.questions}
CHOICE = {"text": "This one", "feedback": "It is.", "right": True}
OTHER = {"text": "That one", "feedback": "It is not."}


def question(**changes):
    "A sound question with some fields changed; None takes a field away"
    fields = {"id": "which", "row": "M1", "kind": "single", "ask": "Which one?", "choices": [CHOICE, OTHER],
              "answer": "This one."}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def write(folder, questions, lesson="00_test"):
    file = folder/"00_test.yml"
    file.write_text(yaml.safe_dump({"lesson": lesson, "questions": questions}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def schema():
    schema = json.loads((quiz_folder()/"schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


# The form of the files

@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_follows_the_schema(file, schema):
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert not [f"{list(error.path)}: {error.message}" for error in schema.iter_errors(raw)]
    assert [q.id for q in load_quiz(file.stem).questions] == [q["id"] for q in raw["questions"]]


NUMBER = {"value": 2, "feedback": "Yes.", "right": True}
BROKEN = {
    "number without a proof": (question(kind="number", otherwise="No.", choices=[NUMBER]),
                               "question which has no 'proof'"),
    "code without a claim": (question(answer="It is\n```python\n1\n```\n"), "question which has no 'proof'"),
    "claim without code": (question(proof={"claim": "True"}),
                           "'claim' is about the code of the answer, and there is none"),
    "unknown proof": (question(proof={"clam": "True"}), "'clam' that is not known. Did you mean 'claim'"),
    "formula in a question": (question(ask="What is $x$?"), "'ask' must be text without formulas"),
    "every choice is right": (question(kind="multiple",
                                       choices=[CHOICE, CHOICE | {"text": "b"}, CHOICE | {"text": "c"}]),
                                       "every choice is right"),
    "unknown kind": (question(kind="singel"),
                     r"00_test.yml, question which: there is no kind 'singel'. Did you mean 'single'"),
    "missing field": (question(answer=None), "question which has no 'answer'"),
    "missing id": (question(id=None), "question 1 has no 'id'"),
    "empty text": (question(ask=" "), "'ask' must be text"),
    "misspelt field": (question(anser="Yes."), "'anser' that is not known. Did you mean 'answer'"),
    "number for a text": (question(ask=7), "'ask' must be text, and 7 came"),
    "no choices": (question(choices=[]), "'choices' must be a list"),
    "choice is a text": (question(choices=["a", "b"]), r"choice 1 must have the fields text, feedback, and 'a' came"),
    "no feedback": (question(choices=[CHOICE, {"text": "That one"}]), "question which, choice 2 has no 'feedback'"),
    "right is a text": (question(choices=[CHOICE, OTHER | {"right": "maybe"}]),
                        "'right' must be true or false, and 'maybe' came"),
    "no right choice": (question(choices=[OTHER, OTHER | {"text": "Or that"}]), "no choice is right"),
    "two right choices": (question(choices=[CHOICE, OTHER | {"right": True}]), "2 choices are right"),
    "one right of many": (question(kind="multiple", choices=[CHOICE, OTHER, OTHER | {"text": "c"}]),
                          "one choice is right"),
    "text for a number": (question(kind="number", otherwise="No.", choices=[NUMBER | {"value": "2"}]),
                          "'value' must be a number, and '2' came"),
    "truth for a number": (question(kind="number", otherwise="No.", choices=[NUMBER | {"value": True}]),
                           "'value' must be a number"),
    "no otherwise": (question(kind="number", choices=[NUMBER]), "no 'otherwise'"),
    "otherwise where one clicks": (question(otherwise="No."), "'otherwise' is for number and text"),
    "spellings are no list": (question(kind="text", otherwise="No.", choices=[CHOICE | {"also": "a"}]),
                              "'also' must be a list of texts"),
    "question is a text": ("Which one?", "question 1 must have the fields id, row"),
}


@pytest.mark.parametrize("broken, message", BROKEN.values(), ids=BROKEN)
def test_mistake_is_named(broken, message, tmp_path, schema):
    assert list(schema.iter_errors({"lesson": "00_test", "questions": [broken]}))
    with pytest.raises(CourseError, match=message): read_quiz(write(tmp_path, [broken]))


def test_sound_questions_are_read(tmp_path, schema):
    questions = [question(),
                 question(id="both", kind="multiple", choices=[CHOICE, CHOICE | {"text": "b"}, OTHER | {"text": "c"}]),
                 question(id="two", kind="number", otherwise="No.", choices=[NUMBER], proof={"number": "1 + 1"}),
                 question(id="this", kind="text", otherwise="No.", choices=[CHOICE | {"also": ["this"]}])]
    assert not list(schema.iter_errors({"lesson": "00_test", "questions": questions}))
    assert [q.kind for q in read_quiz(write(tmp_path, questions)).questions] == list(KINDS)


@pytest.mark.parametrize("questions, lesson, message", [
    ([question(), question()], "00_test", "2 questions have the id 'which'"),
    ([question()], "01_other", "'lesson' must be the name of the file, and '01_other' came"),
    ([], "00_test", "'questions' must be a list"),
    ([question(kind="text", otherwise="No.", choices=[CHOICE, OTHER | {"text": "THIS ONE"}])], "00_test",
     "'this one' stands there twice"),
    *[([question(kind="number", otherwise="No.", choices=[NUMBER | {"value": float(value)}], proof={"number": "2"})],
       "00_test",
       "'value' must be a number") for value in ("inf", "nan")],
])
def test_mistake_that_no_schema_sees_is_named(questions, lesson, message, tmp_path):
    with pytest.raises(CourseError, match=message): read_quiz(write(tmp_path, questions, lesson))


@pytest.mark.parametrize("content, message", [
    (b"questions: [", "cannot be read"), (b"", "must have the fields"), (b"- a\n- b\n", "must have the fields"),
    (b"lesson: \xff\xfe", "cannot be read"), (b"lesson: 00_test\n", "no 'questions'"),
    (b"lesson: 2026-13-45\n", "cannot be read: month must be"),
    (b"a: " + b"["*3000, "cannot be read.*nested too deeply"),
    (b"a: " + b"["*3000 + b"]"*3000, "cannot be read.*nested too deeply"),
])
def test_file_that_is_no_quiz_is_refused(content, message, tmp_path):
    (tmp_path/"00_test.yml").write_bytes(content)
    with pytest.raises(CourseError, match=f"00_test.yml.* {message}"): read_quiz(tmp_path/"00_test.yml")


def test_file_cannot_run_code(tmp_path):
    proof = tmp_path/"proof"
    (tmp_path/"00_test.yml").write_text(f"lesson: !!python/object/apply:pathlib.Path.touch\n- "
                                        f"!!python/object/apply:pathlib.Path ['{proof}']\n")
    with pytest.raises(CourseError, match="cannot be read"): read_quiz(tmp_path/"00_test.yml")
    assert not proof.exists()


def test_without_a_clone_the_package_brings_the_files(monkeypatch, tmp_path):
    package = tmp_path/"stored"
    package.mkdir()
    write(package, [question()])
    monkeypatch.setattr(schema_module, "checkout", lambda: None)
    monkeypatch.setattr(resources, "files", {"course_lib.quizzes": package}.__getitem__)
    assert load_quiz("00_test").questions[0].id == "which"


@pytest.mark.parametrize("lesson, ids, message", [
    ("04_mnits", None, "Did you mean '04_mnist'"), ("04_mnist", ["rulu"], "no question 'rulu'. Did you mean 'relu'")])
def test_unknown_name_is_answered_with_the_nearest(lesson, ids, message):
    with pytest.raises(CourseError, match=message): load_quiz(lesson).pick(ids)


def test_import_is_light():
    code = ("import sys, course_lib.quiz.questions as quiz; quiz.load_quiz('04_mnist'); "
            "print([m for m in ('torch', 'IPython', 'jupyterquiz', 'jsonschema', 'markdown_it') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# The questions on the lessons

def every_quiz(test): return pytest.mark.parametrize("lesson, quiz", QUIZZES.items(), ids=QUIZZES)(test)


def those(wanted):
    "Lesson and id of the questions for which `wanted(question)` is true, as parameters of a test"
    keys = [key for key, question in BY_ID.items() if wanted(question)]
    return pytest.mark.parametrize("lesson, id", keys, ids=map("-".join, keys))


COVERED = {
    "01_intro": (62, "I", range(1, 23)),
    "02_deployment": (53, "D", range(1, 17)),
    "03_foundations": (43, "F", range(1, 12)),
    "04_mnist": (45, "M", range(1, 11)),
    "05_pets": (59, "P", [*range(1, 14), 15]),
    "06_tabular": (55, "T", [*range(1, 9), 10]),
    "07_collab": (41, "C", [*range(1, 7), 8]),
    "08_nlp": (86, "N", [*range(1, 7), 8]),
} # {lesson: (questions, letter of its rows in the table of contents, rows with questions)}


@every_quiz
def test_questions_for_each_topic(lesson, quiz):
    count, letter, rows = COVERED[lesson]
    assert [q.number for q in quiz.questions] == list(range(1, count + 1))
    assert {q.row for q in quiz.questions} == {f"{letter}{i}" for i in rows}
    typed_or_many = sum(q.kind != "single" for q in quiz.questions)
    assert count/4 < typed_or_many < count/2


@every_quiz
def test_position_and_length_do_not_give_the_answer_away(lesson, quiz):
    single = [q for q in quiz.questions if q.kind == "single"]
    right = [[c.right for c in q.choices].index(True) for q in single]
    counts = Counter(right).values()
    assert max(counts) - min(counts) <= 1
    assert not re.search(r"(\d)\1\1", "".join(map(str, right)))
    lengths = [[len(c.text) for c in q.choices] for q in single]
    longest, shortest = (sum(texts[i] == extreme(texts) for texts, i in zip(lengths, right, strict=True))
                         for extreme in (max, min))
    assert longest < len(single)/3 and shortest < len(single)/2


@every_quiz
def test_nothing_is_said_twice(lesson, quiz):
    said = Counter(choice.feedback for q in quiz.questions for choice in q.choices)
    assert max(said.values()) == 1
    for q in quiz.questions: assert all(c.feedback != c.text for c in q.choices), q.id


@every_quiz
def test_sections_are_headings_of_their_page(lesson, quiz):
    for page in {q.page for q in quiz.questions}:
        file = quiz_folder().parent/"nbs"/f"{page or lesson}.ipynb"
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        headings = set(re.findall(r"^#+ (.+?)(?: \{.*\})?$", text, re.M))
        assert {q.section for q in quiz.questions if q.page == page} <= headings, page or lesson


@pytest.fixture
def lesson_imports(monkeypatch, tmp_path):
    "The names that code in the answers relies on"
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
    import torch
    from torch import nn
    torch.manual_seed(42)
    return {"torch": torch, "nn": nn, "F": nn.functional}


def code_in(text): return re.findall("`([^`]+)`", text)


def code_blocks(text): return re.findall(r"```python\n(.*?)```", text, re.S)


def raises(error, call, *args, words=""):
    "Whether a call raises this error, with these words in it"
    try: call(*args)
    except error as raised: return words in str(raised)
    return False


def close(values, wanted, tolerance): return values == pytest.approx(wanted, abs=tolerance)


def same(result, truth):
    "Whether a choice computes what it should, up to rounding"
    return result is not None and result.shape == truth.shape and bool((result - truth).abs().max() < 1e-5)


@pytest.fixture
def proof_names(lesson_imports):
    "All that an expression under `proof` in a quiz file may use"
    def run(code, **names):
        "Value of an expression; None where it fails in a way that a reader would see as well"
        try: return eval(code, lesson_imports | {"re": re} | names)
        except (AttributeError, IndexError, RuntimeError, SyntaxError, TypeError): return None
    return lesson_imports | {"re": re, "imports": lesson_imports, "run": run, "raises": raises, "close": close,
                             "same": same}


@those(lambda question: question.kind == "number")
def test_right_number_is_right(lesson, id, proof_names):
    question = BY_ID[lesson, id]
    truth = eval(question.proof["number"], proof_names)
    assert [c.right for c in question.choices if abs(c.value - truth) <= c.tolerance + 1e-9] == [True]


@those(lambda question: "choices" in question.proof)
def test_choices_are_as_right_as_they_say(lesson, id, proof_names):
    question = BY_ID[lesson, id]
    for choice in question.choices:
        for text in choice.spellings:
            codes = code_in(text)
            names = proof_names | {"text": text, "codes": codes, "code": codes[0] if codes else ""}
            assert bool(eval(question.proof["choices"], names)) == choice.right, text


@those(lambda question: code_blocks(question.answer))
def test_code_in_the_answer_runs_and_shows_what_it_says(lesson, id, proof_names):
    question = BY_ID[lesson, id]
    names = proof_names | {"asked": "\n".join(code_blocks(question.ask))}
    for code in [*code_blocks(question.answer), question.proof.get("first", "")]: exec(code, names)
    assert eval(question.proof["claim"], names)


def test_proofs_are_there_and_cannot_pass_by_themselves():
    "Each kind of proof is in use, and none of them is a constant truth"
    proofs = [(kind, text) for question in BY_ID.values() for kind, text in question.proof.items()]
    assert {kind for kind, _ in proofs} == {"number", "first", "claim", "choices"}
    assert not [text for kind,
                text in proofs if kind in ("claim", "choices") and not re.search(r"[=<>]| is |\bnot\b|[\w.]\(", text)]


# The ways to show them

@pytest.fixture(scope="module")
def shown():
    """What two cells of one notebook show that run the same quiz, and a number drawn after each.

    {lesson: [[output, …], [output, …]]}"""
    code = ("import random; from course_lib.quiz.questions import show_quiz; "
            "random.seed(7); show_quiz('{}'); print(random.random())")
    cells = [nbformat.v4.new_code_cell(code.format(lesson)) for lesson in QUIZZES for _ in range(2)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=300, kernel_name="python3").execute()
    return {lesson: [cell.outputs for cell in cells[2*i:2*i+2]] for i, lesson in enumerate(QUIZZES)}


@every_quiz
def test_output_is_the_same_every_time_and_leaves_random_numbers_alone(lesson, quiz, shown):
    first, second = shown[lesson]
    assert first == second
    assert float(first[-1].text) == random.Random(7).random()


@every_quiz
def test_output_is_a_closed_frame_a_script_and_the_text(lesson, quiz, shown):
    frame, script, text = (output.data for output in shown[lesson][0][:3])
    assert frame["text/html"].count("<div") == frame["text/html"].count("</div>") > 0
    assert "show_questions" in script["application/javascript"] and "</script" not in script["application/javascript"]
    assert answers_markdown(quiz).strip() in text["text/markdown"]


def test_outside_a_notebook_there_is_a_way_out():
    done = subprocess.run([sys.executable, "-c",
                           "from course_lib.quiz.questions import show_quiz; show_quiz('04_mnist')"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode
    assert "needs a notebook. Here, use `print(answers_markdown(load_quiz('04_mnist')))`" in done.stderr


@every_quiz
def test_jupyterquiz_finds_nothing_to_replace(lesson, quiz):
    shown = json.dumps(to_jupyterquiz(quiz))
    assert "$" not in shown and not re.search(r"\]\(", re.sub("&#91;[^\\[]*", "", shown))
    assert not re.search(r"<(?!/?(p|code|strong|em|pre)\b)", shown)


@every_quiz
def test_text_form_holds_everything(lesson, quiz):
    text = answers_markdown(quiz)
    for q in quiz.questions:
        assert q.ask.strip() in text and q.answer.strip() in text
        assert all(choice.feedback in text for choice in q.choices)


@every_quiz
def test_text_form_survives_pandoc(lesson, quiz):
    import pypandoc
    page = pypandoc.convert_text(answers_markdown(quiz), "html", format="markdown", extra_args=["--mathjax"])
    assert page.count("<details>") == page.count("</details>") == page.count("<summary>") == len(quiz.questions)
    assert page.count("sourceCode python") >= sum(len(code_blocks(q.answer)) for q in quiz.questions)
    assert "**" not in re.sub(r"<pre.*?</pre>|<code.*?</code>|<div class=\"sourceCode.*?</div>", "", page, flags=re.S)


REPLY = """
<script>
const typed = (input, reply) => {
  input.value = reply;
  input.dispatchEvent(new KeyboardEvent("keypress", {keyCode: 13, which: 13, bubbles: true}));
};
const report = [];
setTimeout(() => {
  document.querySelectorAll(".Quiz").forEach((box, number) => {
    const feedback = box.querySelector(".Feedback"), input = box.querySelector("input.Input-text");
    const tell = () => report.push([number, feedback.textContent, feedback.classList.contains("correct")]);
    for (const reply of REPLIES[number]) {
      input ? typed(input, reply) : box.querySelectorAll("label")[reply].click();
      tell();
    }
  });
  const told = document.createElement("pre");
  told.id = "report"; told.textContent = JSON.stringify(report);
  document.body.append(told);
}, 1000);
</script>
"""


def replies(question):
    "Every reply that has a feedback of its own, and one that has none"
    if question.clicked: return list(range(len(question.choices)))
    if question.kind == "number": return [str(choice.value) for choice in question.choices] + ["123456"]
    return [text for choice in question.choices for text in choice.spellings] + ["no idea"]


def expected(question):
    "(feedback, whether it is right) for each of these replies"
    told = [(choice.feedback, choice.right) for choice in question.choices for _ in choice.spellings]
    return [(feedback.replace("`", ""), right) for feedback,
            right in told + [(question.otherwise, False)]*(not question.clicked)]


@pytest.fixture(scope="module")
def clicked(tmp_path_factory, shown):
    """What a browser shows on one page of all quizzes, after each reply.

    {(lesson, id): [(feedback, whether it is shown as right)]}"""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None: pytest.skip(f"no browser found; looked for {', '.join(names)}")
    frames = "".join(f"{first[0].data['text/html']}<script>{first[1].data['application/javascript']}</script>"
                     for first, _ in shown.values())
    folder = tmp_path_factory.mktemp("browser")
    page = f"<!doctype html><meta charset=utf-8><body>{frames}" + REPLY.replace("REPLIES",
        json.dumps([replies(q) for q in BY_ID.values()]))
    (folder/"quiz.html").write_text(page, encoding="utf-8")
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu",
                           f"--user-data-dir={folder/'profile'}",
                           "--virtual-time-budget=5000", "--dump-dom", (folder/"quiz.html").as_uri()],
                          capture_output=True, text=True, encoding="utf-8", timeout=300)
    report = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.S)
    assert report, done.stderr[-2000:]
    keys, told = list(BY_ID), {}
    for number, feedback, right in json.loads(html.unescape(report[1])):
        told.setdefault(keys[number], []).append((feedback, right))
    return told


@those(lambda question: True)
def test_every_reply_gets_its_feedback_in_a_browser(lesson, id, clicked):
    shown = [(re.sub(r" \[\d/\d\]$", "", feedback), right) for feedback, right in clicked[lesson, id]]
    assert shown == expected(BY_ID[lesson, id])

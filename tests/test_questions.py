"Quizzes: the files say what is true, mistakes in them are named, and every reply gets its feedback in a browser"
import html, json, random, re, shutil, subprocess, sys
from collections import Counter
from importlib import resources

import nbformat
import pytest
import yaml
from jsonschema import Draft202012Validator
from nbclient import NotebookClient

from course_lib.quiz import questions as quiz_module
from course_lib.base.env import CourseError
from course_lib.quiz.questions import KINDS, answers_markdown, load_quiz, quiz_folder, read_quiz, to_jupyterquiz

FILES = sorted(quiz_folder().glob("*.yml"))
QUIZZES = {file.stem: load_quiz(file.stem) for file in FILES}
BY_ID = {(lesson, question.id): question for lesson, quiz in QUIZZES.items() for question in quiz.questions}
CHOICE = {"text": "This one", "feedback": "It is.", "right": True}
OTHER = {"text": "That one", "feedback": "It is not."}


def question(**changes):
    "A sound question with some fields changed; None takes a field away"
    fields = {"id": "which", "row": "M1", "kind": "single", "ask": "Which one?", "choices": [CHOICE, OTHER], "answer": "This one."}
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
    "unknown kind": (question(kind="singel"), r"00_test.yml, question which: there is no kind 'singel'. Did you mean 'single'"),
    "missing field": (question(answer=None), "question which has no 'answer'"),
    "missing id": (question(id=None), "question 1 has no 'id'"),
    "empty text": (question(ask=" "), "'ask' must be text"),
    "misspelt field": (question(anser="Yes."), "'anser' that is not known. Did you mean 'answer'"),
    "number for a text": (question(ask=7), "'ask' must be text, and 7 came"),
    "no choices": (question(choices=[]), "'choices' must be a list"),
    "choice is a text": (question(choices=["a", "b"]), r"choice 1 must have the fields text, feedback, and 'a' came"),
    "no feedback": (question(choices=[CHOICE, {"text": "That one"}]), "question which, choice 2 has no 'feedback'"),
    "right is a text": (question(choices=[CHOICE, OTHER | {"right": "maybe"}]), "'right' must be true or false, and 'maybe' came"),
    "no right choice": (question(choices=[OTHER, OTHER | {"text": "Or that"}]), "no choice is right"),
    "two right choices": (question(choices=[CHOICE, OTHER | {"right": True}]), "2 choices are right"),
    "one right of many": (question(kind="multiple", choices=[CHOICE, OTHER, OTHER | {"text": "c"}]), "one choice is right"),
    "text for a number": (question(kind="number", otherwise="No.", choices=[NUMBER | {"value": "2"}]), "'value' must be a number, and '2' came"),
    "truth for a number": (question(kind="number", otherwise="No.", choices=[NUMBER | {"value": True}]), "'value' must be a number"),
    "no otherwise": (question(kind="number", choices=[NUMBER]), "no 'otherwise'"),
    "otherwise where one clicks": (question(otherwise="No."), "'otherwise' is for number and text"),
    "spellings are no list": (question(kind="text", otherwise="No.", choices=[CHOICE | {"also": "a"}]), "'also' must be a list of texts"),
    "question is a text": ("Which one?", "question 1 must have the fields id, row"),
}


@pytest.mark.parametrize("broken, message", BROKEN.values(), ids=BROKEN)
def test_mistake_is_named(broken, message, tmp_path, schema):
    assert list(schema.iter_errors({"lesson": "00_test", "questions": [broken]}))
    with pytest.raises(CourseError, match=message): read_quiz(write(tmp_path, [broken]))


def test_sound_questions_are_read(tmp_path, schema):
    questions = [question(), question(id="both", kind="multiple", choices=[CHOICE, CHOICE | {"text": "b"}, OTHER | {"text": "c"}]),
                 question(id="two", kind="number", otherwise="No.", choices=[NUMBER]),
                 question(id="this", kind="text", otherwise="No.", choices=[CHOICE | {"also": ["this"]}])]
    assert not list(schema.iter_errors({"lesson": "00_test", "questions": questions}))
    assert [q.kind for q in read_quiz(write(tmp_path, questions)).questions] == list(KINDS)


@pytest.mark.parametrize("questions, lesson, message", [
    ([question(), question()], "00_test", "2 questions have the id 'which'"),
    ([question()], "01_other", "'lesson' must be the name of the file, and '01_other' came"),
    ([], "00_test", "'questions' must be a list"),
    ([question(kind="text", otherwise="No.", choices=[CHOICE, OTHER | {"text": "THIS ONE"}])], "00_test", "'this one' stands there twice"),
    ([question(kind="number", otherwise="No.", choices=[NUMBER | {"value": float("inf")}])], "00_test", "'value' must be a number"),
])
def test_mistake_that_no_schema_sees_is_named(questions, lesson, message, tmp_path):
    with pytest.raises(CourseError, match=message): read_quiz(write(tmp_path, questions, lesson))


@pytest.mark.parametrize("content, message", [
    (b"questions: [", "cannot be read"), (b"", "must have the fields"), (b"- a\n- b\n", "must have the fields"),
    (b"lesson: \xff\xfe", "cannot be read"), (b"lesson: 00_test\n", "no 'questions'"),
])
def test_file_that_is_no_quiz_is_refused(content, message, tmp_path):
    (tmp_path/"00_test.yml").write_bytes(content)
    with pytest.raises(CourseError, match=f"00_test.yml.* {message}"): read_quiz(tmp_path/"00_test.yml")


def test_file_cannot_run_code(tmp_path):
    proof = tmp_path/"proof"
    (tmp_path/"00_test.yml").write_text(f"lesson: !!python/object/apply:pathlib.Path.touch\n- !!python/object/apply:pathlib.Path ['{proof}']\n")
    with pytest.raises(CourseError, match="cannot be read"): read_quiz(tmp_path/"00_test.yml")
    assert not proof.exists()


def test_without_a_clone_the_package_brings_the_files(monkeypatch, tmp_path):
    package = tmp_path/"stored"
    package.mkdir()
    write(package, [question()])
    monkeypatch.setattr(quiz_module, "checkout", lambda: None)
    monkeypatch.setattr(resources, "files", {"course_lib.quizzes": package}.__getitem__)
    assert load_quiz("00_test").questions[0].id == "which"


@pytest.mark.parametrize("lesson, ids, message", [
    ("04_mnits", None, "Did you mean '04_mnist'"), ("04_mnist", ["rulu"], "no question 'rulu'. Did you mean 'relu'")])
def test_unknown_name_is_answered_with_the_nearest(lesson, ids, message):
    with pytest.raises(CourseError, match=message): load_quiz(lesson).pick(ids)


def test_import_is_light():
    code = ("import sys, course_lib.quiz.questions as quiz; quiz.load_quiz('04_mnist'); "
            "print([m for m in ('torch', 'IPython', 'jupyterquiz', 'jsonschema', 'markdown_it') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# The questions on the lessons

def every_quiz(test): return pytest.mark.parametrize("lesson, quiz", QUIZZES.items(), ids=QUIZZES)(test)


def those(wanted):
    "Lesson and id of the questions for which `wanted(question)` is true, as parameters of a test"
    keys = [key for key, question in BY_ID.items() if wanted(question)]
    return pytest.mark.parametrize("lesson, id", keys, ids=map("-".join, keys))


COVERED = {
    "01_intro": (53, "I", 22),
    "02_deployment": (49, "D", 16),
    "03_foundations": (39, "F", 11),
    "04_mnist": (37, "M", 8),
} # {lesson: (questions, letter of its rows in the table of contents, last row with questions)}


@every_quiz
def test_questions_for_each_topic(lesson, quiz):
    count, letter, last = COVERED[lesson]
    assert [q.number for q in quiz.questions] == list(range(1, count + 1))
    assert {q.row for q in quiz.questions} == {f"{letter}{i}" for i in range(1, last + 1)}
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
    longest, shortest = (sum(texts[i] == extreme(texts) for texts, i in zip(lengths, right, strict=True)) for extreme in (max, min))
    assert longest < len(single)/3 and shortest < len(single)/2


@every_quiz
def test_nothing_is_said_twice(lesson, quiz):
    said = Counter(choice.feedback for q in quiz.questions for choice in q.choices)
    assert max(said.values()) == 1
    for q in quiz.questions: assert all(c.feedback != c.text for c in q.choices), q.id


@every_quiz
def test_sections_are_headings_of_the_lesson(lesson, quiz):
    notebook = json.loads((quiz_folder().parent/"nbs"/f"{lesson}.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    headings = set(re.findall(r"^#+ (.+?)(?: \{.*\})?$", text, re.M))
    assert {q.section for q in quiz.questions} <= headings


@pytest.fixture
def lesson_imports(monkeypatch, tmp_path):
    "The names that code in the answers relies on"
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
    import torch
    from torch import nn
    torch.manual_seed(42)
    return {"torch": torch, "nn": nn, "F": nn.functional}


NUMBERS = {
    "01_intro": {
        "squish": "(192/200)/(192/400)",
        "no-error-in-twenty": "100*0.9**20",
        "answers-for-one-picture": "torch.zeros(32, 96, 128).argmax(dim=0).numel()",
        "y-range-in-the-middle": "0.5 + (5.5 - 0.5)*torch.tensor(0.).sigmoid().item()",
        "where-it-turns": "1 + torch.tensor([0.58, 0.50, 0.47, 0.49, 0.55, 0.64]).argmin().item()",
        "eight-of-eight": "512*0.5**8",
        "row-of-a-tone": "500/(8000/256)",
        "gramian-pixel": "(2*torch.tensor(0.).arccos()).cos().item()",
        "one-of-twenty": "100*(1 - 0.95**20)",
    },
    "02_deployment": {
        "lost-by-cropping": "100*(1 - 200*200/(300*200))",
        "smallest-crop": "(0.25*400*400)**0.5",
        "recall-of-black-bears": "100*36/(36 + 9 + 0)",
        "faults-in-validation": "100*4/100",
        "one-error-of-thirty": "100/30",
        "standard-error": "100*(0.1*0.9/100)**0.5",
        "faster-network": "(10 + 30)/(10 + 30/3)",
        "false-alarms": "2000*(1 - 0.99)",
        "one-round-of-the-loop": "100*60**2/(60**2 + 40**2)",
    },
    "03_foundations": {
        "partial": "3*(-1)**2 + 2*(-1) + 1",
        "mse-by-hand": "F.mse_loss(torch.tensor([5., 1., 4., 3.]), torch.tensor([3., 3., 1., 2.])).item()",
        "one-step": "1.1 - 0.01*(-1.3529)",
        "never-cleared": "10 - sum(0.1*3*times for times in (1, 2, 3))",
        "sum-of-relus": "(F.relu(torch.tensor(2.*4 - 1)) + F.relu(torch.tensor(-4. + 3))).item()",
        "straight-pieces": "1 + (torch.diff(F.relu(torch.arange(8.)[:, None] - torch.arange(1, 7)).sum(1), n=2) != 0).sum().item()",
        "count-parameters": "sum(p.numel() for layer in (nn.Linear(2, 20), nn.Linear(20, 1)) for p in layer.parameters())",
        "one-cell": "(torch.tensor([[2, 0, 1], [1, 3, -1]]) @ torch.tensor([[1, 4], [5, 2], [3, 6]]))[1, 0].item()",
        "two-relu-network": "sum((F.relu(torch.tensor([-0.5*male - 0.4*age + 0.9, -0.3*male - 0.4*age + 0.2])).sum().item() - target)**2"
                            " for male, age, target in ((1, 0.5, 0), (0, 0.25, 1)))/2",
        "merge-on-name": "len([(first, second) for first in (224, 288) for second in (176, 224, 288)])",
        "order-of-the-vocabulary": "[0.1, 0.7, 0.2][sorted(['fish', 'dog', 'cat']).index('fish')]",
    },
    "04_mnist": {
        "image-as-numbers": "torch.zeros(3, 28, 28).numel()",
        "rank-and-shape": "torch.zeros(64, 1, 28, 28).ndim",
        "l1-and-rmse": "(torch.tensor([1., -7.])**2).mean().sqrt().item()",
        "seven-steps": "2",
        "update-rule": "3 - 0.1*6",
        "dataloader": "len(torch.utils.data.DataLoader(range(12396), batch_size=256))",
        "matrix-product": "(torch.tensor([1, 2, 3]) @ torch.tensor([4, 5, 6])).item()",
        "zero-gradients": "[x := torch.tensor(3.).requires_grad_(), (x**2).backward(), (x**2).backward(), x.grad.item()][-1]",
    },
} # {lesson: {question: what its reply should be}}


@those(lambda question: question.kind == "number")
def test_right_number_is_right(lesson, id, lesson_imports):
    truth = eval(NUMBERS[lesson][id], lesson_imports)
    accepted = [c.right for c in BY_ID[lesson, id].choices if abs(c.value - truth) <= c.tolerance + 1e-9]
    assert accepted == [True]


def works(code, names):
    try: return eval(code, names)
    except (RuntimeError, SyntaxError, TypeError): return None


def code_in(text): return re.findall("`([^`]+)`", text)


def test_broadcasting_choices(lesson_imports):
    for choice in BY_ID["04_mnist", "broadcasting"].choices:
        first, second = code_in(choice.text)
        assert (works(f"(torch.zeros{first} - torch.zeros{second}).shape", lesson_imports) is not None) == choice.right, choice.text


def test_breed_choices():
    names = {"great_pyrenees_173.jpg": "great_pyrenees", "Bengal_7.jpg": "Bengal"}
    for choice in BY_ID["01_intro", "breed-from-the-name"].choices:
        found = [works(code_in(choice.text)[0], {"re": re, "name": name}) for name in names]
        assert (found == list(names.values())) == choice.right, choice.text


def test_probability_choices(lesson_imports):
    torch = lesson_imports["torch"]
    names = {"label": "grizzly", "index": torch.tensor(1), "probs": torch.tensor([0.02, 0.95, 0.03]).numpy()}
    for choice in BY_ID["02_deployment", "probability-of-the-label"].choices:
        try: found = eval(code_in(choice.text)[0], names)
        except IndexError: found = None
        assert (found == names["probs"].max()) == choice.right, choice.text


def test_list_comprehension_choices():
    for choice in BY_ID["04_mnist", "list-comprehension"].choices:
        assert (works(code_in(choice.text)[0], {"numbers": [1, 2, 3, 4, 5]}) == [2, 6, 10]) == choice.right, choice.text


def test_bottom_right_replies(lesson_imports):
    x = lesson_imports["torch"].arange(1, 10).view(3, 3)*2
    for choice in BY_ID["04_mnist", "bottom-right"].choices:
        for reply in choice.spellings:
            corner = eval(reply if reply.startswith("x[") else f"x[{reply}]", {"x": x})
            assert (corner.tolist() == [[10, 12], [16, 18]]) == choice.right, reply


def test_relu_choices(lesson_imports):
    relu = lesson_imports["F"].relu(lesson_imports["torch"].tensor([-2., -1., 0., 1., 2.])).tolist()
    assert [[float(n) for n in c.text.split(", ")] == relu for c in BY_ID["04_mnist", "relu"].choices] == [c.right for c in BY_ID["04_mnist", "relu"].choices]


def test_relu_layer_choices(lesson_imports):
    x, nn = lesson_imports["torch"].tensor([-1., 2.]), lesson_imports["nn"]
    assert isinstance(nn.ReLU(x), nn.Module) and not list(nn.ReLU().parameters())
    with pytest.raises(TypeError): nn.Sequential(lesson_imports["F"].relu)


def test_matmul_choices(lesson_imports):
    names = lesson_imports | {"a": lesson_imports["torch"].zeros(5, 784), "w": lesson_imports["torch"].zeros(784, 10)}
    for choice in BY_ID["03_foundations", "matmul-shapes"].choices:
        assert (works(code_in(choice.text)[0], names) is not None) == choice.right, choice.text


@pytest.mark.parametrize("id, shapes, truth", [("row-times-matrix", {"row": (3,), "right": (3, 4)}, "row @ right"),
                                               ("sumproduct", {"X": (712, 10), "params": (10,)}, "(X*params).sum(1)")])
def test_choices_that_compute_the_same(id, shapes, truth, lesson_imports):
    torch = lesson_imports["torch"]
    names = lesson_imports | {name: torch.rand(shape) for name, shape in shapes.items()}
    truth = eval(truth, names)
    for choice in BY_ID["03_foundations", id].choices:
        result = works(code_in(choice.text)[0], names)
        same = result is not None and result.shape == truth.shape and torch.allclose(result, truth)
        assert same == choice.right, choice.text


def test_submodule_replies(lesson_imports):
    nn = lesson_imports["nn"]
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    for choice in BY_ID["03_foundations", "get-submodule"].choices:
        try: found = model.get_submodule(choice.text)
        except AttributeError: found = None
        assert (found is model[1][1]) == choice.right, choice.text


def test_update_without_no_grad_is_refused(lesson_imports):
    code, = re.findall(r"```python\n(.*?)```", BY_ID["03_foundations", "no-grad"].ask, re.S)
    with pytest.raises(RuntimeError, match="in-place"): exec(code, lesson_imports)


CLAIMS = {
    "01_intro": {
        "where-the-label-is": "label_of(Path('elsewhere/0018.jpg')) == 'forest'",
        "squish": "close([stretch], [2], 1e-9)",
        "no-error-in-twenty": "close([perfect.item()], [0.1216], 0.005)",
        "breed-from-the-name": "cut == matched == ['great_pyrenees', 'Bengal']",
        "all-lower-case": "(before, after) == (['cat', 'dog'], ['dog', 'dog'])",
        "answers-for-one-picture": "mask.shape == (96, 128) and mask.numel() == 12288 and mask.max() == 31",
        "three-steps-for-tables": "filled.tolist() == [20, 30, 30, 50] and close([normal.mean().item(), normal.std().item()], [0, 1], 1e-6)",
        "y-range-in-the-middle": "close([rating(0), rating(2.2)] + [rating(s, high=5.) for s in (2.2, 5, 10)], [3, 5, 4.55, 4.97, 4.9998], 0.005)"
                                 " and rating(2.2) >= 5 > rating(10, high=5.)",
        "labels-for-free": "examples[3] == (['the', 'film', 'was', 'a'], 'joy') and len(examples) == 6",
        "neuron-of-1943": "both == [False, False, False, True] and at_least_one == [False, True, True, True]",
        "first-machine": "not fired and weights @ x > 0",
        "one-layer": "table == [0, 1, 1, 0]",
        "which-is-a-weight": "value(mine, 1) > value(yours, 1) and value(mine, 3) < value(yours, 3)",
        "by-feel": "close(weights.tolist(), [1, 3], 0.05)",
        "general-search": "abs(helpful @ by_luck) < 0.004",
        "same-architecture": "mine(x) != yours(x) and mine.weight.shape == yours.weight.shape",
        "loss-moves-metric-does-not": "close(losses, [0.43, 0.16], 0.005) and accuracies == [1, 1]",
        "head": "model(torch.rand(5, 8)).shape == (5, 2)",
        "neither-of-the-two": "close([likely[1].item(), strange[1].item()], [0.97]*2, 0.005)",
        "patrols": "close([share_after(24, torch.tensor([first, 10.])) for first in (11., 10.)], [0.68, 0.5], 0.005)",
        "where-it-turns": "best == 3",
        "eight-of-eight": "1.5 < winners < 2.5",
        "new-in-the-same-way": "leaked > 0.7 and not clean and by_person.sum() == 8",
        "edges-first": "F.conv2d(picture, upright)[0, 0, 0].tolist() == [0, 0, 1, 0, 0]",
        "row-of-a-tone": "strength.mean(dim=1).argmax() == 16 and strength.shape[0] == 129",
        "no-flip": "(heard.tolist(), turned.tolist()) == ([0, 1, 2, 3], [3, 2, 1, 0])",
        "gramian-pixel": "close([field[1, 1].item(), field[0, 0].item(), field[0, 2].item()], [-1, 1, -1], 1e-6)",
        "p-value": "close([p.item()], [0.03], 0.004)",
        "one-of-twenty": "close([(p_values < 0.05).any(dim=1).float().mean().item()], [0.64], 0.01)",
        "small-but-significant": "close(list(ratios.values()), [0.4, 5.66], 0.01)",
        "bookshop": "(anyway.argmax(), gain.argmax()) == (0, 2) and close(gain.tolist(), [0.02, 0.05, 0.3], 1e-6)",
        "forgetting": "first < 0.01 and rehearsed < 0.01 and after > 0.1",
    },
    "02_deployment": {
        "no-better-than-guessing": "close([same_each_time.item()], [2/3], 1e-6)",
        "what-each-way-costs": "crop.shape == squish.shape == (1, 3, 200, 200) and pad.shape == (1, 3, 300, 300)"
                               " and close([(pad == 0).float().mean().item()], [1/3], 1e-3)",
        "lost-by-cropping": "close([lost, border], [33.3, 33.3], 0.05)",
        "smallest-crop": "smallest == 200",
        "item-or-batch": "batch.shape == turned.shape == (2, 3, 128, 128) and (turned[..., 0] == batch[..., -1]).all()",
        "own-transform": "(in_training[:, 0] == in_training[:, 2]).all() and (in_validation == xb).all() and not (in_training == xb).all()",
        "recall-of-black-bears": "close(recall.tolist() + precision.tolist() + [accuracy.item()], [0.8, 0.89, 1, 0.9, 0.82, 0.97, 0.883], 0.005)",
        "which-has-the-top-loss": "close(losses.tolist(), [0.82, 0.67, 0.07, 4.61], 0.005)",
        "why-train-first": "found == 30",
        "decisions-belong-to-files": "(hit, meant) == (['t4.jpg'], ['b5.jpg'])",
        "faults-in-validation": "reported == 4",
        "one-error-of-thirty": "close([step], [3.33], 0.005)",
        "up-and-down": "close(shares, [0.04, 0.12, 0.20, 0.23], 0.02)",
        "standard-error": "close([spread.item()], [0.03], 0.001)",
        "a-fair-comparison": "paired < alone/2",
        "probability-of-the-label": "close([probs[index].item(), probs[vocab.index(label)].item()], [0.95]*2, 1e-6)",
        "function-in-another-file": "len(stored) < 100 and b'basename' in stored and pickle.loads(stored) is basename",
        "when-it-runs": "loaded == 42",
        "data-only": "load(Surprise()) == 'refused' and load({'weight': torch.ones(2)})['weight'].tolist() == [1, 1]",
        "weights-are-not-enough": "known['vocab'][answer] == 'bear'",
        "what-gradio-needs": "close(list(to_labels(torch.tensor([0.1, 0.7, 0.2])).values()), [0.1, 0.7, 0.2], 1e-6)",
        "tiny-model-file": "100 < len(pointer) < 140",
        "on-click": "said == ['grizzly']",
        "faster-network": "(speed_up, limit) == (2, 4)",
        "data-for-recommendations": "(by_habit, by_gain) == (0, 1)",
        "rooms-from-a-search": "close([together, *apart.values()], [0.94, 0.98, 0.52], 0.005)",
        "false-alarms": "5 < alarms[0] < 40 and alarms[1] > 1500",
        "one-round-of-the-loop": "close(shares[:1], [0.692], 0.001) and shares[-1] > 0.9 and shares == sorted(shares)",
        "tables-by-deep-learning": "close(errors, [0.25, 0.25, 0.125], 0.03)",
    },
    "03_foundations": {
        "partial": "(f(-1), f(0), f(1)) == (2, 1, 6)",
        "seeded-noise": "(draw(42) == draw(42)).all() and (draw(42) != draw(43)).all()",
        "loss-in-the-title": "round(best_c.item(), 2) == 3.95",
        "sliders-together": "close(rounds[0] + rounds[1] + rounds[-1], [4, 0.2, 3.7, 0.38, 1, 2], 1e-3)",
        "mse-by-hand": "((preds - targs)**2).mean() == F.mse_loss(preds, targs) == 4.5",
        "wild-point": "(good.median(), good.mean(), wild.median(), wild.mean()) == (3, 3, 3, 13)",
        "loss-of-parameters": "height.shape == () and params.grad.shape == (3,) and params.grad.all()",
        "what-gradients-say": "close(params.grad.tolist() + [nudged.item()], [-3.8, -1.8, 0.2, -3.799], 1e-6)",
        "one-step": "close((params - 0.01*slopes).tolist() + [expected.item()], [1.1135, 1.1003, 1.1050, 2.4011], 5e-5)",
        "unit-of-a-gradient": "w.grad == -65",
        "no-grad": "close(params.tolist(), [0.88]*3, 1e-6) and not params.grad.any()",
        "two-rates": "(run_a, run_b, best) == ([9, 8.96, 8.93, 8.89], [9, 12.96, 18.66, 26.87], [9, 0, 0, 0])",
        "never-cleared": "path == [9.7, 9.1, 8.2]",
        "sum-of-relus": "f(torch.tensor([0., 1., 4.])).tolist() == [3, 3, 7]",
        "straight-pieces": "pieces == 7",
        "only-linear": "torch.allclose(y.diff(), y.diff()[:1].expand(3), atol=1e-5) and sum(p.numel() for p in layers.parameters()) == 2701",
        "folded-sheet": "[sheet(*at).item() for at in ((-2, 2), (-1, -1), (1, 2), (0, 0), (2, 0))] == [0, 0, 0, 0.5, 3.5]"
                        " and sheet(-0.99, -1) > 0 and sheet(1.01, 2) > 0",
        "count-parameters": "counts == [40, 20, 20, 1]",
        "one-cell": "product.tolist() == [[5, 14], [13, 4]] and cell == 13",
        "matmul-shapes": "same and (w.T @ a.T).shape == (10, 5)",
        "row-times-matrix": "(row[:, None]*right).sum(dim=0).tolist() == (row @ right).tolist() == [32, 38, 44, 50]",
        "why-fast": "torch.allclose(looped, at_once, atol=1e-4)",
        "sumproduct": "torch.allclose(predictions, by_hand) and hidden.shape == (712, 2) and loss.shape == ()",
        "two-relu-network": "close(predictions.tolist() + [loss.item()], [0.2, 0.9, 0.025], 1e-6)",
        "two-starts": "close([bottom(0.5), bottom(-0.5)], [1.67, 0.33], 0.01)",
        "which-rows": "close([mse_of_always_the_mean(p) for p in (0.4, 0.3)], [0.24, 0.21], 1e-9)",
        "one-dummy-fewer": "spare.equal(Q) and torch.allclose(inputs @ first, inputs @ second)",
        "lowest-mse": "close(same, [before]*2, 1e-9) and all(abs(other - before) > 1e-4 for other in others)",
        "log-of-fare": "close(torch.log10(fares + 1).tolist(), [0, 0.90, 1.85, 2.71], 0.005)",
        "merge-on-name": "(len(on_name), (on_name.size_x != on_name.size_y).sum(), len(on_both)) == (6, 4, 2)",
        "log-axis": "close([width(*pair) for pair in ((100, 200), (1000, 2000), (200, 300), (100, 10_000))], [1, 1, 0.58, 6.64], 0.01)",
        "under-a-budget": "(best, front) == ('C', ['A', 'B', 'C', 'E'])",
        "name-and-tag": "architecture in architectures and f'{architecture}.{tag}' in with_weights and not any('.' in name for name in architectures)",
        "get-submodule": "paths == ['', '0', '1', '1.0', '1.1'] and layer is model[1][1]",
        "order-of-the-vocabulary": "by_name == {'cat': 0.1, 'dog': 0.7, 'fish': 0.2}",
        "simple-first": "close([always_the_mean.item()], [0.24], 1e-6)",
        "learning-curve": "close(gains.tolist(), [0.035, 0.004, 0.001], 1e-6)",
        "pseudo-labels": "pseudo == {0: 0, 2: 1}",
    },
    "04_mnist": {
        "image-as-numbers": "(grey.numel(), colour.numel()) == (784, 2352)",
        "folder-layout": "(split, label) == ('train', '3')",
        "pixel-similarity": "is_3(threes).shape == (50,) and is_3(threes).float().mean() > is_3(sevens).float().mean()",
        "list-comprehension": "doubled == [2, 6, 10]",
        "rank-3-tensor": "(threes.ndim, threes[0].ndim, threes[0, 10, 12].ndim) == (3, 2, 0)",
        "rank-and-shape": "len(batch.shape) == batch.ndim == 4",
        "l1-and-rmse": "misses.abs().mean() == 4 and (misses**2).mean().sqrt() == 5",
        "many-numbers-at-once": "looped == at_once == 328350",
        "bottom-right": "x.tolist() == [[2, 4, 6], [8, 10, 12], [14, 16, 18]] and corner.tolist() == [[10, 12], [16, 18]]",
        "broadcasting": "difference.shape == (1010, 28, 28) and torch.equal(difference[7], valid_3[7] - mean_3)",
        "initial-weights": "weights.shape == (784, 1) and weights.requires_grad and bias.requires_grad",
        "loss": "(round(good.item(), 2), round(bad.item(), 2)) == (0.05, 0.95)",
        "high-learning-rate": "(round(just_right, 3), round(too_high, 1)) == (0.015, 6.5)",
        "gradient": "x.grad == 6 and round(nudged, 3) == 6.001",
        "who-computes-gradients": "loss.item() == 25 and weight.grad == 30",
        "accuracy-as-loss": "accuracy(.5) == accuracy(.6) == 1 and (round(loss(.5), 3), round(loss(.6), 3)) == (.276, .243)",
        "sigmoid": "[round(y, 4) for y in x.sigmoid().tolist()] == [.0025, .1192, .5, .8808, .9975]",
        "update-rule": "abs(weight.item() - 2.4) < 1e-6",
        "dataloader": "sizes == [3, 3, 2]",
        "epoch-in-pseudocode": "first_loss > last_loss > 0 and not any(p.grad.any() for p in model.parameters())",
        "pairs": "dset == [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')] and (len(dset), dset[2]) == (4, (3, 'c'))",
        "view": "rows.shape == (100, 784) and x[0, 0, 0] == 7",
        "bias": "(empty@weights).item() == 0 and (empty@weights + bias).item() == 0.5",
        "matrix-product": "dot == 32 and preds.shape == (256, 1)",
        "backward": "weight.grad == 6 and weight.item() == 3",
        "zero-gradients": "(first, second, x.grad.item()) == (6, 12, 0)",
        "learner": "learn.opt_func.__name__ == 'Adam' and learn.metrics == [] and raises(Learner, dls, nn.Linear(2, 1))",
        "training-loop": "abs(model.weight.item() - 3) < .1 and abs(model.bias.item() - 1) < .1",
        "relu": "line.get_ydata()[0] == 0 and line.get_ydata()[-1] == 2",
        "activation-function": "torch.allclose(two_layers, one_layer, atol=1e-2) and not torch.allclose(with_a_bend, one_layer, atol=1)",
        "relu-function-or-layer": "F.relu(x).tolist() == nn.ReLU()(x).tolist() == [0, 2] and model(torch.rand(5, 784)).shape == (5, 1)",
        "why-more-layers": "pieces == 64",
    },
} # {lesson: {question: what must be true once the code in its answer has run}}

AFTERWARDS = {("04_mnist", "epoch-in-pseudocode"): """
model, xs = nn.Linear(2, 1), torch.randn(64, 2)
batches = list(zip(xs.split(16), xs.sum(1, keepdim=True).split(16)))
first_loss = F.mse_loss(model(xs), xs.sum(1, keepdim=True))
for epoch in range(3): train_epoch(model, F.mse_loss, batches, list(model.parameters()), 0.1)
last_loss = F.mse_loss(model(xs), xs.sum(1, keepdim=True))
"""} # {(lesson, question): code that uses what its answer defines}


def code_blocks(question): return re.findall(r"```python\n(.*?)```", question.answer, re.S)


def raises(call, *args):
    try: call(*args)
    except AssertionError: return True
    return False


def close(values, wanted, tolerance): return values == pytest.approx(wanted, abs=tolerance)


@those(code_blocks)
def test_code_in_the_answer_runs_and_shows_what_it_says(lesson, id, lesson_imports):
    names = lesson_imports | {"raises": raises, "close": close}
    for block in [*code_blocks(BY_ID[lesson, id]), AFTERWARDS.get((lesson, id), "")]: exec(block, names)
    assert eval(CLAIMS[lesson][id], names)


# The ways to show them

@pytest.fixture(scope="module")
def shown():
    "What two cells of one notebook show that run the same quiz, and a number drawn after each: {lesson: [[output, …], [output, …]]}"
    code = "import random; from course_lib.quiz.questions import show_quiz; random.seed(7); show_quiz('{}'); print(random.random())"
    cells = [nbformat.v4.new_code_cell(code.format(lesson)) for lesson in QUIZZES for _ in range(2)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60, kernel_name="python3").execute()
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
    done = subprocess.run([sys.executable, "-c", "from course_lib.quiz.questions import show_quiz; show_quiz('04_mnist')"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode and "needs a notebook. Here, use `print(answers_markdown(load_quiz('04_mnist')))`" in done.stderr


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
    assert page.count("sourceCode python") >= sum(len(code_blocks(q)) for q in quiz.questions)
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
    for (const reply of REPLIES[number]) { input ? typed(input, reply) : box.querySelectorAll("label")[reply].click(); tell(); }
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
    return [(feedback.replace("`", ""), right) for feedback, right in told + [(question.otherwise, False)]*(not question.clicked)]


@pytest.fixture(scope="module")
def clicked(tmp_path_factory, shown):
    "What a browser shows on one page of all quizzes, after each reply: {(lesson, id): [(feedback, whether it is shown as right)]}"
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None: pytest.skip(f"no browser found; looked for {', '.join(names)}")
    frames = "".join(f"{first[0].data['text/html']}<script>{first[1].data['application/javascript']}</script>" for first, _ in shown.values())
    folder = tmp_path_factory.mktemp("browser")
    page = f"<!doctype html><meta charset=utf-8><body>{frames}" + REPLY.replace("REPLIES", json.dumps([replies(q) for q in BY_ID.values()]))
    (folder/"quiz.html").write_text(page, encoding="utf-8")
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder/'profile'}",
                           "--virtual-time-budget=5000", "--dump-dom", (folder/"quiz.html").as_uri()],
                          capture_output=True, text=True, encoding="utf-8", timeout=60)
    report = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.S)
    assert report, done.stderr[-2000:]
    keys, told = list(BY_ID), {}
    for number, feedback, right in json.loads(html.unescape(report[1])): told.setdefault(keys[number], []).append((feedback, right))
    return told


@those(lambda question: True)
def test_every_reply_gets_its_feedback_in_a_browser(lesson, id, clicked):
    shown = [(re.sub(r" \[\d/\d\]$", "", feedback), right) for feedback, right in clicked[lesson, id]]
    assert shown == expected(BY_ID[lesson, id])

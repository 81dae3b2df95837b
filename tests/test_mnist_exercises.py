"The exercises of lesson 04: right answers pass, every known mistake is named, and no message gives the answer away."
import ast
import inspect
import json
import linecache
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from course_lib import mnist_exercises
from course_lib.mnist_exercises import check

ROOT = Path(__file__).resolve().parent.parent
NAMES = list(check.exercises)
FUNCTIONS = [name for name in NAMES if not check.exercises[name].methods]

def cells(path):
    "Source of each cell of a notebook, by id"
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads((ROOT/path).read_text(encoding="utf-8"))["cells"]}

SOLUTIONS = cells("nbs/solutions/04_mnist.ipynb")
MISTAKES = [cell for cell in SOLUTIONS if cell.startswith("mistake-")]

def run(source, cell):
    "Run a cell's source with the names that a learner has, its lines known to tracebacks as in a notebook"
    linecache.cache[cell] = len(source), None, source.splitlines(True), cell
    names = {"torch": torch, "F": F, "check": check}
    exec(compile(source, cell, "exec"), names)
    return names

@pytest.fixture(autouse=True)
def forget(): check.forget()

@pytest.fixture(autouse=True, scope="module")
def one_thread():
    "Several threads on tiny tensors only wait for each other"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes_every_time(name):
    answer = run(SOLUTIONS[f"solution-{name}"], f"solution-{name}")[name]
    for _ in range(10):
        verdict = check.exercises[name](answer)
        assert verdict, verdict

CAUSES = {
    "stack_images-cat": "wanted shape `[2, 2, 2]`, got `[4, 2]`", "stack_images-scale": "still run up to 255",
    "stack_images-max": "Divided by the largest shade that came",
    "rmse-root": "mean of the squares", "rmse-order": "mean absolute difference", "rmse-item": "got `float`",
    "nearest-broadcast": "must match the size", "nearest-axis": "wanted shape `[40]`, got `[3]`", "nearest-loop": "a loop over the pictures",
    "gd_step-zero": "gradients of earlier steps", "gd_step-name": "`params` is as it was", "gd_step-graph": "in-place operation",
    "stable_sigmoid-textbook": "its gradient is not", "stable_sigmoid-extended": "infinity divided by infinity",
    "stable_sigmoid-sign": "a sign is turned",
    "index_batches-last": "item 6 never came", "index_batches-drawn": "more than once", "index_batches-seed": "in the same order",
    "Momentum-generator": "walked through once", "Momentum-average": "was made smaller", "Momentum-shared": "must match the size",
    "merge_linear-added": "added as it is", "merge_linear-missing": "first bias is missing", "merge_linear-sum": "wanted shape `[1, 2]`, got `[2, 2]`",
    "class_accuracy-count": "how many are right", "class_accuracy-axis": "must match the size", "class_accuracy-value": "places were meant",
    "conv2d-flipped": "turned round", "conv2d-short": "wanted shape `[2, 2]`, got `[1, 1]`", "conv2d-stride": "`stride` apart",
    "dropout-scale": "not made larger", "dropout-share": "80% of the activations are zero", "dropout-rows": "every row lost the same",
    "batch_norm-correction": "divided by n-1", "batch_norm-eps": "0/0", "batch_norm-axes": "Each pixel got statistics of its own",
}

def test_every_mistake_on_the_page_is_tested():
    assert {cell.removeprefix("mistake-") for cell in MISTAKES} == set(CAUSES)
    assert {name for name in NAMES if sum(cell.startswith(f"mistake-{name}-") for cell in MISTAKES) < 2} == set()

@pytest.mark.parametrize("mistake", CAUSES)
def test_a_mistake_is_refused_and_its_cause_named(mistake):
    name = mistake.partition("-")[0]
    answer = run(SOLUTIONS[f"mistake-{mistake}"], mistake)[name]
    check.forget()
    first, second = check.exercises[name](answer), check.exercises[name](answer)
    assert first.state == "wrong" and CAUSES[mistake] in first.message
    assert first.hints == () and check.exercises[name].section in second.hints[0]

LOSS, CLEAN = "loss = loss_fn(params); loss.backward(); ", "params.grad = None; return loss.item()"

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("stack_images", "return [image/255 for image in images]", "got `list`"),
    ("stack_images", "return torch.stack(images)//255", "wanted numbers of type `torch.float32`"),
    ("stack_images", "return torch.stack(images).float()/256", "the largest is 255"),
    ("rmse", "return ((a-b)**2).sum().sqrt()", "sum of the squares"),
    ("rmse", "return torch.tensor(3.5355, requires_grad=True)", "its gradient is lost"),
    ("rmse", "return ((a.detach()-b)**2).mean().sqrt()", "its gradient is lost"),
    ("rmse", "return F.mse_loss(a, b).sqrt()", "`mse_loss` does the whole exercise"),
    ("nearest", "return (images[:, None]-means[None]).abs().mean((-1, -2)).argmax(1)", "furthest away"),
    ("nearest", "return (images[:, None]-means[None]).square().mean((-1, -2)).argmin(1)", "squared difference"),
    ("nearest", "return (images[:, None]-means[None]).abs().mean((-1, -2))", "wanted shape `[40]`, got `[40, 3]`"),
    ("gd_step", f"{LOSS}params.data += lr*params.grad; {CLEAN}", "uphill"),
    ("gd_step", f"{LOSS}params.data -= params.grad; {CLEAN}", "learning rate is not in it"),
    ("gd_step", f"{LOSS}params.data -= lr*params.grad; params.grad = None; return loss", "came back with its graph"),
    ("gd_step", f"{LOSS}params.data -= lr*params.grad; loss = loss_fn(params); {CLEAN}", "after the step"),
    ("gd_step", f"{LOSS}params.requires_grad_(False); params -= lr*params.grad; {CLEAN}", "no parameter any more"),
    ("stable_sigmoid", "return torch.sigmoid(x)", "`sigmoid` does the whole exercise"),
    ("stable_sigmoid", "return torch.tanh(x)", "hyperbolic tangent"),
    ("index_batches", "return [list(range(i, min(i+bs, n))) for i in range(0, n, bs)]", "got `list`: `[0, 1]`"),
    ("index_batches", "return torch.arange(1, n+1).split(bs)", "none with number"),
    ("index_batches", "return torch.arange(n).split(bs)", "should be shuffled"),
    ("index_batches", "return torch.randperm(n).split(bs)", "without shuffling"),
    ("index_batches", "return torch.arange(n).split(bs+1)", "wanted batches of [2, 2, 2] items, got [3, 3]"),
    ("index_batches", "return (torch.tensor([i]) for i in iter(int, 1))", "more than once"),
    ("merge_linear", "return w1@w2", "wanted two tensors"),
    ("merge_linear", "return w1@w2, b1@w2", "That is the bias"),
    ("class_accuracy", "return (logits.argmax(1) != targets).float().mean()", "share of wrong answers"),
    ("class_accuracy", "return (logits.argmax(1) == targets).float().mean().item()", "got `float`"),
    ("conv2d", "return F.conv2d(image[None, None], kernel[None, None])[0, 0]", "`conv2d` does the whole exercise"),
    ("dropout", "return F.dropout(x, p, training)", "`dropout` does the whole exercise"),
    ("dropout", "return x*(torch.rand_like(x) >= p)/(1-p)", "Out of training nothing is dropped"),
    ("dropout", "torch.manual_seed(1); return x*(torch.rand_like(x) >= p)/(1-p)", "two calls dropped the same"),
    ("dropout", "x[torch.rand_like(x) < p] = 0; return x/(1-p) if training else x", "`x` was changed by the call"),
    ("batch_norm", "return (x-x.mean())/(x.var(correction=0)+eps).sqrt()", "One mean and one spread for everything"),
    ("batch_norm", "return (x-x.mean(1, keepdim=True))/(x.var(1, correction=0, keepdim=True)+eps).sqrt()",
     "Each item was normalised by itself"),
    ("batch_norm", "axes = [i for i in range(x.ndim) if i != 1]\n    "
                   "return (x-x.mean(axes, keepdim=True))/(x.var(axes, correction=0, keepdim=True)+eps).sqrt()", "`gamma` and `beta` do nothing"),
]

def written(name, body):
    "A learner's function with this body, under the exercise's own signature"
    return run(f"def {check.exercises[name].form}:\n    {body}\n", f"answer-{name}")[name]

@pytest.mark.parametrize("name, body, cause", MORE, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(MORE)])
def test_more_mistakes(name, body, cause):
    verdict = check.exercises[name](written(name, body))
    assert verdict.state == "wrong" and cause in verdict.message, verdict

# Other right ways, which a fair check accepts
OTHERS = [
    ("stack_images", "return torch.cat([(image/255)[None] for image in images])"),
    ("rmse", "return torch.linalg.vector_norm(a-b)/a.numel()**.5"),
    ("nearest", "return torch.stack([(images-mean).abs().sum((1, 2)) for mean in means]).argmin(0)"),
    ("gd_step", "loss = loss_fn(params)\n    slope, = torch.autograd.grad(loss, params)\n"
                "    params.data = params.data - lr*slope\n    return loss.detach()"),
    ("stable_sigmoid", "return 1/(1 + torch.exp(-x.clamp(-50, 50)))"),
    ("stable_sigmoid", "small = torch.exp(-x.abs())\n    return torch.where(x < 0, small, 1)/(1 + small)"),
    ("index_batches", "import random\n    items = list(range(n))\n    if shuffle: random.shuffle(items)\n"
                      "    for i in range(0, n, bs): yield torch.tensor(items[i:i+bs])"),
    ("merge_linear", "zero = torch.zeros(1, len(w1))\n    bias = (zero@w1 + b1)@w2 + b2\n"
                     "    return (torch.eye(len(w1))@w1 + b1)@w2 + b2 - bias, bias[0]"),
    ("class_accuracy", "return torch.tensor([row.argmax() == target for row, target in zip(logits, targets)]).float().mean()"),
    ("conv2d", "windows = F.pad(image, [padding]*4).unfold(0, kernel.shape[0], stride).unfold(1, kernel.shape[1], stride)\n"
               "    return (windows*kernel).sum((-1, -2))"),
    ("dropout", "return x*torch.bernoulli(torch.full_like(x, 1-p))/(1-p) if training else x.clone()"),
    ("batch_norm", "turned = x.transpose(0, 1)\n    rows = turned.flatten(1).T\n"
                   "    rows = (rows-rows.mean(0))/(rows.var(0, correction=0)+eps).sqrt()*gamma + beta\n"
                   "    return rows.T.reshape(turned.shape).transpose(0, 1)"),
]

@pytest.mark.parametrize("name, body", OTHERS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(OTHERS)])
def test_other_right_answers_pass(name, body):
    verdict = check.exercises[name](written(name, body))
    assert verdict, verdict

def squeeze(text): return re.sub(r"\s", "", text)

def statements(source):
    "Each line of a solution that says something, without blanks"
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    lines = {line.strip() for node in nodes for line in ast.unparse(node).splitlines()}
    return {squeeze(line) for line in lines if line and not line.startswith(("def ", "class ", "for ", "if "))}

@pytest.mark.parametrize("name", NAMES)
def test_no_message_contains_a_line_of_the_solution(name):
    solution = statements(SOLUTIONS[f"solution-{name}"])
    assert solution
    for mistake in (cell for cell in MISTAKES if cell.startswith(f"mistake-{name}-")):
        answer = run(SOLUTIONS[mistake], mistake)[name]
        said = squeeze("".join(repr(check.exercises[name](answer)) for _ in range(4)))
        own = statements(SOLUTIONS[mistake]) # the learner's line is quoted where it raises
        assert [line for line in solution-own if line in said] == []

@pytest.mark.parametrize("name", NAMES)
def test_the_module_does_not_contain_a_line_of_the_solution(name):
    module = squeeze(Path(mnist_exercises.__file__).read_text(encoding="utf-8"))
    assert [line for line in statements(SOLUTIONS[f"solution-{name}"]) if line in module] == []

@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("body, state, cause", [
    ("...", "not done", "no code in"), ("len('words')", "wrong", "nothing came back"), ("return 1/0", "wrong", "ZeroDivisionError"),
    ("return object()", "wrong", "Tried"),
])
def test_what_can_go_wrong_with_any_function(name, body, state, cause):
    verdict = check.exercises[name](written(name, body))
    assert (verdict.state, cause in verdict.message) == (state, True), verdict

@pytest.mark.parametrize("name", NAMES)
def test_the_lesson_asks_what_the_check_tries(name):
    lesson, exercise = cells("nbs/04_mnist.ipynb"), check.exercises[name]
    source = lesson["ex-" + name.lower().replace("_", "-")]
    skeleton = run(source, f"ex-{name}")[name]
    assert exercise(skeleton).state == "not done" and source.endswith(f"\ncheck.{name}({name})")
    assert f"{name}{inspect.signature(skeleton)}" == exercise.form.replace("1e-5", "1e-05") and skeleton.__doc__ == exercise.prompt
    headings = re.findall(r"^#+ (.+)$", "\n".join(lesson.values()), re.M)
    assert exercise.section in headings

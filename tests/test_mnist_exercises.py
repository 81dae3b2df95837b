"The exercises of lesson 04: right answers pass, every known mistake is named, and no message gives the answer away."
import inspect
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from exercise_page import Page, cells, statements

from course_lib import mnist_exercises

PAGE = Page("04_mnist", mnist_exercises, torch=torch, F=F)
CHECK, NAMES = PAGE.check, PAGE.exercises
FUNCTIONS = [name for name in NAMES if not CHECK.exercises[name].methods]

@pytest.fixture(autouse=True)
def forget(): CHECK.forget()

@pytest.fixture(autouse=True, scope="module")
def one_thread():
    "Several threads on tiny tensors only wait for each other"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes_every_time(name):
    answer = PAGE.solution(name)
    for _ in range(10):
        verdict = CHECK.exercises[name](answer)
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
    assert set(PAGE.mistakes) == set(CAUSES)
    assert {name for name in NAMES if sum(cell.startswith(f"{name}-") for cell in CAUSES) < 2} == set()

@pytest.mark.parametrize("mistake", CAUSES)
def test_a_mistake_is_refused_and_its_cause_named(mistake):
    answer, exercise = PAGE.mistake(mistake), CHECK.exercises[mistake.partition("-")[0]]
    CHECK.forget() # the cell itself has tried it
    first, second = exercise(answer), exercise(answer)
    assert first.state == "wrong" and CAUSES[mistake] in first.message
    assert first.hints == () and exercise.section in second.hints[0]

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

@pytest.mark.parametrize("name, body, cause", MORE, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(MORE)])
def test_more_mistakes(name, body, cause):
    verdict = PAGE.try_out(name, body)
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
    verdict = PAGE.try_out(name, body)
    assert verdict, verdict

@pytest.mark.parametrize("name", NAMES)
def test_no_message_contains_a_line_of_the_solution(name):
    for mistake in (cell for cell in PAGE.mistakes if cell.startswith(f"{name}-")):
        answer = PAGE.mistake(mistake)
        said = "".join(repr(CHECK.exercises[name](answer)) for _ in range(4))
        own = statements(PAGE.mistakes[mistake]) # the learner's line is quoted where it raises
        assert [line for line in PAGE.left_of_solution(name, said) if line not in own] == []

@pytest.mark.parametrize("name", NAMES)
def test_the_module_does_not_contain_a_line_of_the_solution(name):
    assert PAGE.left_of_solution(name, Path(mnist_exercises.__file__).read_text(encoding="utf-8")) == []

@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("body, state, cause", [
    ("...", "not done", "no code in"), ("len('words')", "wrong", "nothing came back"), ("return 1/0", "wrong", "ZeroDivisionError"),
    ("return object()", "wrong", "Tried"),
])
def test_what_can_go_wrong_with_any_function(name, body, state, cause):
    verdict = PAGE.try_out(name, body)
    assert (verdict.state, cause in verdict.message) == (state, True), verdict

@pytest.mark.parametrize("name", NAMES)
def test_the_lesson_asks_what_the_check_tries(name):
    lesson, exercise = cells("nbs/04_mnist.ipynb"), CHECK.exercises[name]
    source = lesson["ex-" + name.lower().replace("_", "-")]
    skeleton = PAGE.run(source, f"ex-{name}")[name]
    assert exercise(skeleton).state == "not done" and source.endswith(f"\ncheck.{name}({name})")
    assert f"{name}{inspect.signature(skeleton)}" == exercise.form.replace("1e-5", "1e-05") and skeleton.__doc__ == exercise.prompt
    headings = re.findall(r"^#+ (.+)$", "\n".join(lesson.values()), re.M)
    assert exercise.section in headings

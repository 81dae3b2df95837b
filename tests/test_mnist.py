"What lesson 4 and its dives export, at its edges; and what their last full runs measured"
import json
import shutil
import statistics

import pytest
import torch
from browser import served, start_browser

from course_lib import mnist
from course_lib.base.env import asset
from course_lib.dives import last_mistakes
from course_lib.lesson.results import load_run, published


@pytest.mark.parametrize("count, size, lengths", [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 256, [3])])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_cover_every_item_once(count, size, lengths, shuffle):
    numbers = torch.arange(count)
    found = list(mnist.batches(numbers, numbers*2, size, shuffle=shuffle))
    assert [len(xb) for xb, yb in found] == lengths
    assert all(torch.equal(yb, xb*2) for xb, yb in found)
    assert sorted(x for xb, yb in found for x in xb.tolist()) == list(range(count))


def test_shuffled_batches_differ_from_epoch_to_epoch():
    numbers = torch.arange(100)
    first, second = ([x for xb, yb in mnist.batches(numbers, numbers, 10, shuffle=True) for x in xb.tolist()]
                     for _ in range(2))
    assert first != second


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_loss_and_its_gradient_survive_far_from_zero(far):
    preds = torch.full((4, 1), far).requires_grad_()
    loss = mnist.mnist_loss(preds, torch.tensor([[1.], [0.], [1.], [0.]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5) and preds.grad.isfinite().all()


def test_optimizer_leaves_parameters_without_gradient_alone():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = mnist.BasicOptimizer([used, unused], lr=0.5)
    used.sum().backward(); optimizer.step(); optimizer.zero_grad()
    assert used.tolist() == [0.5, 0.5] and unused.tolist() == [1., 1.] and used.grad is None


def test_jiggle_keeps_shape_and_turns_every_picture_differently():
    torch.manual_seed(0)
    digits = torch.zeros(6, 1, 28, 28); digits[:, :, 8:20, 12:16] = 1.
    moved = last_mistakes.jiggle(digits)
    assert moved.shape == digits.shape and moved.min() >= 0 and moved.max() <= 1.0001
    assert all(not torch.equal(a, b) for a, b in zip(moved[:-1], moved[1:], strict=True))
    assert (moved.sum((1, 2, 3))/48 - 1).abs().max() < 0.35


def test_jiggle_moves_no_further_than_asked():
    torch.manual_seed(0)
    digits = torch.zeros(200, 1, 28, 28); digits[:, :, 13:15, 13:15] = 1.
    moved = last_mistakes.jiggle(digits, degrees=0., shift=0.14, zoom=0.)
    places = torch.arange(28.)
    centre = (moved.sum(2)*places).sum((1, 2))/moved.sum((1, 2, 3))
    assert (centre-13.5).abs().max() <= 2.1 and (centre-13.5).abs().max() > 1.5


@pytest.mark.parametrize("classes", [2, 10])
def test_small_cnn_has_few_parameters(classes):
    net = mnist.small_cnn(classes, (16, 32, 48, 64), (5, 5, 5, 3), dropout=0.2)
    assert net(torch.zeros(3, 1, 28, 28)).shape == (3, classes)
    assert sum(p.numel() for p in net.parameters()) < 100_000


def test_training_leaves_the_model_ready_for_use():
    torch.manual_seed(0)
    xs, ys = torch.randn(64, 1, 28, 28), torch.randint(0, 2, (64,))
    model = last_mistakes.train_one_cycle(mnist.small_cnn(2), xs, ys, epochs=1, batch_size=32)
    assert not model.training
    with torch.no_grad(): torch.testing.assert_close(model(xs[:1]), model(xs)[:1], rtol=0, atol=1e-5)


def test_more_looks_are_averaged():
    torch.manual_seed(0)
    model, xs = mnist.small_cnn(3).eval(), torch.rand(5, 1, 28, 28)
    darker = last_mistakes.look_often(model, xs, times=1, change=lambda xb: xb/2)
    with torch.no_grad(): wanted = (model(xs).softmax(1) + model(xs/2).softmax(1))/2
    torch.testing.assert_close(darker, wanted)


# The page that reads what a visitor draws

@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    "The page with a network of random weights, and that network"
    folder = tmp_path_factory.mktemp("digits")
    torch.manual_seed(0)
    model = mnist.small_cnn(10, (4, 6, 8, 8))
    for _ in range(3): model(torch.rand(16, 1, 28, 28))   # so that the batch norms have something to fold in
    last_mistakes.save_for_browser(model, folder/"digits.safetensors")
    shutil.copyfile(asset("alive/digits.html"), folder/"index.html")
    for script in ("weights.js", "digits.js"): shutil.copyfile(asset(f"alive/{script}"), folder/script)
    with start_browser(tmp_path_factory.mktemp("browser")) as browser, served(folder) as url:
        opened = browser.page(f"{url}index.html")
        opened.wait_for("document.body.classList.contains('ready')")
        opened.evaluate("fetch('digits.safetensors').then(answer => answer.arrayBuffer())"
                        ".then(buffer => { window.net = digits.parse(buffer); }), 1")
        opened.wait_for("!!window.net")
        yield opened, model.eval()


def test_the_page_computes_as_python_does(drawing):
    opened, model = drawing
    x = torch.rand(28, 28, generator=torch.Generator().manual_seed(1))
    found = opened.evaluate(f"net.answer({json.dumps(x.flatten().tolist())}).probabilities")
    with torch.no_grad(): wanted = model(x[None, None]).softmax(1)[0]
    torch.testing.assert_close(torch.tensor(found), wanted, rtol=0, atol=0.02)     # weights have 8 bits there


def test_a_drawing_is_put_where_mnist_puts_its_digits(drawing):
    opened, _ = drawing
    # 40 by 100, in a corner
    ink = "Float32Array.from({length: 280*280}, (_, at) => at % 280 < 40 && at < 280*100 ? 1 : 0)"
    pixels = torch.tensor(opened.evaluate(f"Array.from(digits.prepare({ink}, 280))")).view(28, 28)
    rows, columns = (pixels.sum(1) > .5).sum(), (pixels.sum(0) > .5).sum()
    centre = (pixels.sum(1)*(torch.arange(28.) + .5)).sum()/pixels.sum()
    assert rows == 20 and columns == 8 and centre == pytest.approx(14, abs=.2)
    assert opened.evaluate("digits.prepare(new Float32Array(280*280), 280)") is None


def test_a_visitor_draws_and_clears(drawing):
    opened, _ = drawing
    note = "document.getElementById('note').textContent"
    assert opened.evaluate(note).startswith("Draw a digit")
    opened.evaluate("""(paper => { for (const [kind, x, y] of [["down", 60, 60], ["move", 60, 200], ["up", 60, 200]])
        paper.dispatchEvent(new PointerEvent(`pointer${kind}`, {clientX: paper.getBoundingClientRect().x + x,
            clientY: paper.getBoundingClientRect().y + y, bubbles: true, pointerId: 1})); })
        (Object.assign(document.getElementById("paper"), {setPointerCapture() {}}))""")
    assert opened.evaluate(note).startswith("The network reads a")
    assert opened.evaluate("document.querySelectorAll('#answers .best').length") == 1
    opened.evaluate("document.getElementById('clear').click()")
    assert opened.evaluate(note).startswith("Draw a digit")
    opened.evaluate("(box => { box.value = '7'; box.dispatchEvent(new Event('change')); })"
                    "(document.getElementById('mine'))")
    assert opened.evaluate(note).startswith("The network reads a") and opened.errors == []


def test_the_kept_network_reads_its_own_examples(tmp_path):
    folder = tmp_path/"page"
    folder.mkdir()
    for kept in ("digits.html", "weights.js", "digits.js", "digits.safetensors"):
        shutil.copyfile(asset(f"alive/{kept}"), folder/kept)
    with start_browser(tmp_path/"browser") as browser, served(folder) as url:
        opened = browser.page(f"{url}digits.html")
        opened.wait_for("document.body.classList.contains('ready')")
        for digit in ("0", "1", "2", "4", "7"):
            opened.evaluate("(box => { box.value = '" + digit + "'; box.dispatchEvent(new Event('change')); })"
                            "(document.getElementById('mine'))")
            assert opened.evaluate("document.getElementById('note').textContent").startswith(
                f"The network reads a {digit},")


# What the pages promise, held against their last full runs: {key of a published figure: (page, least median)}
FLOORS = {"M7-linear-by-hand": ("04_mnist", 0.965), "M7-nn-linear-own-optimizer": ("04_mnist", 0.974),
          "M7-learner-nn-linear": ("04_mnist", 0.962), "M8-two-layer-net-of-30": ("04_mnist", 0.981),
          "M9-resnet18-from-scratch": ("dives/04_eighteen_layers", 0.994),
          "M9-small-convolutional-net": ("dives/04_last_mistakes", 0.996)}
PAGES = {"04_mnist": {"mnist_sample", "mnist"}, "dives/04_eighteen_layers": {"mnist_sample"},
         "dives/04_last_mistakes": {"mnist"}, "dives/04_convolutions": {"mnist_sample"}}


@pytest.fixture(scope="module")
def runs(): return {page: load_run(page) for page in PAGES}


def measured(run, key): return [m for m in run.measured if m.published == key]


@pytest.mark.parametrize("key, page, least", [(key, *wanted) for key, wanted in FLOORS.items()])
def test_medians_of_the_last_full_run(runs, key, page, least):
    assert measured(runs[page], key), f"nothing was measured beside {key}"
    for figure in measured(runs[page], key):
        assert len(figure.values) == len(figure.seeds) == len(set(figure.seeds)) == 5
        assert statistics.median(figure.values) >= least


@pytest.mark.parametrize("key", [key for key in published("04_mnist") if key.startswith(("M1-", "M2-"))])
def test_figures_without_chance_equal_the_published(runs, key):
    [figure] = measured(runs["04_mnist"], key)
    assert round(figure.value, 4) == float(published()[key].value)


def test_the_small_network_is_as_good_and_ten_times_as_fast(runs):
    run = runs["dives/04_eighteen_layers"]
    [large] = measured(run, "M9-resnet18-from-scratch")
    [small] = [m for m in run.measured if m.what == "small convolutional net"]
    assert small.value >= large.value
    assert statistics.median(small.seconds)*10 <= statistics.median(large.seconds)


def test_ten_digits_on_the_page_are_read_by_few_parameters(runs):
    [figure] = measured(runs["04_mnist"], "M9-small-convolutional-net")
    assert len(figure.seeds) == 5 and figure.value >= 0.985


@pytest.mark.parametrize("page", PAGES)
def test_the_last_full_run_used_real_data(runs, page):
    run = runs[page]
    assert run.comparable and not run.partial and {d["name"] for d in run.data} == PAGES[page]
    assert run.device and run.versions["torch"] and run.date

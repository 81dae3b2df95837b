"What lesson 4 exports, at its edges; and what its last full run measured"
import statistics

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from course_lib import mnist
from course_lib.base.env import CourseError
from course_lib.lesson.results import load_run, published


def picture(path, size=(28, 28), mode="L", shade=100):
    Image.new(mode, size, shade).save(path)
    return path


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 cut off"])
def test_a_file_that_is_no_picture_is_named(content, tmp_path):
    good, bad = picture(tmp_path/"good.png"), tmp_path/"bad.png"
    bad.write_bytes(content)
    with pytest.raises(CourseError, match="bad.png cannot be read as a picture"): mnist.decode_images([good, bad])


def test_truncated_picture_is_named(tmp_path):
    whole = picture(tmp_path/"whole.png", size=(200, 200))
    (tmp_path/"cut.png").write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(CourseError, match="cut.png"): mnist.decode_images([tmp_path/"cut.png"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CourseError, match="gone.png"): mnist.decode_images([tmp_path/"gone.png"])


def test_sizes_must_agree(tmp_path):
    files = [picture(tmp_path/"a.png"), picture(tmp_path/"b.png", size=(28, 27))]
    with pytest.raises(CourseError, match=r"b.png has \(27, 28\)"): mnist.decode_images(files)


def test_colour_becomes_grey_and_order_is_kept(tmp_path):
    files = [picture(tmp_path/f"{n}.png", mode="RGB", shade=(n, n, n)) for n in (30, 10, 20)]
    assert mnist.decode_images(files)[:, 0, 0].tolist() == [30, 10, 20]


def test_cache_follows_the_files(tmp_path):
    file, cache = picture(tmp_path/"a.png", shade=1), tmp_path/"cache"
    assert mnist.read_images([file], cache).max() == 1
    picture(file, shade=200)
    assert mnist.read_images([file], cache).max() == 200
    assert not list(cache.glob("*.tmp"))


def test_cache_is_really_used(tmp_path, monkeypatch):
    file, cache = picture(tmp_path/"a.png"), tmp_path/"cache"
    first = mnist.read_images([file], cache)
    def forbidden(files): raise AssertionError("decoded again")
    monkeypatch.setattr(mnist, "decode_images", forbidden)
    assert torch.equal(mnist.read_images([file], cache), first)


def test_nothing_half_written_when_a_picture_is_broken(tmp_path):
    (tmp_path/"bad.png").write_text("no")
    with pytest.raises(CourseError): mnist.read_images([tmp_path/"bad.png"], tmp_path/"cache")
    with pytest.raises(CourseError): mnist.read_images([tmp_path/"bad.png"], tmp_path/"cache")
    assert not list((tmp_path/"cache").glob("*.npy"))


@pytest.mark.parametrize("count, size, lengths", [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 256, [3]), (0, 4, [])])
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


@pytest.mark.parametrize("arguments, words", [((torch.ones(3), torch.ones(2)), "3 inputs and 2 targets"),
                                              ((torch.ones(3), torch.ones(3), 0), "batch_size is 0")])
def test_batches_refuse(arguments, words):
    with pytest.raises(CourseError, match=words): next(mnist.batches(*arguments))


def test_loss_is_smooth_where_accuracy_is_flat():
    preds, targs = torch.tensor([[0.3], [-2.]]), torch.tensor([[1.], [0.]])
    nudged = preds + 1e-3
    assert mnist.batch_accuracy(preds, targs) == mnist.batch_accuracy(nudged, targs)
    assert mnist.mnist_loss(preds, targs) != mnist.mnist_loss(nudged, targs)


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
    moved = mnist.jiggle(digits)
    assert moved.shape == digits.shape and moved.min() >= 0 and moved.max() <= 1.0001
    assert all(not torch.equal(a, b) for a, b in zip(moved[:-1], moved[1:], strict=True))
    assert (moved.sum((1, 2, 3))/48 - 1).abs().max() < 0.35


def test_jiggle_moves_no_further_than_asked():
    torch.manual_seed(0)
    digits = torch.zeros(200, 1, 28, 28); digits[:, :, 13:15, 13:15] = 1.
    moved = mnist.jiggle(digits, degrees=0., shift=0.14, zoom=0.)
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
    model = mnist.train_one_cycle(mnist.small_cnn(), xs, ys, epochs=1, batch_size=32)
    assert not model.training
    with torch.no_grad(): torch.testing.assert_close(model(xs[:1]), model(xs)[:1], rtol=0, atol=1e-5)


def test_diverging_training_says_what_to_do():
    xs, ys = torch.randn(32, 4)*1e20, torch.ones(32, 1)
    line = torch.nn.Linear(4, 1)
    with pytest.raises(CourseError, match="learning rate is probably too high"):
        mnist.fit(line, mnist.BasicOptimizer(line.parameters(), 1e20), lambda p, t: F.mse_loss(p*p, t),
                  lambda: [(xs, ys)]*5, 2)


# What this lesson promises, held against its last full run: (key of a published figure, least median)
FLOORS = {"M7-linear-by-hand": 0.965, "M7-nn-linear-own-optimizer": 0.974, "M7-learner-nn-linear": 0.962,
          "M8-two-layer-net-of-30": 0.981, "M9-resnet18-from-scratch": 0.994, "M9-small-convolutional-net": 0.996}


@pytest.fixture(scope="module")
def run(): return load_run("04_mnist")


def measured(run, key): return [m for m in run.measured if m.published == key]


@pytest.mark.parametrize("key, least", FLOORS.items())
def test_medians_of_the_last_full_run(run, key, least):
    assert measured(run, key), f"nothing was measured beside {key}"
    for figure in measured(run, key):
        assert len(figure.values) == len(figure.seeds) == len(set(figure.seeds)) == 5
        assert statistics.median(figure.values) >= least


@pytest.mark.parametrize("key", [key for key in published("04_mnist") if key.startswith(("M1-", "M2-"))])
def test_figures_without_chance_equal_the_published(run, key):
    [figure] = measured(run, key)
    assert round(figure.value, 4) == float(published()[key].value)


def test_the_small_network_is_as_good_and_ten_times_as_fast(run):
    [large] = measured(run, "M9-resnet18-from-scratch")
    [small] = [m for m in run.measured if m.what == "small convolutional net"]
    assert small.value >= large.value
    assert statistics.median(small.seconds)*10 <= statistics.median(large.seconds)


def test_the_last_full_run_used_real_data(run):
    assert run.comparable and not run.partial and {d["name"] for d in run.data} == {"mnist_sample", "mnist"}
    assert run.device and run.versions["torch"] and run.date

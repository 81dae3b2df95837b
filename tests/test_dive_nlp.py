"What the dives of lesson 8 export, at its edges, and what their last full runs must have shown"
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from course_lib.base.env import CourseError
from course_lib.dives.hard_to_beat import NBWeights, log_count_ratio
from course_lib.dives.which_tool import pool, top_k
from course_lib.lesson.results import load_run, results_folder


# Weights of naive Bayes

def drawn(seed=0, texts=60, features=25):
    rng = np.random.default_rng(seed)
    labels = rng.random(texts) < 0.4
    return csr_matrix((rng.random((texts, features)) < np.where(labels, 0.4, 0.2)[:, None]).astype(float)), labels


@pytest.mark.parametrize("smooth", [0.1, 1, 5])
def test_ratios_are_those_of_scikit_learn(smooth):
    counts, labels = drawn()
    no, yes = MultinomialNB(alpha=smooth).fit(counts, labels).feature_log_prob_
    assert np.allclose(log_count_ratio(counts, labels, smooth), yes - no)


def test_a_ratio_by_hand():
    counts = csr_matrix([[1, 0], [1, 1], [0, 1]])
    assert np.allclose(log_count_ratio(counts, [True, True, False]), np.log([(3/5)/(1/3), (2/5)/(2/3)]))


@pytest.mark.parametrize("labels, meant", [
    ([True]*3, "All texts are of one class"), ([False]*3, "All texts are of one class"),
    ([True], "3 texts came with 1")])
def test_labels_that_teach_nothing_are_refused(labels, meant):
    with pytest.raises(CourseError, match=meant): log_count_ratio(csr_matrix(np.eye(3)), labels)


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a", "a", "a"]])
def test_two_classes_are_needed(labels):
    with pytest.raises(CourseError, match=f"There are {len(set(labels))} classes"):
        NBWeights().fit(csr_matrix(np.eye(3)), np.array(labels))


def test_which_class_is_named_first_only_turns_the_sign():
    counts, labels = drawn()
    one, other = (NBWeights().fit(counts, labels == side).ratio_ for side in (True, False))
    assert np.allclose(one, -other)


@pytest.mark.parametrize("longest, most", [(1, 0.75), (2, 1)])
def test_a_not_right_before_is_read_by_pairs_only(longest, most):
    praise, blame = ("good", "great", "fine"), ("bad", "dull", "poor")
    texts = [f"it {verb} {negation}{word}" for word in (*praise, *blame) for negation in ("", "not ")
             for verb in ("is", "was", "felt", "seemed")]
    liked = np.array([(text.split()[-1] in praise) != (" not " in text) for text in texts])
    bags = CountVectorizer(binary=True, ngram_range=(1, longest))
    model = make_pipeline(bags, NBWeights(), LogisticRegression(C=100))
    score = model.fit(texts, liked).score(texts, liked)
    assert score == 1 if most == 1 else score < most


def test_labels_may_be_a_list_of_words():
    model = make_pipeline(CountVectorizer(), NBWeights(), LogisticRegression())
    texts = ["good", "bad", "good film", "bad film"]
    assert list(model.fit(texts, ["pos", "neg", "pos", "neg"]).predict(["good", "bad"])) == ["pos", "neg"]


def test_unknown_words_leave_the_constant():
    model = make_pipeline(CountVectorizer(), NBWeights(), LogisticRegression())
    model.fit(["good", "bad", "good film", "bad film"], [1, 0, 1, 0])
    assert model.decision_function(["zorbulous", ""]) == pytest.approx(np.repeat(model[-1].intercept_, 2))


# Pools and search

def test_the_pools_leave_padding_out():
    acts = torch.tensor([[[2.], [4.], [0.], [9.]], [[-1.], [-3.], [7.], [7.]]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    assert pool(acts, mask)[..., 0].tolist() == [[2, 2, 4], [-1, -2, -1]]


def test_a_text_is_pooled_alike_alone_and_beside_longer_ones():
    acts = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6) < torch.tensor([[2], [6], [4]])
    assert torch.allclose(pool(acts, mask)[0], pool(acts[:1, :2], mask[:1, :2])[0])


def test_what_stands_on_padding_cannot_be_seen():
    acts = torch.full((1, 2, 1), torch.nan); acts[0, 0] = 3
    assert pool(acts, torch.tensor([[1, 0]])).flatten().tolist() == [3, 3, 3]


def test_a_text_without_pieces_is_named():
    with pytest.raises(CourseError, match="without a single piece"): pool(torch.ones(1, 2, 1), torch.zeros(1, 2))


def test_each_row_is_nearest_to_itself():
    rows = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    near = top_k(rows, rows, 3)
    assert near[:, 0].tolist() == list(range(40))
    assert (near[:, 1] == ((rows @ rows.T).fill_diagonal_(-2)).argmax(1).numpy()).all()


@pytest.mark.parametrize("queries, rows, k, meant", [
    (np.ones((1, 3)), np.ones((4, 2)), 1, "3 numbers, texts 2"), (np.ones((1, 2)), np.ones((4, 2)), 5, "best 5 of 4"),
    (np.ones((1, 2)), np.ones((4, 2)), 0, "best 0 of 4")])
def test_searches_that_cannot_be_done_are_named(queries, rows, k, meant):
    with pytest.raises(CourseError, match=meant): top_k(queries, rows, k)


# What the dives promise, held against their last full runs

@pytest.fixture(scope="module")
def beaten(): return load_run("dives/08_hard_to_beat")


def measured(run, what, **more):
    "The one figure of that name"
    [found] = [m for m in run.measured if m.what == what and all(getattr(m, key) == more[key] for key in more)]
    return found


def test_counting_reaches_what_it_should_on_all_reviews(beaten):
    figure = measured(beaten, "IMDb, weighted n-grams")
    assert 0.916 <= figure.value < 0.945 and figure.published == "N2-awd-lstm-forward"


def test_more_labels_help_and_less_each_time(beaten):
    sizes = [100, 250, 1000, 2500, 10_000]
    curve = [measured(beaten, f"IMDb, weighted n-grams, {size} labels") for size in sizes]
    assert all(len(set(m.values)) == 5 for m in curve)
    medians = [m.value for m in curve] + [measured(beaten, "IMDb, weighted n-grams").value]
    assert medians == sorted(medians) and medians[2] - medians[0] > 2*(medians[4] - medians[2])


def test_the_weights_of_naive_bayes_help_on_the_same_splits(beaten):
    plain, weighted = (measured(beaten, f"sample, {name}", setting="random splits, 800 to learn")
                       for name in ("naive Bayes, words", "weighted words"))
    assert len(plain.values) == 10
    assert sum(b > a for a, b in zip(plain.values, weighted.values, strict=True)) >= 9


@pytest.mark.parametrize("learned", ["800 reviews", "25,000 reviews"])
def test_a_not_is_not_read(learned, beaten):
    right = lambda name: measured(beaten, f"planted sentences, {name}", setting=learned).value
    assert right("plain") == 1
    assert max(right("'not' right before"), right("'not' far before"), right("others were wrong")) < 0.3


def test_films_that_are_known_make_a_set_easier(beaten):
    assert measured(beaten, "random validation set beside films apart").value > 0.005


def test_the_last_full_run_used_real_reviews(beaten):
    assert beaten.mode == "full" and {d["name"]: d["source"] != "stand-in" for d in beaten.data} == {
        "imdb_sample": True, "imdb": True}


@pytest.fixture(scope="module")
def chosen():
    if not (results_folder()/"dives"/"08_which_tool.json").is_file(): pytest.skip("not yet run in full")
    return load_run("dives/08_which_tool")


def test_the_question_decides_which_tool_is_ahead(chosen):
    def figure(what, setting): return measured(chosen, what, setting=setting).value
    for size in (100, 300, 1000):
        assert figure("subject of a phrase, embeddings", f"{size} labels") > figure("subject of a phrase, counts",
                                                                                    f"{size} labels")
    folds = "five folds of 1,000"
    assert figure("why: counts: words and pairs, TF-IDF", folds) > figure("why: as in the lesson", folds) + 0.03


def test_words_find_numbers_and_meaning_finds_other_words(chosen):
    def found(kind, setting): return measured(chosen, f"search {kind}", setting=setting).value
    none, row = "no word in common", "one of 300 numbers in a row, in the first place"
    assert found("by word", none) == 0 and found("by meaning", none) > 0.1
    assert found("by word", row) == 1 and found("by meaning", row) < 0.6

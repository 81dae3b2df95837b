"Image models: names taken apart, tables joined without losing a row, the planted truth found"
import math

import numpy as np
import pandas as pd
import pytest

from course_lib.tables import image_models
from course_lib.data import standins
from course_lib.base.env import CourseError
from course_lib.tables.image_models import (
    KEY, TABLE_FILES, best_under, family, merge_tables, pareto_front, plot_models, pretraining, read_table, split_name,
    trend_lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return standins.build_standin("timm_results", tmp_path_factory.mktemp("timm"))


@pytest.fixture(scope="module")
def merged(folder):
    return merge_tables(read_table(folder, "accuracy"), read_table(folder, "speed"))


def accuracies(*rows):
    "A table of accuracies from (model, size, top1, parameters)"
    table = pd.DataFrame(rows, columns=["model", "size", "top1", "parameters"])
    return image_models.add_name_parts(table.astype({"size": "Int64"}))


def timings(*rows):
    "A table of speeds from (model, size, images a second)"
    table = pd.DataFrame(rows, columns=["model", "size", "images_per_second"])
    return image_models.add_name_parts(table.astype({"size": "Int64"}))


@pytest.mark.parametrize("name, parts", [
    ("convnext_tiny.fb_in22k_ft_in1k", ("convnext_tiny", "fb_in22k_ft_in1k")), ("resnet18", ("resnet18", "")),
    ("resnet18.", ("resnet18", "")), (" levit_128s.fb_dist_in1k ", ("levit_128s", "fb_dist_in1k")),
    ("a.b.c", ("a", "b.c"))])
def test_split_name(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["", "  ", ".in1k"])
def test_no_architecture(name):
    with pytest.raises(CourseError, match="no architecture"): split_name(name)


@pytest.mark.parametrize("name, expected", [
    ("resnet50.a1_in1k", "resnet"), ("resnet50d.ra2_in1k", "resnetd"), ("resnet50x4_clip", "resnet"),
    ("wide_resnet50_2", "resnet"),
    ("resnetv2_50d", "resnetv2"), ("resnetaa50d", "resnetaa"), ("seresnet50", "seresnet"),
    ("gluon_resnet18_v1b", "resnet"),
    ("levit_128s", "levit"), ("levit_conv_256", "levit"), ("vit_base_patch16_224", "vit"),
    ("tiny_vit_5m_224", "tiny_vit"),
    ("deit3_small_patch16_224", "deit"), ("deit_tiny_distilled_patch16_224", "deit"),
    ("eva02_large_patch14_448", "eva"),
    ("eva_giant_patch14_560", "eva"), ("beitv2_base_patch16_224", "beitv2"), ("convnext_tiny", "convnext"),
    ("convnextv2_tiny", "convnextv2"), ("efficientnet_b0", "efficientnet"), ("tf_efficientnetv2_s", "efficientnetv2"),
    ("swin_base_patch4_window7_224", "swin"), ("swinv2_cr_small_224", "swinv2"), ("regnety_040", "regnety"),
    ("maxvit_rmlp_base_rw_224", "maxvit"), ("mobilenetv3_large_100", "mobilenetv3"),
    ("mobilenetv4_conv_small", "mobilenetv4"),
    ("dm_nfnet_f0", "nfnet"), ("ens_adv_inception_resnet_v2", "inception"), ("res2net50_26w_4s", "res2net"),
    ("vgg16_bn", "vgg"),
    ("cs3darknet_m", "cs3darknet"), ("dla60x_c", "dla"), ("tf", "tf"), ("50", "50"),
    ("alpha_tiny.recipe1_in1k", "alpha")])
def test_family(name, expected):
    assert family(name) == expected


@pytest.mark.parametrize("tag, expected", [
    ("", "ImageNet"), ("a1_in1k", "ImageNet"), ("fcmae_ft_in1k", "ImageNet"), ("fb_dist_in1k", "ImageNet"),
    ("fb_in22k_ft_in1k", "larger ImageNet"), ("augreg_in21k_ft_in1k", "larger ImageNet"),
    ("sw_in12k_ft_in1k", "larger ImageNet"),
    ("bd_ssld_6m_in1k", "larger ImageNet"), ("laion2b_ft_in12k_in1k", "web"), ("fb_swsl_ig1b_ft_in1k", "web"),
    ("ns_jft_in1k", "web")])
def test_pretraining(tag, expected):
    assert pretraining(tag) == expected


@pytest.mark.parametrize("which, rows", [("accuracy", 65), ("speed", 44), ("earlier_speed", 19), ("training", 19),
                                         ("pretraining", 17)])
def test_every_row_is_read(folder, which, rows):
    assert len(read_table(folder, which)) == rows


def test_thousands_are_numbers(folder):
    assert "1,014.45" in (folder/TABLE_FILES["accuracy"]).read_text(encoding="utf-8")
    parameters = read_table(folder, "accuracy")["parameters"]
    assert parameters.max() == 1900 and 1014.45 in parameters.values


@pytest.mark.parametrize("which, text, words", [
    ("accuracy", "model,img_size\na,224\n",
     r"results-imagenet.csv lacks the columns top1, param_count; it has model, img_size"),
    ("training", "model,train_img_size\na,224\n", "lacks the column train_samples_per_sec;"),
    ("speed", "", "cannot be read as a table"), ("speed", 'model,"x\n', "cannot be read as a table"),
    ("speed", None, "pt240.*csv is not in")])
def test_tables_that_cannot_be_used(which, text, words, tmp_path):
    if text is not None: (tmp_path/TABLE_FILES[which]).write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=words): read_table(tmp_path, which)


def test_table_in_another_encoding(tmp_path):
    (tmp_path/TABLE_FILES["pretraining"]).write_bytes("model,pretrain\nä,in1k\n".encode("utf-16"))
    with pytest.raises(CourseError, match="cannot be read"): read_table(tmp_path, "pretraining")


def test_unknown_table(folder):
    with pytest.raises(CourseError, match="Did you mean 'training'"): read_table(folder, "trainig")


@pytest.mark.parametrize("which, expected", [
    ("speed", {"merged": (40, 40), "a better row of this architecture and size": (20, 0),
               "no speed for this architecture": (3, 0),
               "no speed at this size": (2, 0), "no accuracy for this architecture": (0, 4)}),
    ("earlier_speed", {"merged": (15, 15), "a better row of this architecture and size": (15, 0),
                       "no speed for this architecture": (18, 0),
                       "no speed at this size": (17, 0), "no accuracy for this architecture": (0, 4)})])
def test_counts_of_the_standin(folder, which, expected):
    speed = read_table(folder, which)
    account = merge_tables(read_table(folder, "accuracy"), speed).account()
    counts = {reason: tuple(row) for reason, row in account.T.items()}
    assert counts == expected | {"rows in the file": (65, len(speed))}


def test_every_row_is_accounted_for(folder, merged):
    for name in ("accuracy", "speed"):
        assert len(merged.table) + (merged.left_out["table"] == name).sum() == len(read_table(folder, name))
    assert not merged.table.duplicated(KEY).any()


def test_joining_on_the_name_alone_is_wrong(folder, merged):
    "Every model has two sizes, so half of the pairs mix them, and the mixed ones flatter"
    naive = read_table(folder, "accuracy").merge(read_table(folder, "speed"), on="architecture")
    mixed = naive[naive["size_x"] != naive["size_y"]]
    assert len(naive) == 124 and len(mixed) == 64
    flattering = mixed[(mixed["size_x"] == 288) & (mixed["size_y"] == 224)]
    truth = merged.table.set_index(KEY)["top1"]
    true = truth.loc[list(flattering[["architecture", "size_y"]].itertuples(index=False))]
    assert (flattering["top1"].to_numpy() > true.to_numpy()).mean() > 0.9


def test_the_best_tag_is_chosen():
    accuracy = accuracies(("a_s.one", 224, 70, 5), ("a_s.two", 224, 72, 5), ("a_s.three", 224, 71, 5),
                          ("a_s.one", 288, 73, 5))
    table = merge_tables(accuracy, timings(("a_s", 224, 900), ("a_s", 288, 500))).table
    rows = table[["model", "size", "images_per_second"]].values.tolist()
    assert rows == [["a_s.one", 288, 500], ["a_s.two", 224, 900]]


@pytest.mark.parametrize("gap", [("a_s.x", 224, np.nan, 5), ("a_s.x", 224, 70, np.nan), ("a_s.x", pd.NA, 70, 5),
                                 (None, 224, 70, 5)])
def test_rows_with_gaps_are_counted(gap):
    merged = merge_tables(accuracies(gap, ("b_s.x", 224, 60, 5)), timings(("a_s", 224, 900), ("b_s", 224, 800)))
    assert merged.table["model"].tolist() == ["b_s.x"]
    assert set(merged.left_out["reason"]) == {"a name or number is missing", "no accuracy for this architecture"}
    assert merged.account().loc["rows in the file"].tolist() == [2, 2]


@pytest.mark.parametrize("cell", ["", "fast", "-3", "0", "inf", "nan"])
def test_a_speed_that_is_none_is_counted(folder, cell, tmp_path):
    lines = (folder/TABLE_FILES["training"]).read_text(encoding="utf-8").splitlines()
    parts = lines[1].split(",")
    (tmp_path/TABLE_FILES["training"]).write_text("\n".join([lines[0], ",".join([parts[0], cell, *parts[2:]]),
                                                             *lines[2:]]), encoding="utf-8")
    account = merge_tables(read_table(folder, "accuracy"), read_table(tmp_path, "training")).account()
    assert account["speed"].to_dict() == {
        "merged": 14, "a name or number is missing": 1, "no speed for this architecture": 0, "no speed at this size": 0,
        "a better row of this architecture and size": 0, "no accuracy for this architecture": 4, "rows in the file": 19}


def test_repeated_rows_are_counted_and_the_best_stays():
    merged = merge_tables(accuracies(("a_s.x", 224, 70, 5), ("a_s.x", 224, 70, 5)),
                          timings(("a_s", 224, 800), ("a_s", 224, 900), ("a_s", 224, 850)))
    assert merged.table["images_per_second"].tolist() == [900]
    assert merged.account().loc["a better row of this architecture and size"].tolist() == [1, 2]


def test_nothing_fits():
    merged = merge_tables(accuracies(("a_s.x", 224, 70, 5)), timings(("b_s", 224, 800)))
    assert merged.table.empty and merged.account().loc["rows in the file"].tolist() == [1, 1]
    for use in (best_under, plot_models):
        with pytest.raises(CourseError, match="Were all rows left out"): use(merged.table)


def test_front_is_what_nobody_beats(merged):
    "Against a slow definition, row by row"
    models = merged.table
    beaten = lambda row: ((models.top1 >= row.top1) & (models.images_per_second >= row.images_per_second)
                          & ((models.top1 > row.top1) | (models.images_per_second > row.images_per_second))).any()
    expected = {(row.model, row.size) for row in models.itertuples() if not beaten(row)}
    found = pareto_front(models)
    assert {(row.model, row.size) for row in found.itertuples()} == expected and 1 < len(found) < len(models)
    assert found["top1"].is_monotonic_decreasing and found["images_per_second"].is_monotonic_increasing


def test_equal_models_share_the_front():
    assert len(pareto_front(pd.DataFrame({"top1": [80, 80], "images_per_second": [100, 100]}))) == 2


@pytest.mark.parametrize("budget", [dict(images_per_second=2000), dict(parameters=10),
                                    dict(images_per_second=500, parameters=90, size=288),
                                    dict()])
def test_best_under_a_budget(merged, budget):
    models = merged.table
    fits = models[(models["images_per_second"] >= budget.get("images_per_second", 0))
                  & (models["parameters"] <= budget.get("parameters", math.inf))
                  & models["size"].isin([budget["size"]] if "size" in budget else models["size"])]
    found = best_under(models, **budget, n=3)
    assert found["top1"].tolist() == sorted(fits["top1"], reverse=True)[:3]


def test_the_budget_itself_is_within_it(merged):
    row = merged.table.iloc[7]
    found = best_under(merged.table, images_per_second=row["images_per_second"], parameters=row["parameters"], n=100)
    assert row["model"] in found["model"].values


@pytest.mark.parametrize("budget, words", [
    (dict(images_per_second=1e6), "None of 40 models.*nearest is delta_nano.*at 224 pixels: 11,600 images a second"),
    (dict(parameters=1), "nearest is .*_nano.*3.1 million parameters"),
    (dict(images_per_second=0), "must be a number above zero, got 0"),
    (dict(parameters=math.nan), "above zero, got nan"),
    (dict(images_per_second=math.inf), "got inf"), (dict(size=255), "size 255"), (dict(n=0), "at least 1, got 0")])
def test_budgets_that_cannot_be(merged, budget, words):
    with pytest.raises(CourseError, match=words): best_under(merged.table, **budget)


@pytest.mark.parametrize("name", standins.TIMM_RULE)
def test_trend_lines_find_the_planted_rule(merged, name):
    "Slope and height within four standard errors, which are far smaller than the differences between families"
    group = merged.table[merged.table["family"] == name]
    line = trend_lines(merged.table).set_index("family").loc[name]
    logs = np.log10(group["images_per_second"]) - 3
    spread = np.sqrt(((logs - logs.mean())**2).sum())
    at_thousand, slope = standins.TIMM_RULE[name]
    assert abs(line["slope"] - slope) < 4*standins.TIMM_NOISE/spread
    error = standins.TIMM_NOISE*np.sqrt(1/len(group) + (logs.mean()/spread)**2)
    assert abs(line["at_thousand"] - at_thousand) < 4*error


def test_small_families_have_no_line(merged):
    assert trend_lines(merged.table, min_models=11).empty
    same_speed = pd.DataFrame({"family": "a", "images_per_second": 100., "top1": [1., 2., 3.]})
    assert trend_lines(same_speed).empty


@pytest.mark.parametrize("y", ["top1", "parameters"])
def test_legend_switches_marks_and_line_together(merged, y):
    figure = plot_models(merged.table, y=y)
    for name in standins.TIMM_RULE:
        traces = [trace for trace in figure.data if trace.legendgroup == name]
        assert sorted((trace.mode, trace.showlegend) for trace in traces) == [("lines", False), ("markers", None)]
    assert figure.layout.xaxis.type == "log"


@pytest.mark.parametrize("y, top", [("top1", 100), ("parameters", 5000)])
def test_lines_stay_among_the_marks(merged, y, top):
    heights = [height for trace in plot_models(merged.table, y=y).data for height in trace.y]
    assert heights and 0 < min(heights) and max(heights) < top


def test_any_column_can_be_an_axis(merged):
    assert plot_models(merged.table, y="size").layout.yaxis.title.text == "size"


def test_other_families_are_drawn_once_in_grey(merged):
    figure = plot_models(merged.table, families=["beta", "beta"])
    marks = {trace.name: len(trace.x) for trace in figure.data if trace.mode == "markers"}
    assert marks == {"other": 30, "beta": 10}


def test_figures_are_small_and_repeatable(merged):
    first, second = (plot_models(merged.table).to_json() for _ in range(2))
    assert first == second and len(first) < 40_000


@pytest.mark.parametrize("wanted, words", [(dict(families=["omega"]), "No model here has the family 'omega'"),
                                           (dict(y="top5"), "Did you mean 'top1'"),
                                           (dict(families=[f"f{n}" for n in range(13)]), "family 'f0'")])
def test_pictures_that_cannot_be(merged, wanted, words):
    with pytest.raises(CourseError, match=words): plot_models(merged.table, **wanted)


def test_too_many_families():
    table = pd.DataFrame({"family": [f"f{n}" for n in range(13)], "images_per_second": 1., "top1": 1.})
    with pytest.raises(CourseError, match="13 families are too many"): plot_models(table, families=table["family"])

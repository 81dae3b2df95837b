


def test_families_help_and_answers_of_the_own_group_flatter():
    accuracy = {what: figure("06_what_891_rows_tell", what, "five folds") for what in (
        "women live", "boosting, plain", "two rules", "boosting, with", "forest, with", "mean of the three")}
    assert accuracy["women live"] == pytest.approx(0.7868, abs=1e-3) and accuracy["boosting, plain"] > 0.825
    assert accuracy["two rules"] > 0.833 and accuracy["boosting, with"] > 0.835 and accuracy["forest, with"] > 0.835
    assert accuracy["mean of the three"] > 0.84
    leaks = {setting: figure("06_what_891_rows_tell", "boosting with group", setting)
             for setting in ("inside", "once, own answer inc")}
    assert leaks["once, own answer inc"] > leaks["inside"] + 0.03
    assert figure("06_what_891_rows_tell", "mean of three on boards") > 0.785 + 0.03

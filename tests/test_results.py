"Figures: what may be recorded, what may be compared, what survives a save"
import json, re

import pytest

from course_lib.lesson import results
from course_lib.base.env import CourseError, asset


@pytest.fixture
def run():
    run = results.Run("04_mnist", "full", 42, data=[{"name": "mnist_sample", "source": "mirror", "part": False}],
                      device="a test", versions={"python": "3.11"}, date="2026-01-01", seconds=1.)
    run.measured.append(results.new_measured("M7", "linear by hand", [0.96, 0.98, 0.97], seeds=[1, 2, 3],
                                             published_key="M7-linear-by-hand"))
    return run


def test_published_table_is_sound():
    table = results.published()
    assert table and all(key.startswith(f"{row.id}-") for key, row in table.items())
    assert len(table) == len(asset("published.csv").read_text(encoding="utf-8").splitlines()) - 1, "a key stands twice"
    assert all(re.fullmatch(r"-?\d+(\.\d+)?", row.value) and row.source for row in table.values())


def test_published_beside_ours(run):
    board = results.Scoreboard(run)
    for shown in (repr(board), board._repr_html_()):
        assert "0.9696" in shown and "0.9700" in shown and "0.9600 to 0.9800" in shown


@pytest.mark.parametrize("change", [dict(mode="quick"), dict(data=[{"name": "mnist_sample", "source": "stand-in"}])])
def test_stand_in_is_never_shown_beside_published(run, change, tmp_path):
    for name, value in change.items(): setattr(run, name, value)
    assert "0.9696" not in repr(results.Scoreboard(run)) and "not comparable" in repr(results.Scoreboard(run))
    with pytest.raises(CourseError, match="Only full runs"): results.save_run(run, tmp_path)
    assert not list(tmp_path.iterdir())


def test_part_is_named(run):
    run.data = [{"name": "pets_part", "source": "mirror", "part": True}]
    assert "Only a part of pets_part" in repr(results.Scoreboard(run))


def test_save_and_load(run, tmp_path):
    results.save_run(run, tmp_path)
    assert results.load_run("04_mnist", tmp_path) == run
    assert [p.name for p in tmp_path.iterdir()] == ["04_mnist.json"]


def test_failed_save_keeps_the_last_good_file(run, tmp_path, monkeypatch):
    file = results.save_run(run, tmp_path)
    before = file.read_text()
    run.seconds = 2.
    def full_disk(*names): raise OSError(28, "No space left on device")
    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(CourseError, match="is full"): results.save_run(run, tmp_path)
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"measured": [{"no": 1}]}', "not json"])
def test_damaged_file_is_named(text, tmp_path):
    (tmp_path/"04_mnist.json").write_text(text)
    with pytest.raises(CourseError, match="04_mnist.json is not a saved run"): results.load_run("04_mnist", tmp_path)


@pytest.mark.parametrize("values", [float("nan"), float("inf"), "0.97", None, True, []])
def test_bad_values(values):
    with pytest.raises(CourseError): results.new_measured("M7", "linear", values)


def test_html_is_escaped(run):
    run.measured.append(results.new_measured("M7", "<script>alert(1)</script>", 0.5))
    assert "<script>" not in results.Scoreboard(run)._repr_html_()


def test_saved_json_holds_no_path(run, tmp_path):
    text = json.dumps(json.loads(results.save_run(run, tmp_path).read_text()))
    assert str(tmp_path) not in text


def test_a_saved_run_fits_a_narrow_terminal_and_says_of_when_it_is(run, tmp_path, monkeypatch):
    run.measured[0].setting = "a setting that takes more words than any terminal is wide, " * 3
    results.save_run(run, tmp_path)
    monkeypatch.setattr(results, "results_folder", lambda: tmp_path)
    for width in (60, 80, 200):
        lines = results.scoreboard_text("04_mnist", width).splitlines()
        assert max(map(len, lines)) <= max(width, 60)
    assert "kept run of 2026-01-01" in lines[0] and "ours" not in lines[0] and "terminal is wide," in " ".join(lines)

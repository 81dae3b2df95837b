"The workbook: every formula gives NumPy's number, nothing hostile gets in, and the committed example is in step"
import functools
import os
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from course_lib.base.env import CourseError, checkout
from course_lib.data.standins import TITANIC_RULE, build_standin
from course_lib.tables.sheets import read_values, recalculate
from course_lib.tables.titanic import RAW_COLUMNS, cleaned_columns, titanic_rows
from course_lib.tables.workbook import fit_linear, fit_two_relu, titanic_workbook, two_relu_loss, write_example
from openpyxl import load_workbook

FOUND = shutil.which("soffice") or shutil.which("libreoffice")
office = pytest.mark.skipif(not FOUND, reason="LibreOffice is not installed")
EXAMPLE = checkout()/"spreadsheets"/"titanic_standin.xlsx"
ALLOWED = {"SUMPRODUCT", "MMULT", "TRANSPOSE", "IF", "AVERAGE", "COUNT", "MAX", "ABS", "LOG10"} # Old ones
STEPS = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return pd.read_csv(build_standin("titanic", tmp_path_factory.mktemp("standin"))/"train.csv")


@pytest.fixture(scope="module")
def small(table): return table.head(120)


@pytest.fixture(scope="module")
def write(small, tmp_path_factory):
    "A function of what becomes of gaps: a workbook as written, with its cleaned columns and answers"
    @functools.cache
    def write(gaps):
        file = titanic_workbook(small, tmp_path_factory.mktemp(gaps)/"titanic.xlsx", gaps=gaps, steps=STEPS)
        rows = titanic_rows(small, gaps)
        return file, cleaned_columns(rows).to_numpy(), rows["Survived"].to_numpy(float)
    return write


@pytest.fixture(scope="module")
def calculate(write):
    "The same function for a workbook that LibreOffice has calculated"
    @functools.cache
    def calculate(gaps):
        file, x, y = write(gaps)
        return recalculate(file, file.with_name("calculated.xlsx")), x, y
    return calculate


@pytest.fixture(params=["drop", "fill"])
def written(request, write): return write(request.param)


@pytest.fixture(params=["drop", "fill"])
def calculated(request, calculate): return calculate(request.param)


def formula(cell):
    "What a cell holds: text of a formula (with its area where it is an array formula), or a value"
    value = cell.value
    if not hasattr(value, "text"): return value
    return value.text.removeprefix("="), value.ref.split(":")[0] if len(set(value.ref.split(":"))) == 1 else value.ref


def in_arrays(sheet):
    "Coordinates of the cells that show a part of an array formula"
    areas = [cell.value.ref for row in sheet for cell in row if hasattr(cell.value, "ref") and ":" in cell.value.ref]
    return {cell.coordinate for area in areas for row in sheet[area] for cell in row}


def formulas(file):
    cells = (cell for sheet in load_workbook(file) for row in sheet for cell in row)
    return [str(formula(cell)) for cell in cells if cell.data_type == "f"]


def descend(x, y, params, rate, steps):
    "Gradient descent in NumPy: losses before each step and after the last, and the last parameters"
    losses = [((x @ params - y)**2).mean()]
    for _ in range(steps):
        if losses[-1] < 1e6: params = params - rate*2*x.T @ (x @ params - y)/len(y)
        losses.append(((x @ params - y)**2).mean())
    return np.array(losses), params


# What is written

def test_two_builds_have_equal_cells(small, written):
    file, *_ = written
    again = titanic_workbook(small, file.with_name("again.xlsx"), gaps=file.parent.name[:4], steps=STEPS)
    first, second = load_workbook(file), load_workbook(again)
    assert first.sheetnames == second.sheetnames and first.properties.created == second.properties.created
    for one, other in zip(first, second, strict=True):
        assert [[formula(c) for c in row] for row in one] == [[formula(c) for c in row] for row in other]


def test_only_functions_that_excel_and_libreoffice_read_alike(written):
    used = {name for text in formulas(written[0]) for name in re.findall(r"([A-Z][A-Z0-9.]*)\(", text)}
    assert used == ALLOWED


def test_only_names_that_are_defined(written):
    known, used = set(load_workbook(written[0]).defined_names), set()
    for text in formulas(written[0]):
        bare = re.sub(r"'[^']*'!|\"[^\"]*\"", "", text) # Without names of sheets, and without texts
        used |= set(re.findall(r"[a-z]+_[a-z_]+|features|survived", bare))
    assert {"learning_rate", "features", "age_max"} <= used <= known


def test_no_new_kinds_of_formula(written):
    text = "\n".join(formulas(written[0]))
    assert not re.search(r"_xlfn|_xlws|#|@|[A-Z]:[A-Z]\b|\{", text)


@pytest.mark.parametrize("name", ["linear", "two relu", "one step", "matrix", "data"])
def test_headers_stay_in_view(written, name):
    assert load_workbook(written[0])[name].freeze_panes.endswith("11")


def test_learning_rate_is_limited_and_the_chart_shows_every_step(written):
    sheet = load_workbook(written[0])["descent"]
    (limits,), (chart,) = sheet.data_validations.dataValidation, sheet._charts
    assert (str(limits.sqref), limits.formula1, limits.formula2) == ("B5", "0", "100")
    wanted = [f"'descent'!${letter}$40:${letter}${40 + STEPS}" for letter in "BM"]
    assert [series.yVal.numRef.f for series in chart.series] == wanted


# What it computes

@office
def test_no_cell_shows_an_error_or_nothing(calculated):
    shown = load_workbook(calculated[0], data_only=True)
    for sheet in load_workbook(calculated[0]):
        computed = [cell.coordinate for row in sheet for cell in row if cell.data_type == "f"]
        assert computed or sheet.title == "read me"
        assert [cell for cell in computed if shown[sheet.title][cell].value is None] == [], sheet.title
    values = [cell.value for sheet in shown for row in sheet for cell in row]
    assert not [value for value in values if isinstance(value, str) and re.match(r"#|Err:", value)]


@office
def test_named_cells_equal_numpy(calculated):
    file, x, y = calculated
    got = read_values(file)
    mse = lambda predictions: ((predictions - y)**2).mean()
    relu = lambda params: np.maximum(x @ params.T, 0).sum(1)
    losses, end = descend(x, y, got["start_params"], got["learning_rate"], STEPS)
    want = {"features": x, "survived": y,
            "linear_loss": mse(x @ got["linear_params"]), "linear_trained": fit_linear(x, y),
            "linear_trained_loss": mse(x @ fit_linear(x, y)), "relu_loss": mse(relu(got["relu_params"])),
            "relu_trained_loss": mse(relu(got["relu_trained"])), "matrix_loss": mse(relu(got["relu_params"])),
            "matrix_params": got["relu_params"].T,
            "start_loss": losses[0], "step_loss": losses[1],
            "step_gradient": 2*x.T @ (x @ got["start_params"] - y)/len(y),
            "step_params": descend(x, y, got["start_params"], got["learning_rate"], 1)[1],
            "feature_sums": x.T @ x/len(y), "survived_sums": x.T @ y/len(y),
            "survived_square": y.mean(), "step_difference": 0, "descent_losses": losses, "descent_params": end,
            "descent_loss": losses[-1]}
    for name, value in want.items(): assert np.allclose(got[name], value, rtol=0, atol=1e-6), name
    assert set(got) - set(want) == {"age_max", "learning_rate", "linear_params", "relu_params", "relu_trained",
                                    "matrix_output", "start_params"}


@office
def test_columns_equal_torch(calculated):
    torch = pytest.importorskip("torch")
    file, x, y = calculated
    book, got = load_workbook(file, data_only=True), read_values(file)
    x, y, params = torch.tensor(x), torch.tensor(y), torch.tensor(got["relu_params"])
    column = lambda sheet, letter: torch.tensor([cell.value for cell in book[sheet][letter][10:]], dtype=torch.float64)
    lines = x @ params.T
    predictions = torch.relu(lines).sum(1)
    columns = {"C": lines[:, 0], "D": lines[:, 1], "E": lines[:, 0].relu(), "F": lines[:, 1].relu(),
               "G": predictions, "H": (predictions - y)**2}
    for letter, wanted in columns.items():
        for sheet in ("two relu", "matrix"):
            assert torch.allclose(column(sheet, letter)[:len(y)], wanted, atol=1e-6), (sheet, letter)
    start = torch.tensor(got["start_params"], requires_grad=True)
    ((x @ start - y)**2).mean().backward()
    assert torch.allclose(start.grad, torch.tensor(got["step_gradient"]), atol=1e-6)


@office
def test_the_loss_falls_at_every_step(calculated):
    losses = read_values(calculated[0])["descent_losses"]
    assert (np.diff(losses) < 0).all() and losses[-1] < losses[0]/2


@office
@pytest.mark.parametrize("gaps, rate, words", [
    ("drop", 0.05, "The loss falls."), ("drop", 0.5, "The loss grows"), ("drop", 100, "The loss grows"),
    ("fill", 0.05, "The loss falls.")])
def test_changing_learning_rate_and_parameters(gaps, rate, words, calculate, tmp_path):
    file, x, y = calculate(gaps)     # changed after it was calculated: old values must not survive
    book = load_workbook(file)
    book["descent"]["B5"] = rate
    book["linear"]["E5"], book["two relu"]["E6"], book["matrix"]["N12"] = -0.5, -0.25, 2
    book.save(tmp_path/"changed.xlsx")
    got = read_values(recalculate(tmp_path/"changed.xlsx", tmp_path/"changed.xlsx"))
    losses, _ = descend(x, y, got["start_params"], rate, STEPS)
    assert np.allclose(got["descent_losses"], losses, rtol=1e-6) and np.isfinite(got["descent_losses"]).all()
    assert got["linear_params"][2] == -0.5 and got["relu_params"][1, 2] == -0.25
    assert got["linear_loss"] == pytest.approx(((x @ got["linear_params"] - y)**2).mean(), abs=1e-6)
    bent = np.maximum(x @ got["relu_params"].T, 0)
    assert got["relu_loss"] == pytest.approx(((bent.sum(1) - y)**2).mean(), abs=1e-6)
    assert got["matrix_loss"] == pytest.approx(((bent @ [1, 2] - y)**2).mean(), abs=1e-6)
    assert words in load_workbook(tmp_path/"changed.xlsx", data_only=True)["descent"]["A10"].value


@office
def test_kept_values_are_computed_again(calculated, tmp_path):
    "A program that changes an input and leaves the old results in the file must not deceive us"
    file, x, y = calculated
    stale = tmp_path/"stale.xlsx"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(stale, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet7.xml"):
                content, changed = re.subn(rb'(<c r="B5"[^>]*><v>)0.15(</v>)', rb"\g<1>0.05\2", content)
            new.writestr(name, content)
    assert changed == 1 and read_values(stale)["descent_loss"] == read_values(file)["descent_loss"]
    got = read_values(recalculate(stale, stale))
    assert got["descent_loss"] == pytest.approx(descend(x, y, got["start_params"], 0.05, STEPS)[0][-1], abs=1e-6)


# Training

def test_two_relu_gradient_is_that_of_torch(small):
    torch = pytest.importorskip("torch")
    rows = titanic_rows(small)
    x, y = cleaned_columns(rows).to_numpy(), rows["Survived"].to_numpy(float)
    params = np.random.RandomState(0).uniform(-0.5, 0.5, 20)
    loss, gradient = two_relu_loss(params, x, y)
    p = torch.tensor(params.reshape(2, 10), requires_grad=True)
    wanted = ((torch.relu(torch.tensor(x) @ p.T).sum(1) - torch.tensor(y))**2).mean()
    wanted.backward()
    assert loss == pytest.approx(wanted.item()) and np.allclose(gradient, p.grad.ravel())


def test_the_network_beats_the_line_and_more_starts_never_hurt(table):
    rows = titanic_rows(table)
    x, y = cleaned_columns(rows).to_numpy(), rows["Survived"].to_numpy(float)
    line = ((x @ fit_linear(x, y) - y)**2).mean()
    (_, few), (best, many) = fit_two_relu(x, y, starts=3), fit_two_relu(x, y, starts=20)
    assert many.min() <= few.min() and many.min() < line and list(many[:3]) == list(few)
    assert two_relu_loss(best.ravel(), x, y)[0] == many.min()


def test_workbook_of_the_planted_table_holds_the_planted_rule(table, tmp_path):
    rows = titanic_rows(table)
    assert list(cleaned_columns(rows)) == list(TITANIC_RULE)
    book = load_workbook(titanic_workbook(table, tmp_path/"all.xlsx", steps=1))
    trained = np.array([cell.value for cell in book["linear"][6][2:12]])
    x = cleaned_columns(rows).to_numpy()
    predictions, chances = x @ trained, x @ list(TITANIC_RULE.values())
    assert np.corrcoef(predictions, chances)[0, 1] > 0.95 and abs(predictions - chances).mean() < 0.06


# Bad input

def test_bad_tables_leave_nothing(small, tmp_path):
    with pytest.raises(CourseError, match="lacks the column Fare"):
        titanic_workbook(small.drop(columns="Fare"), tmp_path/"titanic.xlsx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", '=HYPERLINK("http://127.0.0.1","x")', "\t=1",
                                  "male\x00"])
@pytest.mark.parametrize("column", RAW_COLUMNS)
def test_hostile_text_never_gets_into_a_cell(column, text, small, tmp_path):
    hostile = small.astype({column: object})
    hostile.loc[hostile.index[3], column] = text
    with pytest.raises(CourseError, match=f"Column {column} should hold .* row 4 has"):
        titanic_workbook(hostile, tmp_path/"titanic.xlsx")
    assert not list(tmp_path.iterdir())


def test_hostile_text_elsewhere_is_left_out(small, tmp_path):
    hostile = small.assign(Name="=1+1", Ticket="@SUM(A1)", Cabin="+1")
    file = titanic_workbook(hostile, tmp_path/"titanic.xlsx", steps=1)
    assert not [text for text in formulas(file) if text in ("=1+1", "@SUM(A1)", "+1")]
    cells = (cell for row in load_workbook(file)["data"].iter_rows(min_row=11) for cell in row)
    texts = {cell.value for cell in cells if cell.data_type == "s"}
    assert texts <= {"male", "female", "S", "C", "Q"}


@pytest.mark.parametrize("dest, words", [("a.csv", "ends in .xlsx"), ("nowhere/a.xlsx", "cannot be written"),
                                         ("taken.xlsx", "cannot be written")])
def test_bad_targets(dest, words, small, tmp_path):
    (tmp_path/"taken.xlsx"/"full").mkdir(parents=True)
    with pytest.raises(CourseError, match=words): titanic_workbook(small, tmp_path/dest, steps=1)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.xlsx"]


def test_a_full_disk_leaves_the_old_workbook(small, tmp_path, monkeypatch):
    (tmp_path/"a.xlsx").write_text("the old one")
    def fail(self, file):
        file.write_bytes(b"half")
        raise OSError(28, os.strerror(28))
    monkeypatch.setattr("openpyxl.Workbook.save", fail)
    with pytest.raises(CourseError, match="No space left"): titanic_workbook(small, tmp_path/"a.xlsx", steps=1)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.xlsx", "the old one")]


# The committed example

@office
def test_example_is_in_step_with_the_code(tmp_path):
    "Cell by cell, but for the network's trained parameters: elsewhere training may end in another valley as deep"
    kept, made = load_workbook(EXAMPLE), load_workbook(write_example(tmp_path/"titanic_standin.xlsx"))
    losses = [read_values(file)["relu_trained_loss"] for file in (EXAMPLE, tmp_path/"titanic_standin.xlsx")]
    assert losses[0] == pytest.approx(losses[1], abs=0.002)
    assert kept.sheetnames == made.sheetnames and set(kept.defined_names) == set(made.defined_names)
    for old, new in zip(kept, made, strict=True):
        assert old.dimensions == new.dimensions and old.freeze_panes == new.freeze_panes
        arrays = in_arrays(new)
        trained = {cell.coordinate for row in new["C7:L8"] for cell in row} if new.title == "two relu" else ()
        for row in new:
            for cell in row:
                if cell.coordinate in trained: continue
                was, now = formula(old[cell.coordinate]), formula(cell)
                number = isinstance(now, float) or (cell.coordinate in arrays and not isinstance(now, tuple))
                wanted = pytest.approx(now, abs=1e-4) if number else now
                assert was == wanted, (new.title, cell.coordinate)


def test_example_is_small_calculated_and_invented():
    assert EXAMPLE.stat().st_size < 300_000
    values = read_values(EXAMPLE)
    assert values["linear_trained_loss"] < values["linear_loss"] and values["relu_trained_loss"] < values["relu_loss"]
    assert "Invented" in load_workbook(EXAMPLE)["read me"]["A2"].value

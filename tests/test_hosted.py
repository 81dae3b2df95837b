"After the installation on Colab and Kaggle: restart where memory is old, name the GPU or its menu"
from types import SimpleNamespace

import pytest

from course_lib.base.env import CourseError
from course_lib.lesson import hosted


@pytest.mark.parametrize("host, menu", [("Colab", "Runtime > Restart session"), ("Kaggle", "Run > Restart")])
def test_a_replaced_package_asks_for_a_restart(monkeypatch, host, menu):
    monkeypatch.setattr(hosted, "notebook_host", lambda: host)
    monkeypatch.setattr(hosted, "outdated", lambda: ["numpy", "pillow"])
    monkeypatch.setattr(hosted, "pick_device", lambda: pytest.fail("torch is not imported before the restart"))
    with pytest.raises(CourseError, match=f"numpy, pillow.*{menu}"): hosted.after_install()


@pytest.mark.parametrize("host, device, said", [
    ("Colab", "cuda", "on Tesla T4"), ("Kaggle", "cuda", "on Tesla T4"),
    ("Colab", "cpu", "Runtime > Change runtime type"), ("Kaggle", "cpu", "Settings > Accelerator")])
def test_the_gpu_or_its_menu_is_named(monkeypatch, capsys, host, device, said):
    monkeypatch.setattr(hosted, "notebook_host", lambda: host)
    monkeypatch.setattr(hosted, "outdated", lambda: [])
    monkeypatch.setattr(hosted, "pick_device", lambda: SimpleNamespace(type=device))
    monkeypatch.setattr(hosted, "device_name", lambda: "Tesla T4")
    hosted.after_install()
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("loaded, installed, found", [
    ({"numpy": "2.1.0"}, {"numpy": "2.4.6"}, ["numpy"]), ({"numpy": "2.4.6"}, {"numpy": "2.4.6"}, []),
    ({"torch": "2.15.0+cu130"}, {"torch": "2.15.0"}, []), ({"PIL": "12.0.0"}, {"pillow": "13.0.0"}, ["pillow"]),
    ({"json": "1"}, {"numpy": "2.4.6"}, [])])
def test_outdated_compares_memory_with_disk(monkeypatch, loaded, installed, found):
    monkeypatch.setattr(hosted, "versions", lambda names: installed)
    assert hosted.outdated({name: SimpleNamespace(__version__=version) for name, version in loaded.items()}) == found

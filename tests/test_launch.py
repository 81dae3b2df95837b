"The script that is launched: two processes do what one does with the batch of both, on this machine alone"
import json
import os
import runpy
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from course_lib.base.env import checkout

SCRIPT = checkout()/"scripts"/"train_pets.py"
OPTIONS = ["--arch", "test_efficientnet", "--random", "--body", "--size", "64", "--epochs", "2", "--lr", "1e-2",
           "--cpu"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(command, *options, seconds=240):
    "Run the script in a group of processes of its own, so that none outlives its time"
    env = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    env |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([*command, str(SCRIPT), *map(str, options)], stdout=subprocess.PIPE, env=env, text=True,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try: said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise
    return process.returncode, said


def launcher(processes):
    return [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes),
            "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_ip",
            "127.0.0.1", "--main_process_port", str(free_port())]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "45 noisy squares of three colours: nine of them judge, which is no multiple of a batch"
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(45):
        pixels = rng.integers(0, 120, (64, 64, 3))
        pixels[..., i%3] += 100
        Image.fromarray(pixels.astype(np.uint8)).save(folder/f"{('red', 'green', 'deep_blue')[i%3]}_{i}.jpg")
    (folder/"notes.txt").write_text("no photograph")
    return folder


@pytest.fixture(scope="module")
def results(photos, tmp_path_factory):
    "What one process finds with batches of 8, and two with batches of 4"
    out = tmp_path_factory.mktemp("out")
    for processes, command in ((1, [sys.executable]), (2, launcher(2))):
        code, said = run(command, photos, *OPTIONS, "--batch", 8//processes, "--out", out/str(processes))
        assert code == 0, said
        assert said.count("epoch 2:") == 1, "one process speaks for all"
    return out


def result(results, processes): return json.loads((results/str(processes)/"result.json").read_text())


def test_two_processes_make_the_steps_of_one_with_the_batch_of_both(results):
    one, two = result(results, 1), result(results, 2)
    assert (one["processes"], two["processes"]) == (1, 2) and one["batch of all"] == two["batch of all"] == 8
    assert one["steps"] == two["steps"] == 2*(36//8)
    assert np.allclose(one["losses"], two["losses"], atol=1e-4) and one["losses"][0] != pytest.approx(one["losses"][-1])


def test_the_error_counts_every_photograph_once(results):
    one, two = result(results, 1), result(results, 2)
    assert one["error"] == pytest.approx(two["error"]) and round(one["error"]*9) == pytest.approx(one["error"]*9)


def test_both_end_with_the_same_weights(results):
    from safetensors.numpy import load_file
    one, two = (load_file(results/name/"model.safetensors") for name in ("1", "2"))
    assert one.keys() == two.keys() and len(one) > 10
    for name in one: assert np.allclose(one[name], two[name], atol=1e-3), name


@pytest.mark.parametrize("folder, words", [("nowhere", "nowhere has 0 photographs named like"),
                                           ("empty", "needs 10 or more")])
def test_a_folder_without_photographs_is_named(folder, words, tmp_path):
    (tmp_path/"empty").mkdir()
    with pytest.raises(SystemExit, match=words): runpy.run_path(str(SCRIPT))["split_files"](tmp_path/folder, 42)


def test_a_batch_that_is_too_large_is_named(photos):
    code, said = run([sys.executable], photos, *OPTIONS, "--batch", 64)
    assert code == 1 and "Traceback" not in said and "no batch of 64 for each of 1 processes" in said

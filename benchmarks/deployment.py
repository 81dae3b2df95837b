"""What lesson 02 claims about the speed of an exported model, as ratios measured in one run on this machine.

Run `python benchmarks/deployment.py`. It takes about a minute and exits with 1 where a claim does not hold.
One picture at a time, one thread, from the file to the answer. Apps are measured by `serving.py` and `web_app.py`.
"""
import io, sys, tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import ROUNDS, Way, compare, seconds_of
from torchvision.models import resnet18, squeezenet1_0

from course_lib.apps.quantize import compare_bundles, quantize_bundle
from course_lib.apps.bundle import export_bundle
from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.apps.predictor import resize_picture, load_bundle, open_picture

SIZE = 224
NETWORKS = {"resnet18": (resnet18, 2.5), "SqueezeNet": (squeezenet1_0, 5.),
            "EfficientNet-Lite0": ("tf_efficientnet_lite0", 3.5)} # {name: (network, claim for a web picture)}
PICTURES = {"web picture": (360, 270), "camera picture": (4000, 3000)}      # {name: (width, height)}
CAMERA_CLAIM = 1.5 # much of the time goes into reading the file, which every way has to do

def draw_jpeg(
    size:tuple, # (width, height)
    seed:int,   # Another one gives another picture
    bright:int, # 0 for a dark picture, 1 for a bright one
) -> bytes: # A JPEG file
    "Soft colours and the noise of a sensor: about as large as a photograph of that size"
    chance = np.random.default_rng(seed)
    coarse = chance.integers(90*bright, 90*bright + 160, (6, 8, 3), np.uint8)
    values = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    noisy = (values + chance.normal(0, 6, (*values.shape[:2], 1))).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()

def make_learner(
    network,     # From torchvision, or a name of timm
    folder:Path, # Holds pictures
): # fastai's Learner
    "A learner that has seen a few pictures: what it knows does not matter here, how it computes does"
    from fastai.callback import progress, schedule  # noqa: F401 (they give learners `no_bar` and `fit_one_cycle`)
    from fastai.data.transforms import Normalize
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.core import imagenet_stats
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.learner import vision_learner
    batch_tfms = [*aug_transforms(), Normalize.from_stats(*imagenet_stats)]
    dls = ImageDataLoaders.from_name_func(folder, sorted(folder.glob("*.jpg")),
                                          label_func=lambda name: name.split("_")[0], seed=1,
                                          bs=16, num_workers=0, item_tfms=Resize(SIZE), batch_tfms=batch_tfms,
                                          device="cpu")
    learn = vision_learner(dls, network, pretrained=False)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    return learn

def predict_quietly(learn, picture):
    "fastai's own way, without a progress bar"
    with learn.no_bar(), learn.no_logging(): return learn.predict(picture)

def ways_to_answer(
    learn,           # fastai's Learner
    predictors:dict, # {name: `Predictor`}, the one that the claim is about last
    picture:Path,    # JPEG file
    least:float,     # How many times as fast as fastai the last one must be
) -> list[Way]: # fastai's first
    "From a file to an answer"
    *others, last = predictors
    claims = dict.fromkeys(others) | {last: least}
    return [("learn.predict", partial(predict_quietly, learn, picture), None),
            *((name, partial(predictor.predict, picture), claims[name]) for name, predictor in predictors.items())]

def show_parts(
    predictors:dict, # {name: `Predictor`}
    picture:Path,    # JPEG file
):
    "Where the time goes"
    for name, predictor in predictors.items():
        pixels, opened = predictor.pixels(picture)[None], open_picture(picture, enough=predictor.enough)
        parts = {"decode": partial(open_picture, picture, enough=predictor.enough),
                 "fit": partial(resize_picture, opened, predictor.size, predictor.method),
                 "network": partial(predictor.run, pixels)}
        seconds = seconds_of([(part, run, None) for part, run in parts.items()])
        times = "".join(f"{part:>10}{taken*1000:8.2f} ms" for part, taken in zip(parts, seconds, strict=True))
        print(f"  {name:36}{times}")

def check_answers(
    learn,         # fastai's Learner
    exact,         # `Predictor` of its bundle
    pictures:list, # JPEG files
):
    "End the program where the exported network answers differently"
    with learn.no_bar(): expected = learn.get_preds(dl=learn.dls.test_dl(pictures))[0].numpy()
    answers = np.array([[answer.probabilities[name] for name in exact.vocab]
                        for answer in exact.predict_batch(pictures)])
    difference = np.abs(answers - expected).max()
    print(f"largest difference from fastai on {len(pictures)} pictures: {difference:.1e}")
    if difference > 1e-4: sys.exit("The exported network gives other answers than the learner")

def compare_network(
    name:str,     # For the reader
    network,      # From torchvision, or a name of timm
    least:float,  # How many times as fast as learn.predict the fastest way must be for a web picture
    folder:Path,  # Holds pictures
    files:dict,   # {name: JPEG file}
) -> bool: # Whether the claim holds
    "Export one network, check its answers, and time all ways"
    print(f"\n{name}, pictures of {SIZE} x {SIZE} pixels")
    learn, pictures = make_learner(network, folder/"pictures"), sorted((folder/"pictures").glob("*.jpg"))
    bundle = export_bundle(learn, folder/name)
    small = quantize_bundle(bundle, folder/f"{name}, 8 bits", pictures)
    exact, rounded, reduced, both = (load_bundle(place, threads=1, reduced=less) for less in (False, True)
                                     for place in (bundle, small))
    check_answers(learn, exact, pictures)
    camera = files["camera picture"]
    print(f"cost of 8 bits: {compare_bundles(exact, rounded, pictures[1::2])}")
    print(f"cost of reduced decoding: {compare_bundles(exact, reduced, [camera])}")
    chosen = {"web picture": ({"bundle": exact, "bundle, 8 bits": rounded}, least),
              "camera picture": ({"bundle": exact, "bundle, reduced decoding": reduced,
                                  "bundle, reduced decoding, 8 bits": both}, CAMERA_CLAIM)}
    holds = []
    for kind, (predictors, claim) in chosen.items():
        print(f"{kind}, {files[kind].stat().st_size/1e6:.2f} MB")
        holds.append(compare(ways_to_answer(learn, predictors, files[kind], claim)))
        show_parts(predictors, files[kind])
    return all(holds)

def main() -> int: # Exit status: 0 where all claims hold
    "Run all comparisons"
    quiet(); seed_everything()
    torch.set_num_threads(1)
    print(f"{device_name()}, one thread; fastest of {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder/"pictures").mkdir()
        for number in range(64):
            (folder/"pictures"/f"{('dark', 'bright')[number % 2]}_{number}.jpg").write_bytes(draw_jpeg((360, 270),
                number, number % 2))
        files = {name: folder/f"{name}.jpg" for name in PICTURES}
        for name, size in PICTURES.items(): files[name].write_bytes(draw_jpeg(size, 0, 1))
        claims = [compare_network(name, network, least, folder, files) for name, (network, least) in NETWORKS.items()]
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())

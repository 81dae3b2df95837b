"""What the house network gives without training a layer of it, and when fine-tuning pays.

Errors are over folds, on photographs of pets and bears. Run `python benchmarks/weights.py`, with the data sets `pets`
(or its part) and `bears` in reach; `--quick` leaves the fine-tuning out. About a quarter of an hour on two cores, of
which most is fine-tuning. Times are compared in one run and not asserted.
"""
import sys, time

import numpy as np
import timm, torch
from fastai.vision.all import BnFreeze, Callback, DataBlock, CategoryBlock, ImageBlock, IndexSplitter, RandomResizedCrop
from fastai.vision.all import aug_transforms, error_rate, get_image_files, vision_learner
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.data.get import get_data
from course_lib.data.receipts import provenance
from course_lib.data.weights import NETWORK, frozen_features, pretrained

FOLDS, SEEDS = 5, (42, 43, 44)
LINEAR = {"logistic regression": LogisticRegression(max_iter=2000),
          "linear discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
          "5 nearest neighbours": KNeighborsClassifier(5, metric="cosine")}

class HoldNorms(Callback):
    "Keep the statistics of every batch norm of the body as they came, frozen or not"
    def before_train(self):
        for layer in self.model[0].modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm): layer.eval()

# {what: (callback, train_bn, fit)}
TUNINGS = {
    "fastai's default, fine_tune(1)": (None, True, lambda learn: learn.fine_tune(1)),
    "norms held, frozen epoch only": (BnFreeze, False, lambda learn: learn.fit_one_cycle(1)),
    "norms held, fine_tune(1, 2e-3)": (HoldNorms, False, lambda learn: learn.fine_tune(1, 2e-3)),
    "norms held, fine_tune(1, 2e-4)": (HoldNorms, False, lambda learn: learn.fine_tune(1, 2e-4)),
    "norms held, frozen 2e-3, then 2e-4": (HoldNorms, False, lambda learn: two_rates(learn)),
}

def two_rates(learn):
    "The new head at the usual rate, then everything at a tenth of it"
    learn.fit_one_cycle(1, 2e-3)
    learn.unfreeze()
    learn.fit_one_cycle(1, 2e-4)

def named_rightly(files):
    "Top-1 and top-5 among ImageNet's thousand kinds, for the breeds that are among them"
    kinds = [timm.data.ImageNetInfo().index_to_description(number).lower() for number in range(1000)]
    plain = lambda text: text.lower().replace("-", " ").replace("_", " ")
    synonyms = {"german shorthaired": "german short haired pointer", "wheaten terrier": "soft coated wheaten terrier",
                "scottish terrier": "scotch terrier",
                "english cocker spaniel": "cocker spaniel", "staffordshire bull terrier": "staffordshire bullterrier",
                "persian": "persian cat",
                "siamese": "siamese cat", "egyptian mau": "egyptian cat",
                "american pit bull terrier": "american staffordshire terrier", "japanese chin": "japanese spaniel",
                "leonberger": "leonberg"}
    number = {}
    for breed in {file.name.rsplit("_", 1)[0] for file in files}:
        wanted = synonyms.get(plain(breed), plain(breed))
        hits = [at for at, words in enumerate(kinds) if wanted in [plain(word).strip() for word in words.split(",")]]
        if hits: number[breed] = hits[0]
    known = [file for file in files if file.name.rsplit("_", 1)[0] in number]
    head = timm.create_model(pretrained(NETWORK), pretrained=True).get_classifier()
    with torch.inference_mode(): scores = head(torch.from_numpy(frozen_features(pretrained(NETWORK), known)))
    targs = torch.tensor([number[file.name.rsplit("_", 1)[0]] for file in known])
    right = scores.topk(5).indices == targs[:, None]
    print(f"{len(known)} photographs of {len(number)} breeds that ImageNet knows: top-1 "
          f"{right[:, 0].float().mean():.3f}, top-5 {right.any(1).float().mean():.3f}")

def linear_errors(words, files, labels):
    "A linear model on frozen features, five folds for each seed"
    began = time.perf_counter()
    feats = frozen_features(pretrained(NETWORK), files)
    print(f"{words}: {len(files)} photographs, "
          f"features in {time.perf_counter() - began:.1f} s (0 where they were kept)")
    for name, model in LINEAR.items():
        began = time.perf_counter()
        errors = [1 - cross_val_score(model, feats, labels,
                                      cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed)).mean()
                                      for seed in SEEDS]
        print(f"  {name:36} error {np.mean(errors):.4f} +- {np.std(errors):.4f}, a fit "
              f"{(time.perf_counter() - began)/FOLDS/len(SEEDS):.2f} s", flush=True)

def tuned_errors(files, labels, size=192):
    "Fine-tuning, one fold after the other, each with its own seed"
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=42).split(files, labels))
    for name, (callback, train_bn, fit) in TUNINGS.items():
        errors, began = [], time.perf_counter()
        for seed, (_, held) in enumerate(folds, 42):
            seed_everything(seed)
            label_of = dict(zip(files, labels, strict=True))
            block = DataBlock((ImageBlock, CategoryBlock), get_y=label_of.get, splitter=IndexSplitter(held),
                              item_tfms=RandomResizedCrop(size, min_scale=0.5), batch_tfms=aug_transforms())
            dls = block.dataloaders(files, bs=32, num_workers=0)
            learn = vision_learner(dls, pretrained(NETWORK), metrics=error_rate, train_bn=train_bn, cbs=callback)
            with learn.no_bar(), learn.no_logging(): fit(learn)
            with learn.no_bar(): errors.append(learn.validate()[1])
            print(f"  {name:36} fold {seed - 41} of {FOLDS}: {errors[-1]:.4f}", flush=True)
        print(f"  {name:36} error {np.mean(errors):.4f} +- {np.std(errors):.4f}, "
              f"{(time.perf_counter() - began)/FOLDS:.0f} s a fold", flush=True)

def main():
    quiet()
    print(f"{NETWORK}, {device_name()}, torch {torch.__version__}")
    pets = sorted(get_image_files(get_data("pets")/"images"))
    print(f"pets: {provenance('pets')['used']}")
    named_rightly(pets)
    linear_errors("37 breeds", pets, [file.name.rsplit("_", 1)[0] for file in pets])
    cats = ["cat" if file.name[0].isupper() else "dog" for file in pets]
    linear_errors("cat or dog", pets, cats)
    bears = sorted(get_image_files(get_data("bears")))
    linear_errors("three bears", bears, [file.parent.name for file in bears])
    if "--quick" not in sys.argv:
        print(f"cat or dog, fine-tuned at 192 pixels, {FOLDS} folds")
        tuned_errors(pets, cats)

if __name__ == "__main__": main()

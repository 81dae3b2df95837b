"""Train a classifier of photographs whose breed stands in the file name, on one device, many, or many machines.

    python scripts/train_pets.py PHOTOS                                              one process
    accelerate launch --multi_gpu --num_processes 2 scripts/train_pets.py PHOTOS     two GPUs of this machine

The script does not know how many processes there are. `accelerate` tells each its share, and averages their gradients.
It needs torch, timm and accelerate, and nothing else of this course.
"""
import argparse, json, re, time
from pathlib import Path

import timm, torch
from accelerate import Accelerator
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

PATTERN = r"(.+)_\d+\.jpe?g$" # The label of a file name is the first group

def arguments() -> argparse.Namespace:
    "What the command line says"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("--arch", default="tf_efficientnet_lite0", help="a network of timm (default: %(default)s)")
    parser.add_argument("--random", action="store_true", help="start from random weights instead of pretrained ones")
    parser.add_argument("--body", action="store_true", help="train the whole network and not only its last layer")
    parser.add_argument("--size", type=int, default=224, help="pixels on each side (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="photographs of a batch of ONE process (%(default)s)")
    parser.add_argument("--lr", type=float, default=5e-3, help="highest learning rate of one cycle (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of the split and of all else (default: %(default)s)")
    parser.add_argument("--precision", choices=["no", "fp16", "bf16"], default="no", help="mixed precision, or no")
    parser.add_argument("--workers", type=int, default=0, help="readers of files for each process")
    parser.add_argument("--cpu", action="store_true", help="stay away from GPUs")
    parser.add_argument("--out", type=Path, help="folder for result.json and the weights")
    return parser.parse_args()

class Photos(Dataset):
    "Photographs and the numbers of their labels"
    def __init__(self, files, vocab, transform): self.files, self.vocab, self.transform = files, vocab, transform
    def __len__(self): return len(self.files)
    def __getitem__(self, i):
        file = self.files[i]
        return self.transform(Image.open(file).convert("RGB")), self.vocab.index(label_of(file))

def label_of(file:Path) -> str|None:
    "The label in the name of a file"
    found = re.match(PATTERN, file.name)
    return found and found.group(1)

def split_files(folder:Path, seed:int) -> tuple[list, list, list]:
    "Files for training, files that judge, names of the labels: the same in every process, since the seed is"
    files = sorted(file for file in folder.iterdir() if label_of(file)) if folder.is_dir() else []
    if len(files) < 10:
        raise SystemExit(f"{folder} has {len(files)} photographs named like great_pyrenees_173.jpg, "
                         "and needs 10 or more.")
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = len(files)//5
    return [files[i] for i in order[cut:]], [files[i] for i in order[:cut]], sorted({label_of(file) for file in files})

def build_model(args:argparse.Namespace, n_out:int) -> torch.nn.Module:
    "The network; without `--body` only its last layer has gradients"
    model = timm.create_model(args.arch, pretrained=not args.random, num_classes=n_out)
    if not args.body:
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
    return model.eval() # Norms as they came, in every process; gradients flow all the same

def build_loaders(args:argparse.Namespace, model, train, valid, vocab) -> tuple[DataLoader, DataLoader]:
    "Loaders for training and for judging; the seed gives every process the same order"
    config = resolve_data_config({"input_size": (3, args.size, args.size)}, model=model)
    train, valid = (Photos(files, vocab, create_transform(**config)) for files in (train, valid))
    shuffle = torch.Generator().manual_seed(args.seed)
    return (DataLoader(train, args.batch, shuffle=True, generator=shuffle, drop_last=True, num_workers=args.workers),
            DataLoader(valid, args.batch, num_workers=args.workers))

def train_epoch(accelerator, model, loader, optimizer, schedule) -> list[float]:
    "One epoch; the mean loss over all processes at each step"
    losses = []
    for xb, yb in loader:
        loss = F.cross_entropy(model(xb), yb)
        accelerator.backward(loss) # In it the gradients of all processes are averaged
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(accelerator.reduce(loss.detach(), "mean").item())
    return losses

@torch.no_grad()
def error_rate(accelerator, model, loader) -> float:
    "Share of the photographs that judge which are named wrongly, each counted once"
    wrong = [accelerator.gather_for_metrics(model(xb).argmax(1) != yb) for xb, yb in loader]
    return torch.cat(wrong).float().mean().item()

def main():
    "Train, judge, and let one process report"
    args = arguments()
    torch.manual_seed(args.seed) # The same last layer everywhere
    accelerator = Accelerator(cpu=args.cpu, mixed_precision=args.precision, step_scheduler_with_optimizer=False)
    files = split_files(args.photos, args.seed)
    model = build_model(args, len(files[2]))
    train, valid = build_loaders(args, model, *files)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], args.lr)
    model, optimizer, train, valid = accelerator.prepare(model, optimizer, train, valid)
    if len(train) == 0:
        raise SystemExit(f"There is no batch of {args.batch} for each of {accelerator.num_processes} processes.")
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs*len(train))
    began, losses = time.perf_counter(), []
    for epoch in range(args.epochs):
        losses += train_epoch(accelerator, model, train, optimizer, schedule)
        error = error_rate(accelerator, model, valid)
        accelerator.print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, error {error:.4f}")
    result = {"processes": accelerator.num_processes, "batch of all": args.batch*accelerator.num_processes,
              "steps": len(losses), "losses": losses, "error": error, "seconds": time.perf_counter() - began}
    if args.out:
        accelerator.save_model(model, args.out) # Tensors only, by one process
        if accelerator.is_main_process: (args.out/"result.json").write_text(json.dumps(result, indent=1))
    accelerator.end_training()

if __name__ == "__main__": main()

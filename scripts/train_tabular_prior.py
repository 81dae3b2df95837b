"""Train the network of the dive 'Learned to learn' on made-up tables: about 20 minutes of one core.

Run `python scripts/train_tabular_prior.py`. The weights go to course_lib/assets/nets/table_learner.safetensors, with
the settings beside them in the file's metadata. `--steps 20` shows whether it runs.
"""
import argparse, math, time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from course_lib.base.env import asset
from course_lib.dives.learned_to_learn import TableLearner, draw_tables

TABLES, ROWS, COLUMNS = 16, (48, 128), (2, 8)  # in a batch; fewest and most
LR, WARM_UP, CLIP = 1.5e-3, 0.05, 1.           # highest rate, share of steps up to it, gradients' length
EVERY = 250                                    # steps between two printed lines

def draw_batch(
    rng:torch.Generator, # Source of random numbers
): # Columns, answers, and how many answers are shown
    "Tables of a random size, with a random share of the answers known"
    rows, columns = (int(torch.randint(low, high + 1, (), generator=rng)) for low, high in (ROWS, COLUMNS))
    known = int(torch.randint(10, rows - 15, (), generator=rng))
    return *draw_tables(TABLES, rows, columns, rng), known

def rate(
    share:float, # Of the steps that are done, 0 to 1
) -> float: # A factor for the highest rate
    "Up in a line, down in a cosine"
    if share < WARM_UP: return share/WARM_UP
    return 0.5 + 0.5*math.cos(math.pi*(share - WARM_UP)/(1 - WARM_UP))

def train(
    steps:int, # Batches
    seed:int,  # Of the weights and of the tables
) -> tuple[TableLearner, list[float]]: # The network, and its losses
    "Each step sees new tables, so there is nothing to learn by heart"
    torch.manual_seed(seed)
    rng, model, losses = torch.Generator().manual_seed(seed), TableLearner(), []
    opt = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: rate((step + 1)/steps))
    start = time.process_time()
    for step in range(steps):
        X, y, known = draw_batch(rng)
        loss = F.binary_cross_entropy_with_logits(model(X, y[:, :known]), y[:, known:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        opt.step(); sched.step(); opt.zero_grad()
        losses.append(loss.item())
        if (step + 1)%EVERY == 0 or step + 1 == steps:
            recent = losses[-EVERY:]
            seconds = time.process_time() - start
            print(f"{step + 1:6} steps  loss {sum(recent)/len(recent):.4f}  {seconds:.0f} CPU seconds", flush=True)
    return model, losses

def main():
    "Train, and save"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4500, help="batches of 16 tables")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, default=asset("nets/table_learner.safetensors"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, losses = train(options.steps, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    last = losses[-min(EVERY, len(losses)):]
    facts = {"steps": options.steps, "tables": options.steps*TABLES, "seed": options.seed,
             "loss": round(sum(last)/len(last), 4), "torch": torch.__version__}
    save_file(model.state_dict(), options.out, {name: str(value) for name, value in facts.items()})
    print(facts)

if __name__ == "__main__": main()

"""Move a trained body part of the way back to MiniLM (arXiv 2109.01903); the memory and the read-outs stay.

python -m examples.train.blend --weights run/model.safetensors --minilm MINILM/model.safetensors --share 0.5 --out blend
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from examples.train.packed import load, save
from lindoc.models.lindoc_small.from_minilm import load_minilm, starts_fresh
from lindoc.models.lindoc_small.modeling import Config, LindocSmall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--share", type=float, required=True, help="of the trained body, from 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, start = LindocSmall(Config()), load_minilm(args.minilm).state_dict()
    load(model, args.weights)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not starts_fresh(name):
                parameter.lerp_(start[name], 1 - args.share)
    save(model, args.out)


if __name__ == "__main__":
    main()

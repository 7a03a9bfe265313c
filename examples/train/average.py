"""Average the weights of runs that went on from the same start (model soup, arXiv 2203.05482).

python -m examples.train.average --weights a/model.safetensors b/model.safetensors --out average
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from examples.train.packed import load, save
from lindoc.models.lindoc_small.modeling import Config, LindocSmall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    mean, one = LindocSmall(Config()), LindocSmall(Config())
    load(mean, args.weights[0])
    with torch.no_grad():
        for count, path in enumerate(args.weights[1:], 2):
            load(one, path)
            for total, part in zip(mean.parameters(), one.parameters(), strict=True):
                total.lerp_(part, 1 / count)
    save(mean, args.out)


if __name__ == "__main__":
    main()

"""Trained weights -> the model folder that ships: fp16 safetensors, config with hashes, tokenizer.

python -m examples.train.export --weights run/model.safetensors --tokenizer tokenizer.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from lindoc.models.checkpoint import file_sha256
from lindoc.models.lindoc_small.modeling import Config

LIMIT = 55_000_000  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "models/lindoc_small")
    args = parser.parse_args()
    weights = {name: tensor.half().contiguous() for name, tensor in load_file(args.weights).items()}
    target = args.out / "model.safetensors"
    save_file(weights, target, metadata={"format": "pt", "model": "lindoc-small"})
    if args.tokenizer.resolve() != (args.out / "tokenizer.json").resolve():
        shutil.copyfile(args.tokenizer, args.out / "tokenizer.json")
    config = {
        "model": "lindoc-small",
        "format_version": 1,
        **dataclasses.asdict(Config()),
        "weights_sha256": file_sha256(target),
        "tokenizer_sha256": file_sha256(args.out / "tokenizer.json"),
    }
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    size = target.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{target}: {size} bytes, over the limit of {LIMIT}")
    print(f"{target}: {size / 1e6:.1f} MB, sha256 {config['weights_sha256']}")


if __name__ == "__main__":
    main()

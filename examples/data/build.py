"""Rebuild the labelled sets from the public repositories they come from, and check them.

    python -m examples.data.build --out DATA/tasks [--sets cuad qmsum] [--cache FOLDER] [--sources FOLDER]

Writes DATA/tasks/<set>/<split>.jsonl.zst. A split that differs from `expected.json` is named and not written.
Exit code: 0, 2 for a wrong option, 3 for a repository that cannot be had, 4 for a split that differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.data import code, cuad, evidence, health, meetings, pairs, papers, shell, squad
from examples.data.rows import Splits, write
from examples.data.sources import Source, SourceError, open_source

EXPECTED = Path(__file__).with_name("expected.json")


@dataclass(frozen=True, slots=True)
class Recipe:
    build: Callable[..., Splits]  # of one tree a source
    sources: tuple[Source, ...]


RECIPES = {
    "squad_v1": Recipe(squad.by_paragraph, (squad.TRAIN, squad.DEV)),
    "squad_article": Recipe(squad.by_article, (squad.TRAIN, squad.DEV)),
    "cuad": Recipe(cuad.cuad, (cuad.CONTRACTS, cuad.CATEGORIES)),
    "qmsum": Recipe(meetings.qmsum, (meetings.QMSUM,)),
    "evidence_inference2": Recipe(evidence.evidence_inference2, (evidence.EVIDENCE,)),
    "stsb": Recipe(pairs.stsb, (pairs.STSB,)),
    "scisummnet": Recipe(papers.scisummnet, (papers.SCISUMM,)),
    "scitldr_a": Recipe(papers.scitldr_a, (papers.SCITLDR,)),
    "medquad": Recipe(health.medquad, (health.MEDQUAD,)),
    "tldr_pages": Recipe(shell.tldr_pages, (shell.TLDR,)),
    "nl2bash": Recipe(shell.nl2bash, (shell.NL2BASH,)),
    "python_docstrings": Recipe(code.python_docstrings, (code.SYMPY,)),
    "citance_to_paper": Recipe(papers.citance_to_paper, (papers.SCISUMM,)),
    "repo_changes": Recipe(code.repo_changes, (code.HISTORY,)),
    "crd3": Recipe(meetings.crd3, (meetings.CRD3,)),
}


def build(name: str, out: Path, clones: Path | None, cache: Path, expected: Mapping[str, Any]) -> list[str]:
    """Write the splits of a set; returns what is wrong with them."""
    recipe = RECIPES[name]
    trees = [open_source(source, clones, cache) for source in recipe.sources]
    wrong = []
    for split, rows in recipe.build(*trees).items():
        path = out / name / f"{split}.jsonl.zst"
        part = path.with_suffix(".part")
        found, wanted = write(part, rows), expected[name][split]
        if found == wanted:
            part.replace(path)
            print(f"{name}/{split}: {found['rows']} rows", file=sys.stderr, flush=True)
        else:
            part.unlink()
            wrong.append(f"{name}/{split}: expected {wanted}, found {found}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--sets", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="SET", help="default: all")
    parser.add_argument("--sources", type=Path, help="existing clones: FOLDER/OWNER/NAME or FOLDER/OWNER+NAME/repo")
    parser.add_argument("--cache", type=Path, help="where repositories are fetched to; default: sources/ beside --out")
    args = parser.parse_args(arguments)
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    wrong = []
    try:
        for name in args.sets:
            wrong += build(name, args.out, args.sources, args.cache or args.out.parent / "sources", expected)
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 4 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Figures to rows: one a group of queries, pooled and inside, and below it the controls of what the state gains."""

from __future__ import annotations

from examples.evaluate.collection import Collection
from examples.evaluate.retrieval import COLUMNS, CONTROLS, Found

Row = dict[str, float]  # by column; "queries" and "segments" are counts
Rows = dict[str, Row]  # by the name of the row
EXPLAINED = 0.5  # share of the gain from which a control that reaches it explains it
NO_GAIN = 0.5  # points below which there is nothing to explain


def rows_of(collection: Collection, found: Found) -> Rows:
    """Means over each group of queries that is not empty."""
    rows: Rows = {}
    for group, index in collection.groups.items():
        for label, figures in (("", found.pooled), (" inside", found.inside)):
            if not index or not figures:
                continue
            row: Row = {"queries": len(index), "segments": sum(map(len, collection.documents))}
            row |= {name: float(figures[name][index].mean()) for name in (*COLUMNS, *CONTROLS) if name in figures}
            if "carried" in row:
                row["gain"] = row["carried"] - row["reset"]
            rows[collection.name + group + label] = row
    return rows


def figure_line(name: str, row: Row) -> str:
    """A set's row: how many queries and segments, and a figure a column."""
    alone = {"carried": " alone", "gain": "     -"}
    cells = [f"{column} {f'{row[column]:6.2f}' if column in row else alone[column]}" for column in (*COLUMNS, "gain")]
    return f"{name:28} {row['queries']:6} queries {row['segments']:6} segments  {'  '.join(cells)}"


def control_line(name: str, row: Row) -> str:
    cells = [f"{control} {row[control]:6.2f}" for control in CONTROLS if control in row]
    return f"{name:28} gain {row['gain']:6.2f}  {'  '.join(cells)}  {verdict(row)}"


def hybrid_line(rows: Rows) -> str:
    """How far the hybrid is ahead of the better of its two halves: at worst, and on average over the rows."""
    ahead = {name: row["hybrid"] - max(row["bm25"], row.get("carried", row["reset"])) for name, row in rows.items()}
    worst = min(ahead, key=ahead.__getitem__)
    mean = sum(ahead.values()) / len(ahead)
    return f"hybrid over the better of bm25 and carried: mean {mean:+.2f}, worst {ahead[worst]:+.2f} ({worst})"


def verdict(row: Row) -> str:
    """Whether the gain stands, and if not, which control explains it."""
    said = [] if row["reset"] >= row["minilm"] else ["reset is below MiniLM"]
    if row["gain"] < NO_GAIN:
        return "; ".join([*said, "no gain"])
    share = {name: (row[name] - row["reset"]) / row["gain"] for name in CONTROLS[1:] if name in row}
    said += [f"{name} reaches {part:.0%} of the gain" for name, part in share.items() if part > EXPLAINED]
    return "; ".join(said) or "stands"

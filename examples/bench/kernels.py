"""lindoc's Triton kernels on a GPU beside flash-linear-attention's and PyTorch's causal softmax attention.

    python -m examples.bench.kernels [--operators simple_gla gla gated_delta_rule] [--backward] [--curve]

Each row: medians of interleaved repeats in one run, bf16, the second-level cache flushed before every call. `floor` is
the time in which the inputs and outputs alone can be moved at the bandwidth that a plain copy reaches on this card.
fla-core is a peer, not a dependency: without it its column stays empty; where it refuses to run, the reason is printed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from importlib import import_module

import torch
import torch.nn.functional as F

from lindoc import kernels

SHAPES = ((1, 8192), (1, 131072), (8, 4096), (4, 16384))  # B × T
HEADS, KEY = 8, 128  # H, K = V
CURVE = tuple(1 << n for n in range(9, 21))  # tokens, 512 … 1M
PEERS = {  # operator -> module and function of fla-core
    "simple_gla": ("fla.ops.simple_gla", "chunk_simple_gla"),
    "gla": ("fla.ops.gla", "chunk_gla"),
    "delta_rule": ("fla.ops.delta_rule", "chunk_delta_rule"),
    "gated_delta_rule": ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"),
}
Call = Callable[[], object]


def inputs(operator: str, batch: int, tokens: int) -> dict[str, torch.Tensor]:
    """Random inputs of one operator: decays of a typical layer, keys of unit length for the delta rules."""
    shape = (batch, tokens, HEADS, KEY)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    given = {"q": q, "k": k, "v": v}
    if operator in ("simple_gla", "gated_delta_rule"):
        given["g"] = F.logsigmoid(torch.randn(shape[:3], device="cuda")) / 16
    if operator == "gla":
        given["g"] = F.logsigmoid(torch.randn(shape, device="cuda")).to(torch.bfloat16) / 16
    if operator.endswith("delta_rule"):
        given["k"] = F.normalize(k.float(), dim=-1).to(torch.bfloat16)
        given["beta"] = torch.rand(shape[:3], device="cuda").to(torch.bfloat16)
    return given


def milliseconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Median milliseconds of each call by CUDA events; the calls take turns."""
    cache = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # compile, and warm up
        for _ in range(3):
            call()
    for _ in range(repeats):
        for name, call in calls.items():
            cache.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def bandwidth() -> float:
    """Bytes a millisecond that a plain copy moves."""
    x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    return 2 * x.numel() / milliseconds({"copy": lambda: y.copy_(x)}, 10)["copy"]


def as_call(
    function: Callable[..., tuple[torch.Tensor, object]], given: dict[str, torch.Tensor], backward: bool
) -> Call:
    """One forward, or one backward of a forward that has run."""
    if not backward:
        return lambda: function(**given)
    leaves = {name: x.detach().clone().requires_grad_() for name, x in given.items()}
    o = function(**leaves)[0]
    do = torch.randn_like(o)
    return lambda: torch.autograd.grad(o, list(leaves.values()), do, retain_graph=True)


def compare(operator: str, batch: int, tokens: int, backward: bool, copied: float, repeats: int) -> str:
    given = inputs(operator, batch, tokens)
    ours = getattr(kernels, operator)
    calls = {"lindoc": as_call(lambda **x: ours(**x, backend="triton"), given, backward)}
    refused = ""
    try:
        module, name = PEERS[operator]
        calls["fla"] = as_call(getattr(import_module(module), name), given, backward)
        calls["fla"]()
    except Exception as error:  # a peer may be absent or refuse this card: the row says so
        calls.pop("fla", None)
        refused = f" {type(error).__name__}: {str(error).splitlines()[0][:80]}" if str(error) else type(error).__name__
    found = milliseconds(calls, repeats)
    moved = sum(x.numel() * x.element_size() for x in given.values()) + given["v"].numel() * 2
    floor = moved * (2.5 if backward else 1) / copied
    ratio = f"{found['fla'] / found['lindoc']:.2f}" if "fla" in found else ""
    return (
        f"| {operator} | {'backward' if backward else 'forward'} | {batch} × {tokens} | {found['lindoc']:.3f} | "
        f"{found.get('fla', float('nan')):.3f}{refused} | {ratio} | {floor:.3f} |"
    )


def curve(repeats: int) -> None:
    """Forward milliseconds and peak memory of scalar-decay attention and of softmax attention against length."""
    print("| tokens | lindoc simple_gla ms | softmax ms | lindoc MB | softmax MB |\n| --- | --- | --- | --- | --- |")
    for tokens in CURVE:
        given = inputs("simple_gla", 1, tokens)
        heads_first = [given[name].transpose(1, 2).contiguous() for name in "qkv"]
        calls: dict[str, Call] = {"lindoc": lambda given=given: kernels.simple_gla(**given, backend="triton")}  # type: ignore[misc]
        if tokens <= 1 << 18:
            calls["softmax"] = lambda x=heads_first: F.scaled_dot_product_attention(*x, is_causal=True)  # type: ignore[misc]
        memory = {}
        for name, call in calls.items():
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            call()
            memory[name] = (torch.cuda.max_memory_allocated() - before) / 1e6
        found = milliseconds(calls, repeats)
        print(
            f"| {tokens} | {found['lindoc']:.3f} | {found.get('softmax', float('nan')):.3f} | {memory['lindoc']:.0f} | "
            f"{memory.get('softmax', float('nan')):.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operators", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--backward", action="store_true", help="the backward as well")
    parser.add_argument("--curve", action="store_true", help="against softmax attention, 512 to 1M tokens")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    copied = bandwidth()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copies {copied / 1e9:.2f} TB/s, H {HEADS}, K {KEY}"
    )
    print("| operator | pass | B × T | lindoc ms | fla ms | fla / lindoc | floor ms |\n" + "| --- " * 7 + "|")
    for operator in args.operators:
        for backward in (False, True) if args.backward else (False,):
            for batch, tokens in SHAPES:
                print(compare(operator, batch, tokens, backward, copied, args.repeats), flush=True)
    if args.curve:
        curve(args.repeats)


if __name__ == "__main__":
    main()

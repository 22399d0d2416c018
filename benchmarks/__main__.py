"""`python -m benchmarks [--quick] [cases]`, as `nox -s bench` runs it: speed and memory against peers, as ratios.

Every case runs in a process of its own, all cases once a round, so that what else the machine does falls on all of
them. Printed are medians over the rounds with their spread, and the targets; kept is a small JSON file with machine and
versions. A peer that is not installed, or a compiler that is missing, is reported as left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.cases import CASES, ONCE, QUICK
from benchmarks.models import POLYNOMIAL, SETTINGS
from gsimplicit.marching.writer import BYTES

RESULT = Path(__file__).with_name("result.json")
PACKAGES = ("numpy", "scipy", "torch", "numba", "jax", "py-pde")
OTHERS = tuple(name for name in SETTINGS if name != "gray_scott")
# name, case, its number, divided by case and number (None: as it is), target
TARGETS = (
    ("forward, against the best C", "forward_ours", "seconds", ("forward_c", "seconds"), "<= 1.15"),
    (
        "forward, against the best C without contraction",
        "forward_ours",
        "seconds",
        ("forward_c", "without_contraction"),
        "",
    ),
    ("forward, against the floor of its arithmetic", "forward_ours", "seconds", ("peak", "floor"), ""),
    ("torch eager, against ours", "forward_torch", "seconds", ("forward_ours", "seconds"), ">= 50"),
    ("torch.compile, against ours", "forward_torch_compiled", "seconds", ("forward_ours", "seconds"), ""),
    ("jax, against ours", "forward_jax", "seconds", ("forward_ours", "seconds"), ""),
    ("py-pde, against ours", "forward_pypde", "seconds", ("forward_ours_float64", "seconds"), ""),
    ("16 instances, two cores against one", "batch_two_threads", "seconds", ("batch_one_thread", "seconds"), "<= 0.6"),
    ("an uneven batch, against its slowest alone", "batch_uneven", "against_alone", None, "<= 1.1"),
    ("gradient, against its forward", "gradient_ours", "against_forward", None, "<= 5.5"),
    ("gradient, memory in MiB", "gradient_ours", "MiB", None, "<= 38"),
    ("gradient in float64, against its forward", "gradient_ours_float64", "against_forward", None, ""),
    ("four tangents, against the forward", "gradient_ours_tangents", "against_forward", None, ""),
    ("gradient by torch, against ours", "gradient_torch", "seconds", ("gradient_ours", "seconds"), ""),
    ("gradient by jax, against ours", "gradient_jax", "seconds", ("gradient_ours", "seconds"), ""),
    ("stop test, against none", "forward_ours_tested", "seconds", ("forward_ours", "seconds"), "<= 1.05"),
    ("float64, against float32", "forward_ours_float64", "seconds", ("forward_ours", "seconds"), "<= 2.2"),
    ("first march compiles, seconds", "first_call", "march", None, "<= 10"),
    (
        "implicit gradient at a root, in factorisations",
        "root_and_implicit_gradient",
        "implicit_factorisations",
        None,
        "<= 1.5",
    ),
    (
        "unrolling to the stop, against root and implicit gradient",
        "root_and_implicit_gradient",
        "unrolled",
        ("root_and_implicit_gradient", "from_scratch"),
        "",
    ),
    *(
        (
            f"{m}, an operation against Gray-Scott's",
            "models_ours",
            f"{m}_operation",
            None,
            "<= 1.25" if m in POLYNOMIAL else "",
        )
        for m in OTHERS
    ),
    *(
        (f"{m}, against C without contraction", "models_ours", m, ("models_c", m), "" if m in POLYNOMIAL else "<= 1.3")
        for m in OTHERS
    ),
    *((f"torch eager, against our {m}", "models_torch", m, ("models_ours", m), ">= 20") for m in OTHERS),
)


def machine() -> dict[str, str]:
    """Processor, cores and versions."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), name
        )
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return {
        "processor": name,
        "vector_bytes": str(BYTES),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **versions,
    }


ROOT = Path(__file__).parents[1]
"""This checkout."""


def once(name: str, checkout: Path = ROOT) -> dict[str, float] | str:
    """Numbers of one case of a checkout in a process of its own, or why there are none."""
    threads = "2" if name == "batch_two_threads" else "1"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    xla = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    # what is timed must be this checkout's, whatever is installed
    code = (
        "import json, pathlib, gsimplicit, benchmarks.cases as c; p = pathlib.Path(gsimplicit.__file__).parents[1];"
        f"assert p.samefile({str(checkout)!r}), f'gsimplicit is that of {{p}}';"
        f"print(json.dumps(c.CASES[{name!r}]()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, **dict.fromkeys(names, threads), "XLA_FLAGS": xla, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> int:
    """Run the cases, print the table and keep the result."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"any of {', '.join(CASES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="one round of the main cases, within two minutes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, >= 1")
    parser.add_argument("--output", type=Path, default=RESULT, help="where the JSON goes")
    given = parser.parse_args()
    names = given.cases or (QUICK if given.quick else tuple(CASES))
    unknown = [n for n in names if n not in CASES]
    if unknown or given.rounds < 1:
        parser.error(f"unknown cases {unknown}" if unknown else f"--rounds must be >= 1, got {given.rounds}")
    found: dict[str, list[dict[str, float]]] = {}
    left_out: dict[str, str] = {}
    rounds = 1 if given.quick else given.rounds
    for n in range(rounds):
        for name in names:
            if name in left_out or (n and name in ONCE):
                continue
            numbers = once(name)
            if isinstance(numbers, str):
                left_out[name] = numbers
                print(f"round {n + 1} {name}: left out ({numbers})", flush=True)
                continue
            found.setdefault(name, []).append(numbers)
            print(f"round {n + 1} {name}: " + ", ".join(f"{k} {v:.3g}" for k, v in numbers.items()), flush=True)
    print("\nratios: median over the rounds (least .. largest), target")
    ratios: dict[str, dict[str, float | str]] = {}
    for label, case, number, under, target in TARGETS:
        if case not in found or (under and under[0] not in found):
            continue
        values = [
            row[number] / (found[under[0]][i][under[1]] if under else 1.0)
            for i, row in enumerate(found[case])
            if under is None or i < len(found[under[0]])
        ]
        ratios[label] = {"median": median(values), "least": min(values), "largest": max(values), "target": target}
        verdict = ""
        if target:
            limit = float(target.split()[1])
            verdict = "met" if (median(values) <= limit) == target.startswith("<=") else "missed"
        print(f"  {label:48s} {median(values):8.3g} ({min(values):.3g} .. {max(values):.3g})  {target:8s} {verdict}")
    kept = {"machine": machine(), "rounds": rounds, "ratios": ratios, "cases": found, "left_out": left_out}
    given.output.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"kept in {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

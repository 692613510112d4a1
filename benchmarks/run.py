"""The suite: every job against each alternative that installs, in interleaved paired rounds.

python benchmarks/run.py [JOB ...] [--quick] [--rounds 3] [--rows N] [--epochs N] [--threads 2] [--add] [--also] [--out benchmarks/latest.json]

Writes latest.json, latest.md and latest.svg after every round; jobs that are not named keep what is there. `--add` puts new rounds to those of
the same size, with other seeds, so that long jobs can be run piece by piece.
"""

import argparse
import os
import platform
import sys
import tempfile
import traceback
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import latest  # noqa: E402  by any working directory
from jobs import FULL, JOBS, QUICK, Job  # noqa: E402

PACKAGES = ("omnitune", "torch", "transformers", "peft", "accelerate", "tokenizers", "scikit-learn")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--quick", action="store_true", help="Small sizes, one round: under ten minutes on two cores.")
    parser.add_argument("--rounds", type=int, help="Of each job; 3, or 1 with --quick.")
    parser.add_argument("--rows", type=int, help="Of the table, instead of the job's own.")
    parser.add_argument("--epochs", type=float, help="At most so many.")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--add", action="store_true", help="Add rounds to those that are there.")
    parser.add_argument("--also", action="store_true", help="Slower variants of the peers too.")
    parser.add_argument("--no-memory", action="store_true", help="Leave out the fresh processes that peak memory is read from.")
    parser.add_argument("--out", type=Path, default=HERE / "latest.json")
    given = parser.parse_args()
    if unknown := [name for name in given.jobs if name not in JOBS]:
        parser.error(f"no job called {unknown[0]!r}; there are {', '.join(JOBS)}")
    return given


def machine(threads: int) -> str:
    """Processor, threads, memory, system."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = names[0] if names else platform.processor()
    return f"{processor}, {threads} threads, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    given = arguments()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # before torch is loaded, and for processes of their own
    import torch
    from transformers import logging as transformers_logging

    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    import rounds
    from ours import own_cache

    sizes = QUICK if given.quick else FULL
    sizes = replace(
        sizes, rows=dict.fromkeys(sizes.rows, given.rows) if given.rows else sizes.rows, most_epochs=given.epochs or sizes.most_epochs,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="omnitune-bench-") as place:
        own_cache(Path(place))
        plan = rounds.Plan(sizes, given.rounds or (1 if given.quick else 3), given.threads, Path(place), given.also)
        failed = [error for jobs in rounds.groups(given.jobs or list(JOBS)) if (error := attempt(jobs, plan, given))]
    print(latest.page(latest.read(given.out)))
    sys.exit("\n".join(failed) or None)


def attempt(jobs: list[Job], plan: "rounds.Plan", given: argparse.Namespace) -> str | None:  # noqa: F821
    """What went wrong, written down beside the jobs, so that the hours of the others are not lost; the command fails in the end."""
    try:
        measure(jobs, plan, given)
        return None
    except Exception as error:
        traceback.print_exc()
        whole, said = latest.read(given.out), f"failed: {type(error).__name__}: {str(error)[:200]}"
        latest.write(whole | {"skipped": whole["skipped"] | {job.name: said for job in jobs}}, given.out)
        return f"{', '.join(job.name for job in jobs)}: {said}"


def measure(jobs: list[Job], plan: "rounds.Plan", given: argparse.Namespace) -> None:  # noqa: F821
    """Some jobs with the same peers, written down round by round."""
    import rounds
    from ours import lacking
    from sides import lacking as lacks

    whole = latest.read(given.out) | {"machine": machine(given.threads), "versions": {name: version(name) for name in PACKAGES}}
    reasons = {job.name: lacking(job) or next((why for peer in job.peers[:1] if (why := lacks(peer))), None) for job in jobs}
    for name in [name for name, why in reasons.items() if why]:
        whole["skipped"] = whole["skipped"] | {name: reasons[name]}
        whole["jobs"].pop(name, None)
    jobs = [job for job in jobs if not reasons[job.name]]
    latest.write(whole, given.out)
    if not jobs:
        return
    peaks = {} if given.no_memory else rounds.memory(jobs, plan)
    started: set[str] = set()
    if given.add:
        there = [len(whole["jobs"].get(job.name, {}).get("rounds", [])) for job in jobs]
        plan = replace(plan, first=max(there))
    for job, taken in rounds.run(jobs, plan):
        facts = {"rows": plan.sizes.of(job), "epochs": plan.sizes.epochs(job), "threads": given.threads, "test_rows": taken.pop("test_rows")}
        facts["machine"] = whole["machine"]
        whole = latest.merged(whole, job, [taken], facts | peaks.get(job.name, {}), add=given.add or job.name in started)
        started.add(job.name)
        latest.write(whole, given.out)
        found = whole["jobs"][job.name]
        print(f"{job.name}: {latest.ratio(found['ratio'])}, {taken['seconds']:.1f} s and {taken['peer_seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()

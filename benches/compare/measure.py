"""Interleaved rounds: what each proxy cost and how it answered, round by round."""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from load import Load
from peers import Running


@dataclass
class Sample:
    load: Load
    cpu_seconds: float
    wall_seconds: float

    @property
    def cpu_us(self):
        """CPU time per request, in microseconds."""
        return self.cpu_seconds / self.load.requests * 1e6 if self.load.requests else 0.0

    @property
    def busy(self):
        """The share of a core that the proxy used; near 1, the proxy was the limit and not the load."""
        return self.cpu_seconds / self.wall_seconds


@dataclass
class Result:
    """All rounds of one proxy."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    problem: str | None = None
    peak_rss: int = 0
    rss: int = 0

    def add(self, sample):
        self.samples.append(sample)
        self.problem = self.problem or sample.load.problem

    def values(self, of):
        return [of(sample) for sample in self.samples]

    def median(self, of):
        return median(self.values(of))

    def sum(self, of):
        """Of the load of all rounds."""
        return sum(of(sample.load) for sample in self.samples)

    @property
    def cpu_us(self):
        return self.median(lambda sample: sample.cpu_us)

    @property
    def rate(self):
        return self.median(lambda sample: sample.load.rate)


@contextmanager
def started(bench, peers, **how):
    """Each peer, fresh and answering; ended at the exit."""
    running = []
    try:
        for peer in peers:
            proxy = start(bench, peer, **how)
            if proxy:
                running.append(proxy)
        yield running
    finally:
        for proxy in running:
            proxy.process.stop()


def start(bench, peer, **how):
    """One peer, or None and a word about it: one that does not start must not end the whole run."""
    proxy = None
    try:
        how.setdefault("upstream", bench.upstream.address)
        proxy = Running(peer, bench.cores.proxy, bench.directory, **how)
        return proxy.wait()
    except RuntimeError as error:
        proxy.process.stop()
        bench.failures.append(str(error))
        print(error, file=sys.stderr)
        return None


def interleave(bench, running, take, warm_up):
    """Round r runs every proxy once, and starts with the r-th; what the machine does meanwhile hits all alike."""
    results = {proxy: Result(proxy.name) for proxy in running}
    for proxy in running:
        _attempt(results[proxy], lambda: warm_up(proxy))
    for turn in range(bench.rounds):
        first = turn % len(running) if running else 0
        for proxy in running[first:] + running[:first]:
            _attempt(results[proxy], lambda: results[proxy].add(take(proxy)))
            print(f"  round {turn + 1}/{bench.rounds} {_progress(results[proxy])}", file=sys.stderr)
    for proxy, result in results.items():
        result.peak_rss, result.rss = proxy.process.peak_rss(), proxy.process.rss()
        if not result.problem and (not proxy.process.is_alive() or proxy.trouble()):
            result.problem = "it does not answer after the load"
    return list(results.values())


def sample(proxy, load):
    """What the proxy did while `load` ran."""
    cpu, wall = proxy.process.cpu_seconds(), time.monotonic()
    seen = load()
    return Sample(seen, proxy.process.cpu_seconds() - cpu, time.monotonic() - wall)


def _attempt(result, step):
    """A proxy that is gone, or hangs, is out; the others go on."""
    if result.problem:
        return
    try:
        step()
    except (RuntimeError, subprocess.SubprocessError) as error:
        result.problem = " ".join(str(error).split())


def _progress(result):
    if result.problem:
        return f"{result.name}: INVALID, {result.problem}"
    last = result.samples[-1]
    return f"{result.name}: {last.cpu_us:.1f} µs/request, {last.load.rate:.0f} requests/s"

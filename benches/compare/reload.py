"""Reload: what one changed router of 10,000 costs, and whether any request notices."""

import os
import time
from statistics import median

from measure import Sample, started
from peers import get, host, router_block
from report import table

ROUTERS = 10_000
CHANGES = 3
EVERY_SECONDS = 2
RATE = 1_000


def reload_10000(bench):
    gateway = bench.gateway
    if not gateway:
        return "Not run: the gateway's program was not found."
    if not bench.generator.can_pace():
        return "Not run: the paced load needs `cargo`."
    with started(bench, [gateway], routers=ROUTERS) as running:
        if not running:
            return "**invalid**: the gateway did not start."
        [proxy] = running
        bench.generator.pace(proxy, "/1k", 1, RATE)
        rss = proxy.process.rss()
        changer = Changer(proxy)
        quiet, changed = [], []
        for _ in range(1 if bench.quick else 2):
            quiet.append(_period(bench, proxy, None))
            changed.append(_period(bench, proxy, changer))
        return _report(quiet, changed, changer, proxy.process.rss() - rss)


def _period(bench, proxy, changer):
    """A few seconds of light load, with changes or without."""
    seconds = CHANGES * EVERY_SECONDS
    cpu, begin = proxy.process.cpu_seconds(), time.monotonic()
    child = bench.generator.start_pace(proxy, "/1k", seconds, RATE)
    try:
        for number in range(CHANGES if changer else 0):
            changer.change()
            time.sleep(max(0, begin + (number + 1) * EVERY_SECONDS - time.monotonic()))
    finally:
        load = bench.generator.finish(child, "/1k", seconds)
    return Sample(load, proxy.process.cpu_seconds() - cpu, time.monotonic() - begin)


class Changer:
    """Writes the configuration with one router's rule changed, as an editor does: beside it, then over it."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.file = proxy.directory / "a3s-gateway.hcl"
        self.text = self.file.read_text()
        self.seconds_until_live = []
        self.not_live = 0

    def change(self):
        index = ROUTERS // 2
        name = f"changed-{len(self.seconds_until_live) + self.not_live}.test"
        changed = self.text.replace(router_block(index, host(index)), router_block(index, name))
        beside = self.file.with_suffix(".new")
        beside.write_text(changed)
        begin = time.monotonic()
        os.replace(beside, self.file)
        while time.monotonic() < begin + EVERY_SECONDS * 0.9:
            answer = get(self.proxy.port, "/1k", name, timeout=1)
            if answer and answer[0] == 200:
                self.seconds_until_live.append(time.monotonic() - begin)
                return
            time.sleep(0.02)
        self.not_live += 1


def _report(quiet, changed, changer, growth):
    problems = [sample.load.problem for sample in quiet + changed if sample.load.problem]
    if changer.not_live:
        problems.append(f"{changer.not_live} changes were not live within {EVERY_SECONDS * 0.9:.1f} s")
    if problems:
        return f"**invalid**: {'; '.join(problems)}"

    def row(name, samples):
        return [
            name,
            f"{median(sample.cpu_seconds for sample in samples) * 1e3:.0f}",
            f"{median(sample.load.p99_us for sample in samples) / 1e3:.2f}",
            f"{max(sample.load.max_us for sample in samples) / 1e3:.2f}",
        ]

    rows = [row("no change", quiet), row(f"{CHANGES} changes", changed)]
    extra = median(sample.cpu_seconds for sample in changed) - median(sample.cpu_seconds for sample in quiet)
    live = changer.seconds_until_live
    return "\n\n".join([
        f"{RATE} requests/s for {CHANGES * EVERY_SECONDS} s, one router's rule changed every {EVERY_SECONDS} s.",
        table(["", "CPU ms", "p99 ms", "slowest ms"], rows),
        f"CPU per reload: {extra / CHANGES * 1e3:.0f} ms. Live after {median(live) * 1e3:.0f} ms "
        f"(at most {max(live) * 1e3:.0f}). Memory after {len(live)} reloads: {growth / 2**20:+.1f} MiB.",
    ])

"""Server-sent events: what a stream takes while it waits, and how late its first event comes."""

import time

from measure import Sample, interleave
from report import invalid, milliseconds, spread, table

STREAMS = 1_000


def server_sent_events(bench, running, upstream):
    memory = {}

    def take(proxy, seconds):
        before = proxy.process.rss()
        with bench.generator.streams(proxy, STREAMS, seconds, upstream.address) as begin:
            # Only the first time, on a proxy that had none before, is all of it new.
            memory.setdefault(proxy.name, proxy.process.rss() - before)
            cpu, wall = proxy.process.cpu_seconds(), time.monotonic()
            load = begin()
        return Sample(load, proxy.process.cpu_seconds() - cpu, time.monotonic() - wall)

    results = interleave(
        bench,
        running,
        take=lambda proxy: take(proxy, bench.seconds),
        warm_up=lambda proxy: take(proxy, 1),
    )
    rows = []
    for result in results:
        if result.problem:
            rows.append(invalid(result.name, result.problem))
            continue
        rows.append([
            result.name,
            milliseconds(result, lambda load: load.p50_us),
            milliseconds(result, lambda load: load.p99_us),
            f"{memory[result.name] / STREAMS / 1024:.2f}",
            spread(result, lambda sample: sample.cpu_us),
            f"{result.rate:.0f}",
        ])
    said = f"{STREAMS} streams, silent at first; then ten events a second on each, in turn."
    head = ["", "first event p50 ms", "p99 ms", "KiB/stream", "CPU µs/event", "events/s"]
    return f"{said}\n\n{table(head, rows)}"

"""The table of a load that is as much as goes."""

from report import invalid, mebibytes, milliseconds, spread, table


def throughput_table(results, base=None, unit="request", more=None):
    """The ratio is to `base`, or to the least CPU time of all; `more` gives further columns their cells."""
    more = more or {}
    head = ["", f"CPU µs/{unit}", "ratio", f"{unit}s/s", "p50 ms", "p99 ms", "peak MiB", "core used", *more]
    valid = [result.cpu_us for result in results if not result.problem]
    base = base or min(valid, default=0)
    rows = []
    for result in results:
        if result.problem:
            rows.append(invalid(result.name, result.problem))
            continue
        rows.append([
            result.name,
            spread(result, lambda sample: sample.cpu_us),
            f"{result.cpu_us / base:.2f}" if base else "",
            spread(result, lambda sample: sample.load.rate, "{:.0f}"),
            milliseconds(result, lambda load: load.p50_us),
            milliseconds(result, lambda load: load.p99_us),
            mebibytes(result.peak_rss),
            f"{result.median(lambda sample: sample.busy):.0%}",
            *(cell(result) for cell in more.values()),
        ])
    return table(head, rows)

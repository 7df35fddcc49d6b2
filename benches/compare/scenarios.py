"""The scenarios: each measures and returns its table."""

import protocols
from idle import idle_connections
from measure import interleave, sample, start, started
from peers import with_signals, with_ten_middlewares
from reload import reload_10000
from report import invalid, milliseconds, spread, table
from throughput import throughput_table


def saturation(path, close=False):
    def run(bench):
        with started(bench, bench.peers) as running:
            results = saturate(bench, running, path, close)
        if path == "/1k" and not close:
            bench.saturation = {result.name: result.rate for result in results if not result.problem}
        return throughput_table(results)

    return run


def ten_middlewares(bench):
    """Each proxy beside itself: with ten policies on its one route, and with none."""
    pairs = [(peer, with_ten_middlewares(peer)) for peer in bench.peers]
    both = [peer for pair in pairs if pair[1] for peer in pair]
    with started(bench, both) as running:
        for proxy in running:
            proxy.name += " with ten" if proxy.prefix else ""
        results = saturate(bench, running, "/1k")
    return throughput_table(results)


def signals(bench):
    """Each proxy beside itself: with everything told of each request, and with nothing but what is always counted."""
    pairs = [(peer, with_signals(peer)) for peer in bench.peers]
    both = [peer for pair in pairs if pair[1] for peer in pair]
    with started(bench, both) as running:
        for proxy in running:
            proxy.name += " with signals" if proxy.peer.templates[0].count("-signals") else ""
        results = saturate(bench, running, "/1k")
    return throughput_table(results)


def saturate(bench, running, path, close=False):
    return interleave(
        bench,
        running,
        take=lambda proxy: sample(proxy, lambda: bench.generator.saturate(proxy, path, bench.seconds, close=close)),
        warm_up=lambda proxy: bench.generator.saturate(proxy, path, 1, close=close),
    )


def routers(count):
    """This many routers, the last one asked for, beside a gateway with one."""

    def run(bench):
        gateway = bench.gateway
        if not gateway:
            return "Not run: the gateway's program was not found."
        running = [start(bench, gateway, routers=number) for number in (1, count)]
        try:
            if None in running:
                return "**invalid**: the gateway did not start."
            for proxy, number in zip(running, (1, count)):
                proxy.name = f"{number} router{'s' if number > 1 else ''}"
            one, many = saturate(bench, running, "/1k")
        finally:
            for proxy in filter(None, running):
                proxy.process.stop()
        if one.problem or many.problem:
            return throughput_table([one, many])
        per_router = (many.rss - one.rss) / (count - 1)
        memory = f"Memory per router: {per_router:.0f} bytes (resident, after the load)."
        return f"{throughput_table([one, many], base=one.cpu_us)}\n\n{memory}"

    return run


def latency_half(bench):
    """Every proxy at one rate: half of what nginx could do."""
    if not bench.generator.can_pace():
        return "Not run: the paced load needs `cargo`."
    with started(bench, bench.peers) as running:
        if not running:
            return "Not run: no peer answered."
        # Half of nginx; where it is not among the peers, of the first that is.
        pacer = next((proxy for proxy in running if proxy.name == "nginx"), running[0])
        full = bench.saturation.get(pacer.name) or bench.generator.saturate(pacer, "/1k", bench.seconds).rate
        rate = full / 2
        results = interleave(
            bench,
            running,
            take=lambda proxy: sample(proxy, lambda: bench.generator.pace(proxy, "/1k", bench.seconds, rate)),
            warm_up=lambda proxy: bench.generator.pace(proxy, "/1k", 0.5, rate),
        )
    rows = []
    for result in results:
        if result.problem:
            rows.append(invalid(result.name, result.problem))
            continue
        if result.rate < rate * 0.9:
            rows.append([result.name, "cannot", "", "", "", f"{result.rate:.0f}"])
            continue
        rows.append([
            result.name,
            milliseconds(result, lambda load: load.p50_us),
            milliseconds(result, lambda load: load.p99_us),
            milliseconds(result, lambda load: load.max_us),
            spread(result, lambda sample: sample.cpu_us),
            f"{result.rate:.0f}",
        ])
    said = f"{rate:.0f} requests/s to each: half of what {pacer.name} answered at its most."
    return f"{said}\n\n" + table(["", "p50 ms", "p99 ms", "slowest ms", "CPU µs/request", "requests/s"], rows)


ALL = {
    "keepalive-1k": ("1 KiB, 64 keep-alive connections", saturation("/1k")),
    "keepalive-100k": ("100 KiB, 64 keep-alive connections", saturation("/100k")),
    "new-connections": ("1 KiB, a new client connection for each request", saturation("/1k", close=True)),
    "middlewares-10": ("1 KiB, 64 keep-alive connections, ten policies on the route", ten_middlewares),
    "signals": ("1 KiB, 64 keep-alive connections, with an access log and traces of 1 %", signals),
    "latency-half": ("1 KiB, 64 keep-alive connections at half of nginx's saturation", latency_half),
    "idle-connections": ("Idle keep-alive connections", idle_connections),
    "routers-1000": ("1,000 routers, the last one asked for", routers(1_000)),
    "routers-10000": ("10,000 routers, the last one asked for", routers(10_000)),
    "reload-10000": ("Reload of 10,000 routers when one of them changes", reload_10000),
    **protocols.ALL,
}

"""TLS, HTTP/2, gRPC, WebSocket, TCP and UDP: each beside the peers that can do it."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from load import program
from measure import interleave, sample, started
from peers import Peer, Running, variant
from sse import server_sent_events
from throughput import throughput_table

# Peers whose configuration for plain HTTP/1.1 also does WebSocket and streams; others have one for it, or are left out.
HTTP1_IS_ENOUGH = {"a3s-gateway", "caddy"}


@dataclass
class Protocol:
    """How a protocol is configured, put to an upstream, and loaded."""

    # The configurations that are meant: `nginx-tls.conf`.
    configuration: str
    # The load of one exchange that tells whether a proxy is there; None is a plain request.
    probe: str | None = None
    # The echo that it is put to; None is the upstream with fixed bodies.
    upstream: str | None = None

    def peers(self, bench):
        """Those that can do it, each with the right configuration."""
        for peer in bench.peers:
            able = variant(peer, self.configuration)
            if not able and self.configuration == "streams" and peer.name in HTTP1_IS_ENOUGH:
                able = peer
            if able:
                more = [bench.certificate.cert] if self is TLS else []
                yield replace(able, trouble=self.probed(bench, more))

    def probed(self, bench, more=()):
        if not self.probe:
            return None
        return lambda proxy: bench.generator.echo(self.probe, proxy, 0.01, connections=1, more=more).problem

    @contextmanager
    def started(self, bench, peers):
        with self._echo(bench) if self.upstream else nullcontext(bench.upstream) as upstream:
            how = {"upstream": upstream.address, "values": bench.certificate.values}
            with started(bench, peers, **how) as running:
                yield running, upstream

    @contextmanager
    def _echo(self, bench):
        arguments = ["serve", self.upstream, "@LISTEN@"]
        peer = Peer("echo", program("echo"), [], arguments, [], trouble=self.probed(bench))
        running = Running(peer, bench.cores.upstream, bench.directory)
        try:
            yield running.wait()
        finally:
            running.process.stop()


TLS = Protocol("tls", probe="tls-new")
GRPC = Protocol("grpc", probe="grpc", upstream="grpc")
WEBSOCKET = Protocol("streams", probe="websocket", upstream="http")
EVENTS = Protocol("streams", upstream="http")
TCP = Protocol("tcp", probe="tcp", upstream="tcp")
UDP = Protocol("udp", probe="udp", upstream="udp")


def compared(protocol, run):
    """A scenario of the peers that can do it, and a word about those that cannot."""

    def scenario(bench):
        if not bench.generator.can("echo"):
            return "Not run: this load needs `cargo`."
        peers = list(protocol.peers(bench))
        if not peers:
            return "Not run: none of these peers can do it."
        absent = [peer.name for peer in bench.peers if peer.name not in {able.name for able in peers}]
        with protocol.started(bench, peers) as (running, upstream):
            text = run(bench, running, upstream) if running else "Not run: no peer answered."
        return f"{text}\n\nWithout a configuration for it: {', '.join(absent)}." if absent else text

    return scenario


def throughput(protocol, load, unit="request", more=None):
    """`load` runs for so many seconds; `more` are columns beside the usual ones."""

    def run(bench, running, _):
        results = interleave(
            bench,
            running,
            take=lambda proxy: sample(proxy, lambda: load(bench, proxy, bench.seconds)),
            warm_up=lambda proxy: load(bench, proxy, 1),
        )
        return throughput_table(results, unit=unit, more=more)

    return compared(protocol, run)


def echoes(protocol, kind, unit, more=None):
    return throughput(protocol, lambda bench, proxy, seconds: bench.generator.echo(kind, proxy, seconds), unit, more)


def handshakes(kind):
    def load(bench, proxy, seconds):
        return bench.generator.echo(kind, proxy, seconds, more=[bench.certificate.cert])

    return throughput(TLS, load, "connection", {"resumed": resumed})


def resumed(result):
    return f"{result.sum(lambda load: load.resumed) / result.sum(lambda load: load.requests):.0%}"


def lost(result):
    return str(result.sum(lambda load: load.lost))


def tls_h1(bench, proxy, seconds):
    return bench.generator.saturate(proxy, "/1k", seconds, tls=True)


def tls_h2(bench, proxy, seconds):
    return bench.generator.saturate_h2(proxy, "/1k", seconds)


ALL = {
    "tls-new": ("TLS: 1 KiB, a new connection and a whole handshake for each request", handshakes("tls-new")),
    "tls-resumed": ("TLS: 1 KiB, a new connection and a resumed session for each request", handshakes("tls-resumed")),
    "tls-h1": ("TLS: 1 KiB, 64 keep-alive connections of HTTP/1.1", throughput(TLS, tls_h1)),
    "tls-h2": ("TLS: 1 KiB, 64 connections of HTTP/2", throughput(TLS, tls_h2)),
    "grpc-unary": ("gRPC: unary calls of 1 KiB, 64 connections", echoes(GRPC, "grpc", "call")),
    "websocket": ("WebSocket: messages of 1 KiB, 64 connections", echoes(WEBSOCKET, "websocket", "message")),
    "sse": ("Server-sent events: 1,000 streams", compared(EVENTS, server_sent_events)),
    "tcp": ("TCP: messages of 1 KiB, 64 connections", echoes(TCP, "tcp", "message")),
    "tcp-new": ("TCP: a new connection for each message of 1 KiB", echoes(TCP, "tcp-new", "connection")),
    "udp": ("UDP: datagrams of 1 KiB from 64 sockets", echoes(UDP, "udp", "datagram", {"lost": lost})),
}

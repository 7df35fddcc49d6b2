"""What the upstream saw from each proxy: the same request must arrive with the same headers."""

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from measure import started
from peers import BODIES, get
from report import table

FORWARDED = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip"]
REQUESTS = 10


class Recorder(ThreadingHTTPServer):
    """An upstream that keeps what it was asked, with the connection that it came on."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server_address[1]
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.client_address, self.requestline, dict(self.headers.items())))
        self.send_response(200)
        self.send_header("Content-Length", str(BODIES["/1k"]))
        self.end_headers()
        self.wfile.write(b"a" * BODIES["/1k"])

    def log_message(self, *_):
        pass


def check(bench):
    """The table, and whether all is equal."""
    seen = {}
    bench.upstream = Recorder()
    with started(bench, bench.peers) as running:
        for proxy in running:
            bench.upstream.requests.clear()
            for _ in range(REQUESTS):
                get(proxy.port, "/1k", proxy.host)
            seen[proxy.name] = _summary(proxy, list(bench.upstream.requests))
            # Another path to the same place: a host that no router has must not reach the upstream.
            answer = get(proxy.port, "/1k", "nobody.test")
            seen[proxy.name]["another host gets"] = str(answer and answer[0])
    names = sorted({name for row in seen.values() for name in row})
    rows = [[f"`{name}`", *(row.get(name, "") for row in seen.values())] for name in names]
    expected = {name: {row.get(name, "") for row in seen.values()} for name in ["Host", *FORWARDED, "connections"]}
    unequal = [name for name, values in expected.items() if len(values) != 1 or "" in values]
    verdict = f"**Not equal**: {', '.join(unequal)}." if unequal else "Equal: `Host` and all five forwarded headers."
    return f"{table(['', *seen], rows)}\n\n{verdict}", not unequal and not bench.failures


def _summary(proxy, requests):
    row = defaultdict(str)
    for _, line, headers in requests:
        row["request"] = line
        for name, value in headers.items():
            # A proxy's own port differs from peer to peer, and nothing else may.
            row["-".join(part.capitalize() for part in name.split("-"))] = value.replace(str(proxy.port), "PORT")
    row["connections"] = str(len({connection for connection, _, _ in requests}))
    return row

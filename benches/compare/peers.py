"""The proxies: how each is configured, started and asked for its version."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from machine import STREAM_MODULE
from process import Process, free_port, wait_until

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "peers"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
BODIES = {"/1k": 1024, "/100k": 100 * 1024}


@dataclass
class Peer:
    name: str
    program: str
    templates: list[str]
    arguments: list[str]
    version: list[str]
    # What each request to it has beside its host, and what stands before its path.
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    # Says what is wrong with one that runs, where a plain request does not tell; None when it is right.
    trouble: Callable | None = None

    @property
    def is_gateway(self):
        return self.name == "a3s-gateway"

    def version_line(self):
        command = [self.program, *self.version]
        if not self.version:
            return self.name
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
        number = re.search(r"\d+\.\d+[\w.+~-]*", result.stdout + result.stderr)
        return f"{self.name} {number.group() if number else '(unknown version)'}"


KNOWN = [
    Peer("a3s-gateway", "a3s-gateway", ["a3s-gateway.hcl"], ["--config", "@DIR@/a3s-gateway.hcl"], ["--version"]),
    Peer("nginx", "nginx", ["nginx.conf"], ["-e", "stderr", "-p", "@DIR@", "-c", "@DIR@/nginx.conf"], ["-v"]),
    Peer("haproxy", "haproxy", ["haproxy.cfg"], ["-db", "-f", "@DIR@/haproxy.cfg"], ["-v"]),
    Peer("traefik", "traefik", ["traefik.yaml", "traefik-routes.yaml"], ["--configFile=@DIR@/traefik.yaml"], ["version"]),
    Peer(
        "envoy",
        "envoy",
        ["envoy.yaml"],
        ["-c", "@DIR@/envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"],
        ["--version"],
    ),
    Peer("caddy", "caddy", ["Caddyfile"], ["run", "--adapter", "caddyfile", "--config", "@DIR@/Caddyfile"], ["version"]),
    Peer("pingora", "pingora", [], ["@LISTEN@", "@UPSTREAM@", "@HOST@"], []),
]
# What a request needs to pass the ten middlewares.
TEN_HEADERS = {"X-API-Key": "5e0c-a1f7", "Origin": "https://app.test"}
UPSTREAM = Peer("upstream", "nginx", ["upstream.conf"], ["-e", "stderr", "-p", "@DIR@", "-c", "@DIR@/upstream.conf"], [])


def with_ten_middlewares(peer):
    """The same proxy with ten policies on its one route, where there is a configuration with them; else None."""
    return variant(peer, "ten", headers=TEN_HEADERS, prefix="/api")


def with_signals(peer):
    """The same proxy that tells of each request, where there is a configuration with that; else None."""
    return variant(peer, "signals")


def variant(peer, name, **changes):
    """The same proxy with its configuration of this name, where there is one (`nginx-ten.conf`); else None."""
    plain = map(Path, peer.templates)
    templates = [f"{template.stem}-{name}{template.suffix}" for template in plain]
    if not templates or not all((TEMPLATES / template).exists() for template in templates):
        return None
    arguments = [part.replace(peer.templates[0], templates[0]) for part in peer.arguments]
    return replace(peer, templates=templates, arguments=arguments, **changes)


def find(wanted, gateway):
    """The peers that are here, of those wanted (all when none is named)."""
    names = [peer.name for peer in KNOWN]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(names)}")
    found = []
    for peer in KNOWN:
        if wanted and peer.name not in wanted:
            continue
        program = _gateway_program(gateway) if peer.is_gateway else shutil.which(peer.program)
        if program:
            peer.program = str(program)
            found.append(peer)
        elif wanted or peer.is_gateway:
            print(f"{peer.name} is left out: its program was not found", file=sys.stderr)
    return found


def _gateway_program(given):
    if given:
        return shutil.which(given) or sys.exit(f"no program at {given}")
    built = TARGET / "release" / "a3s-gateway"
    return built if built.exists() else shutil.which("a3s-gateway")


class Running:
    """A proxy, or the upstream, that answers."""

    def __init__(self, peer, core, directory, upstream="", routers=1, values=None):
        self.peer = peer
        self.name = peer.name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.host = host(routers - 1)
        self.headers = peer.headers
        self.prefix = peer.prefix
        self.directory = Path(directory) / f"{peer.name}-{self.port}"
        self.directory.mkdir()
        self.values = {
            "DIR": str(self.directory),
            "LISTEN": self.address,
            "PORT": str(self.port),
            "HOST": self.host,
            "UPSTREAM": upstream,
            "UPSTREAM_SOCKET": "{ address: %s, port_value: %s }" % (upstream.partition(":")[::2]),
            "BODY_1K": "a" * BODIES["/1k"],
            "ROUTERS": router_blocks(routers),
            "STREAM_MODULE": f"load_module {STREAM_MODULE};" if STREAM_MODULE.exists() else "",
            **(values or {}),
        }
        for template in peer.templates:
            text = (TEMPLATES / template).read_text()
            (self.directory / template).write_text(self._fill(text))
        command = [peer.program, *map(self._fill, peer.arguments)]
        # A proxy that keeps state of its own keeps it here.
        env = {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)}
        self.process = Process(peer.name, command, core, self.directory / "log", env)

    def _fill(self, text):
        return re.sub(r"@([A-Z_0-9]+)@", lambda match: self.values[match[1]], text)

    def trouble(self):
        """What is wrong with its answer, None when it is right."""
        if self.peer.trouble:
            return self.peer.trouble(self)
        answer = get(self.port, self.prefix + "/1k", self.host, headers=self.headers)
        return None if answer == (200, BODIES["/1k"]) else str(answer)

    def wait(self, seconds=60):
        """Waits for the right answer, and says what came instead."""
        trouble = None

        def is_over():
            nonlocal trouble
            trouble = self.trouble()
            return trouble is None or not self.process.is_alive()

        wait_until(is_over, seconds)
        if trouble:
            raise RuntimeError(f"{self.name} does not answer ({trouble}); it said:\n{self.process.last_words()}")
        return self


def start_upstream(core, directory):
    upstream = Running(UPSTREAM, core, directory)
    (upstream.directory / "100k").write_bytes(b"a" * BODIES["/100k"])
    return upstream.wait()


def host(index):
    return f"host-{index}.test"


def router_blocks(count):
    return "\n".join(router_block(index, host(index)) for index in range(count))


def router_block(index, name):
    return (
        f'routers "r{index}" {{\n'
        f'  rule    = "Host(`{name}`) && PathPrefix(`/`)"\n'
        f'  service = "backend"\n'
        f"}}\n"
    )


def get(port, path, name, timeout=5, headers=None):
    """Status and body length of one request on its own connection; None without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": name, **(headers or {})})
        response = connection.getresponse()
        return response.status, len(response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()

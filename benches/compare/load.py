"""The load: wrk and h2load for as much as goes, pace for a fixed rate, echo for other protocols."""

import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import BODIES, TARGET

HERE = Path(__file__).resolve().parent


@dataclass
class Load:
    """What the load generator saw. Every request must have had a 2xx with its whole body, or its echo."""

    requests: int
    bytes: int
    seconds: float
    bad_status: int
    socket_errors: int
    p50_us: int
    p99_us: int
    max_us: int
    # Of some generators: datagrams that never came back, TLS sessions that were resumed, the first failure.
    lost: int = 0
    resumed: int = 0
    why: str = ""
    body: int = 0

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def problem(self):
        if self.bad_status or self.socket_errors:
            first = f"; the first: {self.why}" if self.why else ""
            return f"{self.bad_status} not 2xx or wrong, {self.socket_errors} socket errors of {self.requests}{first}"
        if self.requests == 0:
            return "no request was answered"
        # wrk takes a 3xx for a success, but a redirect is not this long.
        if self.bytes < self.requests * self.body:
            return "answers shorter than the body"
        return None


class Generator:
    def __init__(self, core):
        self.core = core
        self.pace_program = program("pace")
        self.echo_program = program("echo")
        self.built = set()

    def saturate(self, target, path, seconds, connections=64, close=False, tls=False):
        """As many requests as go. wrk counts in whole seconds."""
        fields = {"Host": target.host, **target.headers, **({"Connection": "close"} if close else {})}
        headers = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", HERE / "report.lua"]
        # Its TLS names the server as the URL does, and a name must not be an address.
        origin = f"https://localhost:{target.port}" if tls else f"http://{target.address}"
        return self._run([*wrk, *headers, f"{origin}{target.prefix}{path}"], BODIES[path], seconds)

    def saturate_h2(self, target, path, seconds, connections=64):
        """As many requests as go over HTTP/2 with TLS, one at a time on each connection."""
        log = target.directory / "h2load.log"
        log.unlink(missing_ok=True)
        to = [f"--connect-to={target.address}", f"https://{target.host}{path}"]
        # The suite that wrk and echo agree on with all of the proxies.
        suite = "--tls13-ciphers=TLS_AES_256_GCM_SHA384"
        h2load = ["h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}", suite, f"--log-file={log}", *to]
        return parse_h2load(self._output(h2load, seconds), log, BODIES[path])

    def pace(self, target, path, seconds, rate, connections=64):
        """A fixed rate, whatever the proxy does."""
        return self._run(self.pace_command(target, path, seconds, rate, connections), BODIES[path], seconds)

    def start_pace(self, target, path, seconds, rate, connections=64):
        """The same in the background; `finish` collects it."""
        command = self._pinned(self.pace_command(target, path, seconds, rate, connections))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def finish(self, child, path, seconds):
        try:
            return parse(child.communicate(timeout=seconds + 20)[0], BODIES[path])
        finally:
            child.kill()

    def pace_command(self, target, path, seconds, rate, connections):
        return [self.pace_program, target.address, target.host, path, f"{rate:.1f}", connections, seconds]

    def echo(self, kind, target, seconds, connections=64, more=()):
        """As many exchanges of 1 KiB as go, one at a time on each connection."""
        command = [self.echo_program, "load", kind, target.address, target.host, connections, seconds, *more]
        return self._run(command, BODIES["/1k"], seconds)

    @contextmanager
    def streams(self, target, count, seconds, upstream):
        """So many event streams, open and silent; what is given has them begin and collects what came."""
        command = [self.echo_program, "load", "sse", target.address, target.host, count, seconds, upstream]
        child = subprocess.Popen(
            self._pinned(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            if (line := child.stdout.readline()) != "OPEN\n":
                raise RuntimeError(f"streams that do not open: {parse(line, 0).problem}")
            yield lambda: parse(child.communicate("\n", timeout=seconds + 20)[0], 0)
        finally:
            child.kill()
            child.wait()

    def can_pace(self):
        return self.can("pace")

    def can(self, name):
        """Compiles a generator of ours, which cargo does once; False where there is no cargo."""
        if name not in self.built and shutil.which("cargo"):
            manifest = ["--manifest-path", HERE / name / "Cargo.toml", "--target-dir", TARGET / name]
            subprocess.run(["cargo", "build", "--quiet", "--release", *manifest], check=True, timeout=600)
            self.built.add(name)
        return name in self.built

    def _pinned(self, command):
        return ["taskset", "-c", str(self.core), *map(str, command)]

    def _run(self, command, body, seconds):
        return parse(self._output(command, seconds), body)

    def _output(self, command, seconds):
        # A generator that hangs is killed: `run` does that on a timeout and on Ctrl-C.
        result = subprocess.run(self._pinned(command), capture_output=True, text=True, timeout=seconds + 20)
        return result.stdout + result.stderr


def program(name):
    """Where a generator of ours is once it is compiled."""
    return TARGET / name / "release" / name


def parse(output, body):
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Load(**json.loads(line.removeprefix("RESULT ")), body=body)
    raise RuntimeError(f"the load generator gave no result:\n{output}")


def parse_h2load(output, log, body):
    """h2load's totals, and the percentiles that it leaves to its log: a line for each request, in microseconds."""
    seconds = re.search(r"^finished in ([\d.]+)(ms|s),", output, re.M)
    requests = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    data = re.search(r"\((\d+)\) data$", output, re.M)
    if not (seconds and requests and data):
        raise RuntimeError(f"h2load gave no result:\n{output}")
    if "Application protocol: h2\n" not in output:
        raise RuntimeError("no HTTP/2 was agreed on")
    succeeded, failed, errored, timeout = map(int, requests.groups())
    micros = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    p50, p99, most = (micros[round((len(micros) - 1) * share)] if micros else 0 for share in (0.5, 0.99, 1))
    return Load(
        requests=succeeded,
        bytes=int(data[1]),
        seconds=float(seconds[1]) / (1000 if seconds[2] == "ms" else 1),
        # h2load counts what errored among what failed.
        bad_status=failed - errored,
        socket_errors=errored + timeout,
        p50_us=p50,
        p99_us=p99,
        max_us=most,
        body=body,
    )

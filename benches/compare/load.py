"""The load: wrk for as much as goes, pace for a fixed rate."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from peers import BODIES, TARGET

HERE = Path(__file__).resolve().parent


@dataclass
class Load:
    """What the load generator saw. Every request must have had a 2xx with its whole body."""

    requests: int
    bytes: int
    seconds: float
    bad_status: int
    socket_errors: int
    p50_us: int
    p99_us: int
    max_us: int
    body: int = 0

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def problem(self):
        if self.bad_status or self.socket_errors:
            return f"{self.bad_status} not 2xx, {self.socket_errors} socket errors of {self.requests}"
        if self.requests == 0:
            return "no request was answered"
        # wrk takes a 3xx for a success, but a redirect is not this long.
        if self.bytes < self.requests * self.body:
            return "answers shorter than the body"
        return None


class Generator:
    def __init__(self, core):
        self.core = core
        self.pace_program = TARGET / "pace" / "release" / "pace"
        self.is_built = False

    def saturate(self, target, path, seconds, connections=64, close=False):
        """As many requests as go. wrk counts in whole seconds."""
        fields = {"Host": target.host, **target.headers, **({"Connection": "close"} if close else {})}
        headers = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", HERE / "report.lua"]
        return self._run([*wrk, *headers, f"http://{target.address}{target.prefix}{path}"], path, seconds)

    def pace(self, target, path, seconds, rate, connections=64):
        """A fixed rate, whatever the proxy does."""
        return self._run(self.pace_command(target, path, seconds, rate, connections), path, seconds)

    def start_pace(self, target, path, seconds, rate, connections=64):
        """The same in the background; `finish` collects it."""
        command = self._pinned(self.pace_command(target, path, seconds, rate, connections))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def finish(self, child, path, seconds):
        try:
            return self._parse(child.communicate(timeout=seconds + 20)[0], path)
        finally:
            child.kill()

    def pace_command(self, target, path, seconds, rate, connections):
        return [self.pace_program, target.address, target.host, path, f"{rate:.1f}", connections, seconds]

    def can_pace(self):
        """Compiles the pacer, which cargo does once; False where there is no cargo."""
        if not self.is_built and shutil.which("cargo"):
            manifest = ["--manifest-path", HERE / "pace" / "Cargo.toml", "--target-dir", TARGET / "pace"]
            subprocess.run(["cargo", "build", "--quiet", "--release", *manifest], check=True, timeout=300)
            self.is_built = True
        return self.is_built

    def _pinned(self, command):
        return ["taskset", "-c", str(self.core), *map(str, command)]

    def _run(self, command, path, seconds):
        # A generator that hangs is killed: `run` does that on a timeout and on Ctrl-C.
        result = subprocess.run(self._pinned(command), capture_output=True, text=True, timeout=seconds + 20)
        return self._parse(result.stdout + result.stderr, path)

    @staticmethod
    def _parse(output, path):
        for line in output.splitlines():
            if line.startswith("RESULT "):
                return Load(**json.loads(line.removeprefix("RESULT ")), body=BODIES[path])
        raise RuntimeError(f"the load generator gave no result:\n{output}")

"""Starts processes, reads what they cost from /proc, and ends them by pid."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_running = []
_ports = set()


class Process:
    """A process on one core, with its children."""

    def __init__(self, name, command, core, log, env=None):
        self.name = name
        self.log = Path(log)
        with open(log, "wb") as out:
            # In a session of its own, so that Ctrl-C reaches this script only, which then ends it.
            self.child = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        _running.append(self)

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child.poll() is None

    def cpu_seconds(self):
        """User and system time so far, of the process and its children."""
        return sum(_cpu_ticks(pid) for pid in _tree(self.pid)) / TICKS_PER_SECOND

    def rss(self):
        """Resident memory now, in bytes."""
        return sum(_status_bytes(pid, "VmRSS:") for pid in _tree(self.pid))

    def peak_rss(self):
        """The most resident memory so far, in bytes."""
        return sum(_status_bytes(pid, "VmHWM:") for pid in _tree(self.pid))

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])

    def stop(self):
        if self not in _running:
            return
        _running.remove(self)
        pids = _tree(self.pid)
        self.child.terminate()
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:
            for pid in pids:
                _kill(pid)
            self.child.wait(3)


def stop_all():
    for process in reversed(list(_running)):
        process.stop()


def free_port():
    """A free port below the ephemeral range, where no outgoing connection can take it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _ports:
            continue
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports.add(port)
        return port


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _tree(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(entry)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, []))
    return tree


def _stat(pid):
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _cpu_ticks(pid):
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _status_bytes(pid, key):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0

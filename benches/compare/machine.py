"""The machine: its cores, its facts, and the tools that the comparison needs."""

import datetime
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "taskset": "util-linux",
}
# nginx's TCP and UDP, where they are a module; an nginx that has them built in has no such file.
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

# Not every user's PATH has the directories where Debian puts servers.
os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


@dataclass
class Cores:
    """Which core runs what: the proxy has one for itself wherever there are two."""

    proxy: int
    load: int
    upstream: int

    @classmethod
    def choose(cls):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 1:
            print("only one core: the proxy shares it with the load, expect noise", file=sys.stderr)
        return cls(cores[0], cores[min(1, len(cores) - 1)], cores[min(2, len(cores) - 1)])


def install_missing():
    packages = _missing()
    if not packages:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"missing; as root: {' '.join(install)}")
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update"], check=True, timeout=300, **quiet)
    subprocess.run(install, check=True, timeout=300, **quiet)
    if _missing():
        sys.exit(f"still missing after the installation: {' '.join(_missing())}")


def _missing():
    packages = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    return packages if _nginx_has_streams() else [*packages, "libnginx-mod-stream"]


def _nginx_has_streams():
    if not shutil.which("nginx"):
        return False
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, timeout=10)
    return STREAM_MODULE.exists() or "--with-stream" in built.stderr.split()


def raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed < wanted:
        print(f"only {allowed} open files allowed; `ulimit -n {wanted}` is better", file=sys.stderr)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def facts():
    """Lines about the machine; none of them names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = re.match(r"[\d.]*\d", os.uname().release).group()
    cores = len(os.sched_getaffinity(0))
    return [
        f"- Date: {datetime.date.today().isoformat()}",
        f"- Machine: {_cpu_model()}, {cores} cores, {memory:.0f} GiB, {os.uname().sysname} {kernel}; "
        f"load average at the start {os.getloadavg()[0]:.1f}",
    ]


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine

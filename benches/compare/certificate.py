"""The one certificate that every proxy shows."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

REQUEST = """
[req]
distinguished_name = name
x509_extensions = leaf
prompt = no
[name]
CN = {host}
[leaf]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:{host}
"""


@dataclass
class Certificate:
    cert: Path
    key: Path
    # Both in one file, as HAProxy wants them.
    pem: Path

    @classmethod
    def make(cls, directory, host):
        """Of itself, with a key on P-256."""
        made = cls(directory / "cert.pem", directory / "key.pem", directory / "both.pem")
        request = directory / "request.cnf"
        request.write_text(REQUEST.format(host=host))
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made.key]
        command = ["openssl", "req", "-x509", "-days", "7", "-config", request, *key, "-out", made.cert]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        made.pem.touch(mode=0o600)
        made.pem.write_text(made.cert.read_text() + made.key.read_text())
        return made

    @property
    def values(self):
        """As templates name them."""
        return {"CERT": str(self.cert), "KEY": str(self.key), "PEM": str(self.pem)}

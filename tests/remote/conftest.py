"""Real servers on this machine: S3 that checks signatures, plain HTTP, and a proxy that cuts the connection.

Everything that asks a server does so in this process or in one that inherits the environment, as a user's would.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sepvox import remote

BUCKET = "bucket"
# One user with a key and a bucket; from then on every request must carry a signature of that key.
SERVER = f"""
import sys, boto3
from moto import settings
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
url = "http://%s:%d" % server.get_host_and_port()
keys = {{"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1", "endpoint_url": url}}
iam = boto3.client("iam", **keys)
iam.create_user(UserName="user")
policy = '{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "*", "Resource": "*"}}]}}'
iam.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="user")["AccessKey"]
boto3.client("s3", **keys).create_bucket(Bucket="{BUCKET}")
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
print(url, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
sys.stdin.read()
"""


def fresh() -> None:
    """Forget connections, so that the environment is read again."""
    remote.filesystem.cache_clear()


@pytest.fixture(autouse=True)
def _straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this machine are asked without the way out that it may have."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, str]]:
    """The environment in which s3:// is an S3 server of the tests' own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        url, key, secret = process.stdout.readline().split()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        process.kill()


@pytest.fixture
def s3(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """An address of the test's own at the S3 server."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    fresh()
    yield f"s3://{BUCKET}/{request.node.originalname}-{abs(hash(request.node.name))}"
    fresh()


def upload(folder: Path, address: str) -> None:
    """Copy a folder to an address."""
    for file in folder.rglob("*"):
        if file.is_file():
            (remote.Remote(address) / file.relative_to(folder)).write_bytes(file.read_bytes())


def objects(address: str) -> dict[str, bytes]:
    """Everything below an address, by its path there."""
    place = remote.Remote(address)
    names = place.files.find(place.path)
    found = place.files.cat(names) if names else {}
    return {name.removeprefix(place.path + "/"): content for name, content in found.items()}


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server: whole files, no Range requests."""

    def log_message(self, *_: object) -> None:
        pass


class Ranges(Quiet):
    """A server that sends parts of files."""

    def do_GET(self) -> None:
        wanted, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        begin, end = wanted.removeprefix("bytes=").split("-")
        content = path.read_bytes()
        part = content[int(begin) : int(end or len(content)) + 1] if begin else content[-int(end) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def http(folder: Path, handler: type[SimpleHTTPRequestHandler] = Ranges) -> Iterator[str]:
    """The address at which the files of a folder can be read."""
    fresh()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as found:
        found.daemon_threads = True
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_address[1]}"
        finally:
            found.shutdown()
            thread.join()
            fresh()


class Proxy:
    """Hands bytes on between a client and a server, until so many have passed; then it is gone as if unplugged."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.passed, self._most, self._cut = 0, 10**12, False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        self.passed, self._most, self._cut = 0, count, False

    def mend(self) -> None:
        self.cut_after(10**12)

    def close(self) -> None:
        self._listener.close()
        self._close_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._cut:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                with self._lock:
                    self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=pair, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                self.passed += len(data)
                if self.passed > self._most:
                    self._cut = True
                    self._close_all()
                    return
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _close_all(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()


@pytest.fixture
def proxy(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which s3:// is asked; to be named after `s3`."""
    found = Proxy(server["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
    fresh()
    yield found
    found.close()

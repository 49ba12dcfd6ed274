"""Addresses: what is not on a disk of this machine, asked for by s3://, http:// and https://.

object    what an address has instead of files. It appears whole, by one request, and is then as safe as the server is;
          a folder is nothing but the beginning that the names of some objects share.

Credentials, region and endpoint of s3:// are those of AWS's own tools: AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL, ….
Without credentials it is asked for what anybody may read. The packages for addresses are an extra, so they are imported
where the first address is used.
"""

import asyncio
import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath, PurePosixPath
from typing import Any

from sepvox.errors import AccessError, DeniedError

# Seconds. A server that is not there is asked twice, so that this is known within seconds; one that takes a connection and
# never answers is given up after minutes.
CONNECT, ANSWER = 4, 20
TRIES = 2
# One that closes connections, or asks to be asked less often, as where many jobs use one bucket: ten seconds of waiting.
PATIENCE = 8
# Requests at one time: their answers are held together.
AT_ONCE = 256

_CLIENTS = ("aiobotocore", "aiohttp", "botocore", "fsspec", "s3fs")
_LOGINS = ("CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")


@dataclass(frozen=True, order=True)
class Remote:
    """A place at an address; methods are those of `pathlib.Path`.

    They raise FileNotFoundError where there is nothing, DeniedError where the server does not let sepvox in, and
    AccessError where it cannot be reached.
    """

    address: str

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str | PurePath) -> "Remote":
        path = PurePosixPath(name).as_posix()
        return self if path == "." else Remote(f"{self.address}/{path}")

    @property
    def scheme(self) -> str:
        return self.address.partition("://")[0]

    @property
    def lists(self) -> bool:
        """Whether it can be asked what is below a place."""
        return self.scheme == "s3"

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def parent(self) -> "Remote":
        """The place above; of a bucket or host itself."""
        above = self.address.rpartition("/")[0]
        return self if above.endswith("/") else Remote(above)

    def with_name(self, name: str) -> "Remote":
        return self.parent / name

    def resolve(self) -> "Remote":
        return self

    def exists(self) -> bool:
        """Whether there is an object of this name or any below it."""
        try:
            with reached(self):
                self.files.info(self.path)
        except FileNotFoundError:
            return False
        return True

    def is_file(self) -> bool:
        """Whether there is an object of this name; it is read, for some servers answer nothing else."""
        try:
            self.read_bytes()
        except FileNotFoundError:
            return False
        return True

    def read_bytes(self) -> bytes:
        with reached(self):
            content: bytes = self.files.cat_file(self.path)
        return content

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_range(self, begin: int, end: int) -> bytes:
        with reached(self):
            content: bytes = self.files.cat_file(self.path, start=begin, end=end)
        return content

    def write_bytes(self, content: bytes) -> None:
        with reached(self, writing=True):
            self.files.pipe_file(self.path, content)

    def ask_all(self, method: str, names: Sequence[str]) -> list[Any]:
        """Answers to one request for each name below, made side by side; FileNotFoundError among them."""
        with reached(self):
            from fsspec.asyn import sync

            ask = getattr(self.files, method)

            async def all_answers() -> list[Any]:
                found: list[Any] = []
                for begin in range(0, len(names), AT_ONCE):
                    some = (ask((self / name).path) for name in names[begin : begin + AT_ONCE])
                    found += await asyncio.gather(*some, return_exceptions=True)
                return found

            answers: list[Any] = sync(self.files.loop, all_answers)
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, FileNotFoundError):
                    raise answer
        return answers

    @property
    def files(self) -> Any:
        """fsspec's file system, for callers that wait."""
        return filesystem(self.scheme, asynchronous=False)

    @property
    def path(self) -> str:
        """As fsspec names it: without s3://, but with http://."""
        return self.address.removeprefix("s3://")


@contextmanager
def reached(place: object, writing: bool = False) -> Iterator[None]:
    """Raise AccessError in the place of what the packages for addresses raise; other errors, and those of a path, pass."""
    try:
        yield
    except Exception as error:
        fault = _fault(error, place, writing) if isinstance(place, Remote) else None
        if fault is None:
            raise
        raise fault from None


def _fault(error: Exception, place: Remote, writing: bool) -> AccessError | None:
    if isinstance(error, AccessError):
        return error
    if isinstance(error, ImportError):
        mend = "install it in the clone with `pip install -e '.[remote]'`"
        return AccessError(f"{place}: needs the package {error.name}, which is not installed; {mend}")
    types = type(error).__mro__
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(" .:") if lines else type(error).__name__
    if isinstance(error, FileNotFoundError):
        mend = "make the bucket, or correct the address"
        return AccessError(f"{place}: cannot be written ({said}); {mend}") if writing else None
    login = any(cls.__name__ in _LOGINS for cls in types)
    if isinstance(error, PermissionError) or login or getattr(error, "status", None) in (401, 403):
        what = "write" if writing else "read"
        mend = f"check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and that this key may {what} here"
        if place.scheme != "s3":
            mend = "sepvox gives no password: copy the data, or use an address that anybody may read"
        return DeniedError(f"{place}: access denied ({said}); {mend}")
    if isinstance(error, (OSError, TimeoutError)) or any(cls.__module__.partition(".")[0] in _CLIENTS for cls in types):
        endpoint = ", AWS_ENDPOINT_URL" if place.scheme == "s3" else ""
        return AccessError(
            f"{place}: cannot be reached ({said}); check the address{endpoint} and the network, then run the same command again"
        )
    return None


@cache
def filesystem(scheme: str, asynchronous: bool) -> Any:
    """fsspec's way to all addresses of a scheme, for callers that wait or, asynchronous, for zarr."""
    import fsspec

    options = _s3_options() if scheme == "s3" else _http_options()
    files = fsspec.filesystem(
        scheme, asynchronous=asynchronous, skip_instance_cache=True, use_listings_cache=False, **options
    )
    files.retries = PATIENCE
    if asynchronous:
        # Only those of callers that wait close their connections by themselves.
        atexit.register(_close, files)
    return files


def _close(files: Any) -> None:
    from zarr.core.sync import sync

    session = getattr(files, "_s3", None) or getattr(files, "_session", None)
    if session is not None:
        sync(session.close())


def _s3_options() -> dict[str, Any]:
    import s3fs  # noqa: F401
    from botocore.session import Session

    return {
        "anon": Session().get_credentials() is None,
        # Shards are read and written by one request; more would ask for their size first.
        "max_concurrency": 1,
        "config_kwargs": {
            "connect_timeout": CONNECT,
            "read_timeout": ANSWER,
            "retries": {"mode": "standard", "total_max_attempts": TRIES},
        },
    }


def _http_options() -> dict[str, Any]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=ANSWER)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}

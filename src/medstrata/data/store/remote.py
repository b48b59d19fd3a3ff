"""Object storage: S3, Google, Azure, a web server, or a folder that is far away."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.files import atomic_file
from medstrata.runtime.optional import import_optional

# With doubling pauses of at most 15 s this outlasts about a minute without a network.
_RETRIES = 10
_RETRY_TIMEOUT = timedelta(minutes=3)
_PART = 8 * 2**20  # bytes of one request: small enough to be repeated, large enough for speed
_PARTS = 4  # requests at a time


class Remote:
    """A folder in object storage; failed requests are repeated before they raise.

    Credentials are those that the storage's own tools read from the environment, such as
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL; they are kept nowhere.

    Args:
        address: Such as `s3://bucket/cxr.store`; names in it are as they are in the storage, and
            only those of a web server are encoded.
        create: Make the folder of a file:// address.

    Raises:
        MedstrataError: the address is of an unknown kind, or the package for it is missing.
    """

    def __init__(self, address: str, *, create: bool = False) -> None:
        obstore = import_optional("obstore", address, "streaming")
        self.address = address.rstrip("/")
        self._obstore = obstore
        options: dict[str, Any] = {"mkdir": create}
        store = obstore.store
        # A name is taken as it is written: of an address, %, # and ? would mean something else.
        open_place = partial(store.LocalStore, self.address.removeprefix("file://"))
        if not address.startswith("file:"):
            url = self.address if address.startswith("http") else _quoted(self.address)
            open_place = partial(store.from_url, url)
            options = {
                # The address, or AWS_ENDPOINT_URL, says whether the connection is encrypted.
                "client_options": {"allow_http": True, "timeout": "60s", "connect_timeout": "10s"},
                "retry_config": {"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
            }
        try:
            self._store = open_place(**options)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise MedstrataError(
                f"{address} is no address of object storage ({_happened(error)}): write it as "
                "s3://bucket/cxr.store"
            ) from error

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            return int(
                self._tried(name, "looked up", self._obstore.head, self._store, name)["size"]
            )
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """The whole of a small file.

        Raises:
            FileNotFoundError: there is none.
            MedstrataError: it cannot be read.
        """
        got = self._tried(name, "read", self._obstore.get, self._store, name)
        return bytes(self._tried(name, "read", got.bytes))

    def download(
        self, name: str, path: Path, least: int = 0, abandon: Callable[[], bool] = lambda: False
    ) -> None:
        """Fetch a file, whole or not at all.

        Args:
            name: The file.
            path: Where to put it.
            least: Bytes that it has at least.
            abandon: Asked between two rounds of requests whether to stop.

        Raises:
            MedstrataError: it is missing, too short or cannot be fetched, or was abandoned.
        """
        size = self.size(name)
        if size is None or size < least:
            what = "is missing" if size is None else f"has {size} bytes and not {least} or more"
            raise MedstrataError(
                f"{self.address}/{name} {what}: put the store there again with `medstrata push "
                "STORE ADDRESS --overwrite`"
            )
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            for start in range(0, size, _PART * _PARTS):
                if abandon():
                    raise MedstrataError(f"{self.address}/{name} was not fetched: stopped")
                for part in self._ranges(name, start, min(start + _PART * _PARTS, size)):
                    stream.write(part)

    def _ranges(self, name: str, start: int, end: int) -> list[bytes]:
        starts = list(range(start, end, _PART))
        ends = [*starts[1:], end]
        get = partial(self._obstore.get_ranges, starts=starts, ends=ends, coalesce=0)
        parts: list[bytes] = self._tried(name, "fetched", get, self._store, name)
        return parts

    def upload(self, source: Path | bytes, name: str) -> None:
        """Write a file, whole or not at all."""
        self._tried(name, "written", self._obstore.put, self._store, name, source)

    def delete(self, name: str) -> None:
        """Delete a file, if there is one."""
        try:
            self._tried(name, "deleted", self._obstore.delete, self._store, name)
        except FileNotFoundError:
            return

    def _tried(self, name: str, done: str, call: Callable[..., Any], *arguments: Any) -> Any:
        exceptions = self._obstore.exceptions
        try:
            return call(*arguments)
        except FileNotFoundError:
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise MedstrataError(
                f"{self.address}/{name} could not be {done}, access was denied "
                f"({_happened(error)}): check the credentials in the environment, such as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except (exceptions.BaseError, OSError) as error:
            raise MedstrataError(
                f"{self.address}/{name} could not be {done} ({_happened(error)}): check address, "
                "credentials and network, then give the same command again, with --resume for a run"
            ) from error


def _quoted(address: str) -> str:
    kind, _, place = address.partition("://")
    return f"{kind}://{quote(place)}"


def _happened(error: Exception) -> str:
    """What happened, without the debugging output below it."""
    return one_line(error).partition("Debug source")[0].strip()[:300]

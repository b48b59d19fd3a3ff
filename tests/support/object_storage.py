"""An S3 server on loopback that can be told to fail."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "loopback",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-but-must-not-be-written",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


class S3:
    """moto's S3 behind a gate: `fails(method, path)` answers a request with 503 when true."""

    def __init__(self) -> None:
        self.fails: Callable[[str, str], bool] = lambda _method, _path: False
        self.seen: list[tuple[str, str]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=Quiet)
        self.environment = KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.port}"}

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.seen.append((method, path))
        if self.fails(method, path):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        return self._moto(environ, start_response)

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def fetched(self) -> list[str]:
        """Names of the shards that were read, one entry a request."""
        return [p.rpartition("/")[2] for m, p in self.seen if m == "GET" and p.endswith(".npy")]

    @contextmanager
    def running(self) -> Iterator["S3"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

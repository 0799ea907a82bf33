"""Run functions side by side in one process: `functions_host.py MAIN PORT NAME…`.

Each is an app of Google's functions-framework; they share the process, and so its slow imports.
"""

import sys
from collections.abc import Iterable
from typing import Any

from functions_framework import create_app
from werkzeug.exceptions import NotFound
from werkzeug.serving import run_simple


def main(source: str, port: int, names: list[str]) -> None:
    """Serve each function under its name, as Google's addresses do."""
    apps = {name: create_app(name, source) for name in names}  # type: ignore[no-untyped-call] # published untyped

    def dispatch(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        found: Any = apps.get(environ["PATH_INFO"].strip("/"), NotFound())
        answer: Iterable[bytes] = found(environ, start)
        return answer

    run_simple("127.0.0.1", port, dispatch, threaded=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])

"""The client: one method for each kind of call, JSON as dictionaries, pages followed."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Time = datetime | int | str
API = "/api/v1"
TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 60.0  # silence is broken every 15 s
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = 1000


class ApiError(Exception):
    """The gateway refused or failed: `status` of HTTP, 0 where it cannot be reached."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status = status
        self.detail = detail


class Event(NamedTuple):
    """One event of the stream: `state`, `reading`, `alert`, `reset` or `logout`."""

    id: str
    name: str
    data: Json


class Gateway:
    """One gateway.

    `url` as the browser has it, `token` from `wattwarden users token add`, `ca` the site's CA
    file where it is reached by HTTPS. Times are datetimes with a zone, ISO 8601 texts (local to
    the site without an offset) or Unix ms. Every call may raise ApiError.
    """

    def __init__(self, url: str, token: str, *, ca: Path | str | None = None) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            msg = f"url: {url!r} must begin with http:// or https://"
            raise ValueError(msg)
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        context = None if ca is None else ssl.create_default_context(cafile=str(ca))
        handlers = [] if context is None else [urllib.request.HTTPSHandler(context=context)]
        self._opener = urllib.request.build_opener(*handlers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open between calls."""

    # -- reading ------------------------------------------------------------------------------

    def status(self) -> Json:
        """Return the gateway's own state."""
        return self._json("GET", "/status")

    def meters(self) -> list[Json]:
        """Return all meters with their channels and last readings."""
        return self._items("/meters")

    def meter(self, meter: str) -> Json:
        """Return one meter."""
        return self._json("GET", f"/meters/{_quoted(meter)}")

    def series(
        self, meter: str, start: Time, end: Time, fields: Sequence[str] = ("p",), **how: str
    ) -> Json:
        """Return a channel's history: `resolution`, `t` in Unix ms, a list a field, `gaps`.

        `how` may have `channel` (grid) and `resolution` (auto).
        """
        query = {"start": _time(start), "end": _time(end), "fields": ",".join(fields), **how}
        return self._json("GET", f"/meters/{_quoted(meter)}/series", query)

    def frame(
        self, meter: str, start: Time, end: Time, fields: Sequence[str] = ("p",), **how: str
    ) -> "pd.DataFrame":
        """Return `series` as a pandas DataFrame over UTC times; NaN = not measured."""
        import pandas as pd

        found = self.series(meter, start, end, fields, **how)
        index = pd.DatetimeIndex(pd.to_datetime(found["t"], unit="ms", utc=True), name="t")
        columns = {name: found[name] for name in fields}
        return pd.DataFrame(columns, index=index, dtype=float)

    def energy(self, meter: str, start: Time, end: Time, *, by: str = "day") -> list[Json]:
        """Return kWh, cost and self-consumption of each hour, day or month."""
        query = {"start": _time(start), "end": _time(end), "by": by}
        return list(self._json("GET", f"/meters/{_quoted(meter)}/energy", query)["items"])

    def alerts(
        self, *, state: str = "all", meter: str | None = None, severity: str | None = None
    ) -> list[Json]:
        """Return alerts, newest first."""
        wanted = {"state": state, "meter": meter, "severity": severity}
        return self._items("/alerts", {k: v for k, v in wanted.items() if v is not None})

    def tariffs(self) -> list[Json]:
        """Return the tariff plans."""
        return self._items("/tariffs")

    def stream(self, last_event_id: str | None = None) -> Iterator[Event]:
        """Yield events as they come, until the connection ends; resume with the last one's id."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        with self._open("GET", "/stream", headers=headers, timeout_s=STREAM_TIMEOUT_S) as answer:
            yield from _events(line.decode().rstrip("\n") for line in answer)

    # -- changing -----------------------------------------------------------------------------

    def acknowledge(self, alert: str) -> Json:
        """Note that an alert has been seen."""
        return self._json("POST", f"/alerts/{_quoted(alert)}/acknowledge")

    def resolve(self, alert: str) -> Json:
        """Close an alert by hand."""
        return self._json("POST", f"/alerts/{_quoted(alert)}/resolve")

    def verdict(self, alert: str, *, right: bool, note: str = "") -> Json:
        """Say whether an alert was right."""
        body: Json = {"right": right, "note": note}
        return self._json("POST", f"/alerts/{_quoted(alert)}/verdict", body=body)

    def add_tariff(self, plan: Json) -> Json:
        """Add a tariff plan (docs/api.md, Tariffs)."""
        return self._json("POST", "/tariffs", body=plan)

    def upload(self, path: Path | str) -> Json:
        """Upload a CSV file for an import; `guess` says what its columns look like."""
        file = Path(path)
        boundary = uuid.uuid4().hex
        name = file.name.replace('"', "'")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        content = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        with self._open("POST", "/imports", content=content, headers=headers) as answer:
            return dict(json.load(answer))

    def start_import(self, import_id: str, **choice: object) -> Json:
        """Start an import: meter, time, map, and where needed channel, timezone, name."""
        return self._json("POST", f"/imports/{_quoted(import_id)}/start", body=dict(choice))

    def get_import(self, import_id: str) -> Json:
        """Return an import with its progress."""
        return self._json("GET", f"/imports/{_quoted(import_id)}")

    def undo_import(self, import_id: str) -> Json:
        """Take out everything that an import brought."""
        return self._json("POST", f"/imports/{_quoted(import_id)}/undo")

    def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Json:  # fmt: skip
        """Make any other call of docs/api.md; `path` is below /api/v1."""
        return self._json(method, path, query, body)

    # -- http ---------------------------------------------------------------------------------

    def _items(self, path: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """Return every item of a paged list."""
        found: list[Json] = []
        asked = dict(query or {})
        while True:
            page = self._json("GET", path, asked)
            found += page["items"]
            if page["next"] is None:
                return found
            asked["cursor"] = str(page["next"])

    def _json(
        self, method: str, path: str, query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Json:  # fmt: skip
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        told = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        with self._open(method, told, content=content, headers=headers) as answer:
            text = answer.read()
        return dict(json.loads(text)) if text else {}

    def _open(
        self, method: str, path: str, *, content: bytes | None = None,
        headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S,
    ) -> Any:  # noqa: ANN401 - a response of urllib  # fmt: skip
        request = urllib.request.Request(  # noqa: S310 - http and https only, see __init__
            f"{self._url}{API}{path}", data=content, method=method,
            headers={**self._headers, **(headers or {})},
        )  # fmt: skip
        try:
            return self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _detail(error.read(), error.reason)) from error
        except OSError as error:  # URLError, timeouts, TLS
            reason = getattr(error, "reason", error)
            msg = f"{self._url} cannot be reached: {reason}"
            raise ApiError(0, msg) from error


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _time(moment: Time) -> str:
    if not isinstance(moment, datetime):
        return str(moment)
    if moment.tzinfo is None:
        return moment.isoformat()  # local to the site
    return str(round((moment - EPOCH).total_seconds() * MS))


def _detail(body: bytes, reason: str) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return reason


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Yield events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    last, name, data = "", "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            last = value
        elif field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line and data:
            yield Event(last, name or "message", json.loads(data))
            name, data = "", ""

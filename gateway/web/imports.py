"""Importing tables: upload, look, start, follow, undo."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, Field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.pipeline.table_times import DateOrder
from gateway.services.import_jobs import STATES
from gateway.services.import_view import sample_csv
from gateway.services.views import LONGEST_PAGE
from gateway.web.deps import Deps, LoggedIn
from gateway.web.meters import METER_ID
from gateway.web.models import Body, ChannelKey, Text
from gateway.web.ports import Upload
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/imports", tags=["imports"])
ImportId = Annotated[str, Path(pattern=r"^i[0-9]{1,14}$")]
READING = documented(*BEHIND_LOGIN, 404)
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class StartIn(Body):
    """Where a table goes, and which column is what (docs/api.md)."""

    meter: Annotated[str, Field(pattern=METER_ID)]
    name: Annotated[Text, Field(max_length=80)] | None = None
    channel: ChannelKey | None = None
    timezone: str | None = Field(default=None, max_length=60)
    time: str = Field(min_length=1, max_length=200)
    map: dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=200)]] = Field(
        min_length=1, max_length=40
    )
    date_order: DateOrder | None = None


class GuessOut(BaseModel):
    """What the columns look like; `step_s` is the usual distance of rows."""

    time: str
    timezone: str
    map: dict[str, str]
    meter: str
    delimiter: str
    decimal: str
    date_order: DateOrder
    step_s: float | None


class LineErrorOut(BaseModel):
    """What is wrong with a line, counted as an editor does."""

    line: int
    column: str
    text: str


class ImportOut(BaseModel):
    """One import; times in Unix ms, those of the data in `from_ms` and `to_ms`."""

    id: str
    file: str
    size_bytes: int
    created_ms: int
    created_by: str
    state: Literal[STATES]  # type: ignore[valid-type]
    columns: list[str]
    preview: list[list[str]]
    rows: int
    guess: GuessOut | None
    rows_done: int
    rows_total: int
    errors: list[LineErrorOut]
    error_count: int
    error: str | None
    meter: str | None
    channel: str | None
    timezone: str | None
    map: dict[str, str] | None
    from_ms: int | None
    to_ms: int | None
    alerts: int
    started_ms: int | None
    finished_ms: int | None


class ImportList(BaseModel):
    """Some imports, newest first; `next` is the cursor of the following page."""

    items: list[ImportOut]
    next: str | None


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_imports(
    deps: Deps,
    who: LoggedIn,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,14}$")] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
) -> ImportList:
    """List imports, newest first."""
    args: dict[str, object] = {"before": None if cursor is None else int(cursor), "limit": limit}
    return ImportList.model_validate(await deps.operations.call("imports.list", args, who.name))


@router.post("", status_code=201, openapi_extra=FORM, responses=documented(*BEHIND_LOGIN, 408))
async def upload_table(request: Request, deps: Deps, who: LoggedIn) -> ImportOut:
    """Upload a CSV file, also gzipped, as the part `file`; nothing is stored of it yet."""
    if deps.uploads is None:
        raise HTTPException(503, "imports are not available")
    upload = deps.uploads.begin()
    try:
        name = await _receive(request, upload)
        upload.finish()
        return ImportOut.model_validate(await upload.take(name, who.name))
    finally:
        upload.discard()


@router.get(
    "/sample.csv",
    response_class=Response,
    responses=documented(*BEHIND_LOGIN)
    | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def sample() -> Response:
    """Give a file to try: two days of a house in quarter hours."""
    headers = {"Content-Disposition": 'attachment; filename="wattwarden-sample.csv"'}
    return Response(sample_csv(), media_type="text/csv", headers=headers)


@router.get("/{id}", responses=READING)
async def get_import(id: ImportId, deps: Deps, who: LoggedIn) -> ImportOut:  # noqa: A002 - as elsewhere
    """Show one import, with its progress."""
    return ImportOut.model_validate(await deps.operations.call("imports.get", {"id": id}, who.name))


@router.post("/{id}/start", responses=READING)
async def start_import(id: ImportId, body: StartIn, deps: Deps, who: LoggedIn) -> ImportOut:  # noqa: A002 - as above
    """Import it: stored, charted and judged as a recorded meter's readings."""
    args = {"id": id, **body.model_dump(mode="json")}
    return ImportOut.model_validate(await deps.operations.call("imports.start", args, who.name))


@router.post("/{id}/undo", responses=READING)
async def undo_import(id: ImportId, deps: Deps, who: LoggedIn) -> ImportOut:  # noqa: A002 - as above
    """Take out everything that it brought, alerts included."""
    args: dict[str, object] = {"id": id}
    return ImportOut.model_validate(await deps.operations.call("imports.undo", args, who.name))


async def _receive(request: Request, upload: Upload) -> str:
    """Write the part `file` of a multipart body as it comes; return the file's name."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise HTTPException(415, "the content type must be multipart/form-data with a boundary")
    parts = _Parts(upload.write)
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        async for piece in request.stream():
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, "the body is no valid multipart/form-data") from error
    if not parts.found or not parts.complete:
        raise HTTPException(422, "file: the body has no part of this name")
    return parts.file_name


class _Parts:
    """Takes the first part named `file`; others are read over."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.found = False
        self.complete = False
        self.file_name = "table.csv"
        self._write = write
        self._mine = False
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin, "on_header_field": self._header_field,
            "on_header_value": self._header_value, "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished, "on_part_data": self._data,
            "on_part_end": self._part_end, "on_end": self._end,
        }  # fmt: skip

    def _begin(self) -> None:
        self._headers = {}
        self._mine = False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._mine = not self.found and options.get(b"name") == b"file"
        if self._mine:
            self.found = True
            name = options.get(b"filename", b"table.csv").decode("utf-8", "replace")
            plain = "".join(letter for letter in name if letter.isprintable())
            self.file_name = plain.replace("\\", "/").rpartition("/")[2][:200] or "table.csv"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._mine:
            self._write(data[start:end])

    def _part_end(self) -> None:
        self._mine = False

    def _end(self) -> None:
        self.complete = True

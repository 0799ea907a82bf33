"""One import from upload to done or undone, as it is kept and shown."""

from typing import NamedTuple, Protocol

import msgspec

from gateway.pipeline.import_table import LineError, Table, TableReader
from gateway.pipeline.sniffing import Form

# States; `preview` to `done` or `failed` in this order, `undoing` and `undone` from each of them.
PREVIEW, WAITING, RUNNING, JUDGING = "preview", "waiting", "running", "judging"
DONE, FAILED, UNDOING, UNDONE = "done", "failed", "undoing", "undone"
STATES = (PREVIEW, WAITING, RUNNING, JUDGING, DONE, FAILED, UNDOING, UNDONE)
BUSY = (WAITING, RUNNING, JUDGING, UNDOING)


class Choice(msgspec.Struct, frozen=True):
    """What a person said of the file."""

    meter: str
    channel: str
    timezone: str
    time: str
    map: dict[str, str]
    date_order: str
    label: str = ""


class ImportJob(msgspec.Struct):
    """One import; times in Unix ms. `boot` is the number that its readings carry."""

    no: int
    file: str
    size_bytes: int
    created_ms: int
    created_by: str
    state: str = PREVIEW
    form: Form | None = None
    preview: list[list[str]] = []
    rows: int = 0
    guess: dict[str, str] = {}
    choice: Choice | None = None
    boot: int = 0
    rows_done: int = 0
    rows_total: int = 0
    errors: list[LineError] = []
    error_count: int = 0
    error: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    last_row: int = 0  # of the readings table, when all had been stored
    # Marks of the newest alert when its first row was about to be stored, and when it had ended;
    # imports run one at a time, so those of its meter between them are what it brought.
    alerts_before: int = 0
    alerts_after: int | None = None
    alerts: int = 0
    cut_off: int = 0  # starts in a row that found it running, and no further than `reached` rows
    reached: int = 0
    is_meter_new: bool = False  # it was registered for this import
    started_ms: int | None = None
    finished_ms: int | None = None

    @property
    def id(self) -> str:
        """Return the id that people see."""
        return f"i{self.no}"


class Look(NamedTuple):
    """What an uploaded file looks like."""

    form: Form
    preview: list[list[str]]
    rows: int
    guess: dict[str, str]


class ImportFiles(Protocol):
    """Uploaded files. All raise BadInputError for files that cannot be read, StorageError."""

    async def look(self, job: ImportJob) -> Look:
        """Read a file once and tell what it looks like."""

    async def read(self, job: ImportJob, reader: TableReader) -> Table:
        """Read a file's rows into a table; slowly, so that the gateway's work goes on."""

    async def checksum(self, job: ImportJob, salt: str) -> int:
        """Return the CRC-32 of the file and then `salt`."""

    async def remove(self, job: ImportJob) -> None:
        """Remove the file; one that is gone is no error."""

    async def keep_only(self, numbers: set[int]) -> None:
        """Remove what uploads cut off have left, and files of imports that need none."""


class ImportStore(Protocol):
    """What is kept of imports, and what they brought. All raise StorageError."""

    async def add(self, job: ImportJob) -> ImportJob:
        """Keep a new import and return it with its number."""

    async def save(self, job: ImportJob) -> None:
        """Keep an import as it now is."""

    async def get(self, no: int) -> ImportJob | None:
        """Return one import."""

    async def list_jobs(self, before: int | None, limit: int) -> list[ImportJob]:
        """Return imports, newest first, with numbers below `before`."""

    async def busy(self) -> list[ImportJob]:
        """Return those that have something to do, oldest first."""

    async def alert_mark(self) -> int:
        """Return the mark of the newest alert."""

    async def count_alerts(self, job: ImportJob) -> int:
        """Return how many alerts an import brought: between its marks, or since it began."""

    async def why_not_undo(self, job: ImportJob) -> str:
        """Return why what it brought cannot be taken out any more, "" when it can."""

    async def undo_step(self, job: ImportJob) -> bool:
        """Remove a part of its rows, never much at once; False where none are left."""

    async def finish_undo(self, job: ImportJob) -> bool:
        """Remove the rest at once: boot, alerts, and a meter that held nothing else.

        Return whether the meter is gone.
        """

    async def mend(self, job: ImportJob) -> bool:
        """Have the meter's other data counted on; False while its sums are being computed."""

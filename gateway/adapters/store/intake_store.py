"""The intake's port on SQLite."""

from concurrent.futures import Future

from gateway.adapters.store.database import Database
from gateway.adapters.store.intake import load_ledger, write_batch
from gateway.services.batches import Batch
from gateway.services.ledger import Ledger


class SqlIntakeStore:
    """Satisfies `IntakeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_ledger(self) -> Ledger:
        """Read the ledger behind everything that was submitted before."""
        return await self._database.write(load_ledger)

    def submit(self, batch: Batch) -> Future[None]:
        """Write a batch; the future is done when it is safe on disk."""
        return self._database.submit(lambda db: write_batch(db, batch))

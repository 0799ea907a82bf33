"""Wires models from elsewhere: the repository, trials beside the judge, bundles in waves."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.adapters.clock import BUILD_MS, SystemClock
from gateway.adapters.model_tryout import ChildTryout
from gateway.adapters.store.database import Database
from gateway.adapters.store.models import SqlModels
from gateway.adapters.store.views import SqlViews
from gateway.services.deriving import Deriver
from gateway.services.intake import Intake
from gateway.services.model_list import ModelListing
from gateway.services.models.care import ModelCare
from gateway.services.models.operations import ModelOperations, listed
from gateway.services.models.pulling import Pulling
from gateway.services.models.rules import Limits
from gateway.services.models.waves import Waves
from gateway.services.operations import Operations
from gateway.settings import Settings
from gateway.supervise import Stage
from gateway.wiring_meters import MeterCare

if TYPE_CHECKING:
    from tinymodels.registry.client import Client
    from tinymodels.registry.ports import Source

FOLDER = "models"  # beside the database: what is trusted of the repository
GOOGLE = "gs://"


class ModelParts:
    """The parts; `offer` and `stages` put them into the gateway."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self, settings: Settings, database: Database, clock: SystemClock, *, deriver: Deriver,
        meters: MeterCare, intake: Intake,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._deriver = deriver
        wanted = settings.models
        self._store = SqlModels(database)
        self.care = ModelCare(
            self._store, deriver, clock, self._limits, automatic=wanted.automatic
        )  # fmt: skip
        self.waves = Waves(
            self._store, meters.rollout, deriver, clock, ledger=lambda: intake.ledger,
            online=meters.here.__contains__, healthy_s=wanted.wave_hours * 3600,
        )  # fmt: skip
        self.pulling = Pulling(
            self._store, self.care, deriver, clock, ChildTryout(),
            registry=self._registry if wanted.repository else None,
            hand_out=self.waves.hand_out, every_s=wanted.pull_hours * 3600, built_ms=BUILD_MS,
        )  # fmt: skip
        views = SqlViews(
            database, max_bytes=settings.storage.max_bytes, latest=deriver.latest.get, unjudged=int
        )
        self._listing = ModelListing(views, lambda: listed(self.care))

    def _limits(self) -> Limits:
        """Return the limits, a channel's share of the house's budget among them."""
        wanted = self._settings.models
        live = [one for one in self._deriver.tracks.values() if not one.info.recorded]
        channels = max(1, sum(len(one.roll.channels) for one in live))
        budget = self._settings.detect.false_alarms_per_month / channels
        return Limits(wanted.shadow_days, wanted.health_hours, budget)

    def _registry(self) -> "Client":
        """Open the repository; called in a thread. ConfigError where the settings cannot work."""
        # Imported here: python-tuf and its friends are 20 MB that a home without models spares.
        from tinymodels.registry.client import Client, pinned  # noqa: PLC0415

        wanted = self._settings.models
        folder = self._settings.storage.path.with_name(FOLDER)
        return Client(source_of(self._settings), pinned(wanted.root_file), folder, wanted.channel)

    def offer(self, operations: Operations) -> None:
        """Offer what people may ask of it."""
        ours = ModelOperations(self.care, self.pulling, self.waves, self._store)
        operations.offer(ours.reading() | self._listing.reading())
        operations.offer_audited(ours.changing())

    def stages(self) -> list[Stage]:
        """Return the services."""
        return [
            Stage("models", self.care.run, self.care.close),
            Stage("repository", self.pulling.run),
            Stage("waves", self.waves.run),
        ]


def source_of(settings: Settings) -> "Source":
    """Return where the repository is read; ConfigError where it cannot be."""
    from tinymodels.registry.sources import DirectorySource, HttpSource  # noqa: PLC0415

    place = settings.models.repository
    if not place.startswith(GOOGLE):
        return HttpSource(place) if "://" in place else DirectorySource(Path(place))
    from cloud_sync.firebase_app import credentials_of, refuse_emulators  # noqa: PLC0415
    from cloud_sync.objects import BucketStore  # noqa: PLC0415

    cloud = settings.cloud
    refuse_emulators(os.environ, development=cloud.development)
    if cloud.credentials_file is None:  # a bucket that all may read needs nobody's
        from google.auth.credentials import AnonymousCredentials, Credentials

        credentials: Credentials = AnonymousCredentials()
    else:
        credentials = credentials_of(cloud, settings.storage.path)
    bucket, _, prefix = place.removeprefix(GOOGLE).partition("/")
    return BucketStore(bucket, credentials, cloud.project or "none", prefix)

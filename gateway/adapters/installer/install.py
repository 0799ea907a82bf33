"""The installation: every step in its order, and what must be started anew after which."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.adapters.installer.answers import Answers, settings_text
from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.files import Owner, PlaceFile, PlaceLink
from gateway.adapters.installer.layout import ACCOUNT, BROKER, SERVICE, Layout
from gateway.adapters.installer.machine import account, packages, without_access_times
from gateway.adapters.installer.papers import Kit, Papers
from gateway.adapters.installer.record import Record
from gateway.adapters.installer.releases import PlaceRelease, Releases, Source
from gateway.adapters.installer.services import ServiceManager
from gateway.adapters.installer.shipped import TIMER, Shipped
from gateway.adapters.installer.steps import Act, Report, Step, carry_out, plan

JOURNAL_SERVICE = "systemd-journald.service"
PACKAGES = (("mosquitto", "mosquitto"), ("python3-venv", "/usr/lib/python3*/ensurepip/__init__.py"))


@dataclass(slots=True)
class Touched:
    """Steps with one thing in common: whether any of them changed something."""

    steps: Sequence[Step]
    changed: bool = False

    def noted(self) -> list[Step]:
        """Return the steps so that this is told when one of them is done."""
        return [_Noting(step, self) for step in self.steps]

    def due(self) -> bool:
        """Tell whether something was changed, or would be."""
        return self.changed or any(step.pending() is not None for step in self.steps)


@dataclass(slots=True)
class _Noting:
    step: Step
    group: Touched

    def pending(self) -> str | None:
        """As the step says."""
        return self.step.pending()

    def apply(self) -> None:
        """Do it and note that."""
        self.group.changed = True
        self.step.apply()

    def undo(self) -> None:
        """Take it back."""
        self.step.undo()


@dataclass(slots=True)
class Installer:
    """Installs one source on one machine; running it again changes only what differs."""

    layout: Layout
    source: Source
    answers: Answers
    kit: Kit
    services: ServiceManager
    record: Record = field(init=False)
    _steps: list[Step] = field(init=False)
    _ran: dict[str, bool] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Lay out the steps; nothing is done yet."""
        self.record = Record(self.layout)
        self._steps = self._all_steps()

    def plan(self) -> list[str]:
        """Return what would be done. Raises InstallError when that cannot be told."""
        return plan(self._steps)

    def run(self, report: Report) -> int:
        """Do it and return how many steps there were; InstallError when it had to be undone."""
        self._ran = {unit: self.services.active(unit) for unit in (BROKER, SERVICE, TIMER)}
        try:
            return carry_out(self._steps, report)
        except BaseException:
            self._as_before()
            raise

    def _as_before(self) -> None:
        """After everything was taken back: have the services run as they did."""
        try:
            self.services.reread()
            for unit, ran in self._ran.items():
                if ran:
                    self.services.restart(unit)
        except InstallError:
            return  # the first error is the one to tell

    def _all_steps(self) -> list[Step]:
        layout, answers, services = self.layout, self.answers, self.services
        shipped = Shipped(layout, self.source.wheel, self.record)
        papers = Papers(layout, answers, self.kit)
        # The daemon: its program, settings, secrets and unit.
        program = Touched(
            [*self._program(), self._settings(), papers.password(), *shipped.unit(answers)]
        )
        lan = papers.server_certificates() if answers.lan else []
        broker = Touched([*shipped.broker(answers), shipped.acl(), *papers.broker_accounts(), *lan])
        card = Touched(shipped.card_care() if answers.card_care else [])
        renewal = Touched(shipped.renewal() if answers.lan else [])
        first: list[Step] = [] if layout.staged else [packages(PACKAGES, allowed=answers.packages)]
        care = [without_access_times(layout)] if answers.card_care else []
        authority = papers.authority()
        return [
            *first, shipped.sysusers(), account(layout), *authority, *program.noted(),
            *broker.noted(), *card.noted(), *care, *renewal.noted(), self._keep_record(),
            *(self._starts(program, broker, card, renewal) if services.available() else []),
        ]  # fmt: skip

    def _program(self) -> list[Step]:
        link = PlaceLink(self.layout.command, "/opt/wattwarden/bin/wattwarden")
        return [PlaceRelease(Releases(self.layout), self.source), link]

    def _settings(self) -> PlaceFile:
        def content() -> bytes:
            example = self.source.wheel.share("systemd/config.example.toml").decode()
            return settings_text(example, self.answers).encode()

        owner = Owner() if self.layout.staged else Owner("root", ACCOUNT)
        return PlaceFile(self.layout.config, content, 0o640, owner, keep=True)

    def _keep_record(self) -> Step:
        """Return the step that writes down what was placed; quiet, and never a reason to ask."""
        self.record.facts = {"version": self.source.wheel.version}
        return PlaceFile(self.layout.record, self.record.text)

    def _starts(
        self, program: Touched, broker: Touched, card: Touched, renewal: Touched
    ) -> list[Step]:
        services = self.services
        if not self.answers.start:
            return []

        def stale(unit: str, touched: Touched) -> bool:
            return touched.due() or not services.active(unit) or not services.enabled(unit)

        def up(unit: str, touched: Touched) -> Act:
            def do() -> None:
                services.enable(unit)
                services.restart(unit)

            return Act(lambda: f"start {unit}" if stale(unit, touched) else None, do,
                       lambda: None if self._ran.get(unit) else services.stop(unit))  # fmt: skip

        reread = Act(
            lambda: (
                "have systemd read its files again"
                if any(group.due() for group in (program, broker, renewal))
                else None
            ),
            services.reread,
        )
        journal = Act(
            lambda: "restart the journal" if card.due() else None,
            lambda: services.restart(JOURNAL_SERVICE),
        )
        timer = [up(TIMER, renewal)] if self.answers.lan else []
        return [reread, journal, up(BROKER, broker), up(SERVICE, program), *timer]

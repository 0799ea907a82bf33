"""Provisioning a meter: its settings, its account at the broker, its place in the gateway.

The board is written first and read back at a repetition, so that its password lies nowhere
else; the broker's account follows, the gateway last. Broken off anywhere, a repetition goes on
with the same password: the gateway never lists a meter that could not log in.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.errors import BadInputError, ConfigError
from provisioning import login_check
from provisioning.board import Board
from provisioning.broker_files import BrokerFiles, new_password
from provisioning.console import Console
from provisioning.errors import BoardError
from provisioning.listening import Hearing
from provisioning.meter_config import (
    CA_PATH,
    PATH,
    RATING_A,
    MeterPlan,
    check,
    check_clamps,
    completed,
    config_json,
    networks_json,
)
from provisioning.telling import Teller

# No release of this program is older: a clock that says less was never set.
BUILD_S = 1_748_736_000.0  # 2025-06-01
# What belongs to the readings of the meter that this board was before.
_OF_ANOTHER_METER = ("/spool", "/registers.*", "/bootcount.*", "/commands.*")


@dataclass(frozen=True, slots=True)
class Newest:
    """A meter's newest reading: what tells it from others, and words for people."""

    boot: int
    seq: int
    text: str


class Registry(Protocol):
    """The gateway, as provisioning needs it."""

    def register(self, meter: str, label: str | None) -> None:
        """Let a meter in, also one that was removed; a no-op for one that is in."""

    def rate(self, meter: str, channels: Sequence[str], rating_a: float) -> None:
        """Note the rated current of a meter's clamps, once the gateway knows its channels."""

    def newest(self, meter: str) -> Newest | None:
        """Return its newest reading, None while there is none."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a meter is put in: the broker's accounts and address from here, the gateway."""

    accounts: BrokerFiles | None
    address: str
    registry: Registry
    wall_s: Callable[[], float] = time.time


def provision(port: str, plan: MeterPlan, site: Site, tell: Teller, *, within_s: float) -> Newest:
    """Make a flashed board the meter of the plan; return its first reading.

    `site.accounts` None: the broker asks for no password. BadInputError, ConfigError, PortError,
    BoardError, BrokerError, NetworkError: see their classes.
    """
    check(plan)
    _before(plan, site, tell)
    board = Board(port)
    tell.step("reading the board")
    known = board.inventory(("", "/put"))
    if "/main.py" not in known.files:
        msg = "there is no firmware on this board yet; run first: wattwarden meters flash"
        raise BoardError(msg)
    old = _old(board)
    _settle_identity(plan, old, site, tell)
    plan = completed(plan, old)
    check_clamps(plan, known.machine)
    password = _password(plan, old)
    tell.step("writing its settings")
    files = {PATH: config_json(plan, password, _networks(plan, old))}
    if plan.door.ca is not None:
        files = {CA_PATH: plan.door.ca, **files}
    renamed = old.get("meter") not in {None, plan.meter}
    board.put(files, known, tell.progress, remove=_OF_ANOTHER_METER if renamed else ())
    if site.accounts is not None:
        tell.step("giving it an account at the broker")
        if not site.accounts.matches(plan.meter, password):
            site.accounts.set_password(plan.meter, password)
        site.accounts.reload()
        login_check.wait_for_login(site.address, plan.door, plan.meter, password)
    tell.step("registering it in the gateway")
    site.registry.register(plan.meter, plan.label)
    first = first_reading(port, plan.meter, site.registry, tell, within_s=within_s)
    site.registry.rate(plan.meter, plan.channels or (), plan.rating_a or RATING_A)
    return first


def first_reading(
    port: str, meter: str, registry: Registry, tell: Teller, *, within_s: float
) -> Newest:
    """Boot the meter and wait until the gateway has a reading of it that it had not before."""
    tell.step("waiting for its first reading")
    before = registry.newest(meter)
    hearing = Hearing()
    with Console(port) as console:
        console.reset()
        for line in console.lines(within_s, every_s=0.5):
            hearing.hear(line)
            if line and not hearing.connected:
                continue
            now = registry.newest(meter)
            if now is not None and (
                before is None or (now.boot, now.seq) != (before.boot, before.seq)
            ):
                return now
    raise hearing.silence(within_s)


def _before(plan: MeterPlan, site: Site, tell: Teller) -> None:
    """Look at all that can be looked at before anything is changed."""
    tell.step("looking at the broker")
    if site.wall_s() < BUILD_S:
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime(site.wall_s()))
        msg = (
            f"this machine's clock says {now} UTC, which is wrong: certificates would not hold;"
            " set it: sudo timedatectl set-ntp true"
        )
        raise ConfigError(msg)
    if site.accounts is not None:
        site.accounts.check()
    login_check.look(site.address, plan.door)


def _old(board: Board) -> Mapping[str, object]:
    """Return the settings the board has, {} where it has none that can be read."""
    content = board.read(PATH)
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _settle_identity(plan: MeterPlan, old: Mapping[str, object], site: Site, tell: Teller) -> None:
    """Ask before a board changes its name, or takes the place of another one."""
    was = old.get("meter")
    if was == plan.meter:
        return
    if was is not None:
        _agree(tell, f"This board is the meter {str(was)[:32]!r}. Make it {plan.meter!r}?")
        tell.note(f"what {str(was)[:32]} may do ends with: wattwarden meters remove {was}")
    if site.accounts is not None and site.accounts.has(plan.meter):
        question = f"There is a meter {plan.meter!r} already. Does this board take its place?"
        _agree(tell, question)


def _agree(tell: Teller, question: str) -> None:
    if not tell.confirm(question):
        msg = "nothing was changed; choose another name, or say --yes"
        raise BadInputError(msg)


def _password(plan: MeterPlan, old: Mapping[str, object]) -> str:
    """Return the password that the board has for this meter, else a new one."""
    mqtt = old.get("mqtt")
    known = mqtt.get("password") if isinstance(mqtt, dict) else None
    if old.get("meter") == plan.meter and isinstance(known, str) and not plan.new_password:
        return known
    return new_password()


def _networks(plan: MeterPlan, old: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    """Return the networks of the plan, else those that the board has."""
    if plan.networks is not None:
        return networks_json(plan.networks)
    kept = old.get("wifi")
    return kept if isinstance(kept, list) else []

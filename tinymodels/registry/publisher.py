"""What a publisher does: begin a repository, publish, promote, change keys, renew."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from securesystemslib.signer import Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    TargetFile,
    Targets,
)

from gateway.domain.errors import BadInputError, ConflictError, NotFoundError
from tinymodels.registry.items import Item, family_of
from tinymodels.registry.keys import Keyring
from tinymodels.registry.ports import METADATA, TARGETS, Lifetimes, RepositoryStore
from tinymodels.registry.repository import CHANNELS, ROLES, Repository

KEPT_VERSIONS = 3  # of one kind of target in a channel; what is older is offered no more
HALF = 2  # what has less than half of its days left is renewed along


class Listed(NamedTuple):
    """A published target, or a role's state, as people see it."""

    path: str
    length: int
    sha256: str
    custom: Mapping[str, object]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Publisher:
    """One person or machine at a time works on a repository; a second one is told so."""

    def __init__(
        self,
        store: RepositoryStore,
        keys: Keyring,
        *,
        lives: Lifetimes | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self.keys = keys
        self.lives = lives or Lifetimes()
        self._now = now

    def init(self, keys: Mapping[str, list[Key]]) -> bytes:
        """Begin a repository with these keys per role; return the root that gateways pin."""
        if self._store.names(METADATA):
            msg = "there is a repository here already"
            raise ConflictError(msg)
        root = Metadata(Root(consistent_snapshot=True))
        for role in root.signed.roles:
            for key in keys[role]:
                root.signed.add_key(key, role)
        delegated = {name: _delegation(name) for name in CHANNELS}
        targets = Targets(delegations=Delegations({}, delegated))
        for name in CHANNELS:
            for key in keys[name]:
                targets.add_key(key, name)
        parts = {"targets": Metadata(targets)} | {name: Metadata(Targets()) for name in CHANNELS}
        new = Repository(self._store, root, parts)
        self._release(new, {"root"})
        return new.root.to_bytes()

    def publish(self, channel: str, items: list[Item]) -> list[str]:
        """Offer files in a channel; return their paths.

        ConflictError for a version that is published with another content, BadInputError for one
        that does not rise. The same again changes nothing.
        """
        repository = Repository.load(self._store)
        offered = repository.parts[_channel(channel)].signed.targets
        new = [self._target(channel, item, offered) for item in items]
        fresh = [target for target in new if target is not None]
        for target, item in zip(new, items, strict=True):
            if target is not None:
                path = next(iter(target.get_prefixed_paths()))
                self._store.put_new(f"{TARGETS}{path}", item.body)
                offered[target.path] = target
        _forget_old(offered)
        if fresh:
            self._release(repository, {channel})
        return [f"{channel}/{item.name}" for item in items]

    def _target(
        self, channel: str, item: Item, offered: Mapping[str, TargetFile]
    ) -> TargetFile | None:
        path = f"{channel}/{item.name}"
        target = TargetFile.from_data(path, item.body, ["sha256"])
        custom = {**item.custom, "published_ms": int(self._now().timestamp() * 1000)}
        target.unrecognized_fields["custom"] = custom
        known = offered.get(path)
        if known is not None:
            if known.hashes == target.hashes:
                return None
            msg = f"{path}: published already, with another content; raise the version"
            raise ConflictError(msg)
        newest = max(
            (int(one.custom["version"]) for one in offered.values()
             if family_of(one.custom) == item.family), default=0,
        )  # fmt: skip
        if int(item.custom["version"]) <= newest:
            msg = f"{path}: the version must be above {newest}, the highest there is"
            raise BadInputError(msg)
        return target

    def promote(self, name: str) -> str:
        """Offer in `stable` what `canary` offers; return its path there. NotFoundError."""
        repository = Repository.load(self._store)
        known = repository.parts["canary"].signed.targets.get(f"canary/{name}")
        if known is None:
            msg = f"canary offers no {name[:100]}; see: wattwarden registry show"
            raise NotFoundError(msg)
        path = next(iter(known.get_prefixed_paths()))
        body = self._store.get(f"{TARGETS}{path}").body
        known.verify_length_and_hashes(body)
        custom = {k: v for k, v in known.custom.items() if k != "published_ms"}
        return self.publish("stable", [Item(name, body, custom)])[0]

    def withdraw(self, channel: str, name: str) -> None:
        """Offer a target no more; gateways that run it go on. NotFoundError."""
        repository = Repository.load(self._store)
        offered = repository.parts[_channel(channel)].signed.targets
        if offered.pop(f"{channel}/{name}", None) is None:
            msg = f"{channel} offers no {name[:100]}"
            raise NotFoundError(msg)
        self._release(repository, {channel})

    def add_key(self, role: str, key: Key, threshold: int | None = None) -> None:
        """Let one more key sign for a role, `threshold` of them being needed from now on."""
        repository = Repository.load(self._store)
        repository.delegator(_role(role)).add_key(key, role)
        self._change_keys(repository, role, threshold)

    def rotate(
        self, role: str, new: Key | None, revoke: list[str] | None = None,
        threshold: int | None = None,
    ) -> list[str]:  # fmt: skip
        """Replace a role's keys by a new one, or revoke those named; return the revoked ids.

        What they signed is signed anew; gateways believe the revoked ones no more.
        """
        repository = Repository.load(self._store)
        delegator = repository.delegator(_role(role))
        known = repository.key_ids(role)
        gone = [one for one in known if any(one.startswith(r) for r in revoke)] if revoke else known
        if not gone or (revoke and len(gone) != len(set(revoke))):
            msg = f"--revoke: {role} has the keys {', '.join(one[:12] for one in known)}"
            raise BadInputError(msg)
        if new is not None:
            delegator.add_key(new, role)
        gone = [one for one in gone if new is None or one != new.keyid]
        for key_id in gone:
            delegator.revoke_key(key_id, role)
        self._change_keys(repository, role, threshold)
        return gone

    def _change_keys(self, repository: Repository, role: str, threshold: int | None) -> None:
        wanted = repository.delegator(role).get_delegated_role(role)
        if threshold is not None:
            wanted.threshold = threshold
        if not 1 <= wanted.threshold <= len(wanted.keyids):
            msg = f"--threshold: {role} has {len(wanted.keyids)} keys, {wanted.threshold} must sign"
            raise BadInputError(msg)
        self._release(repository, {"targets" if role in CHANNELS else "root"})

    def renew(self, roles: list[str] | None = None) -> list[str]:
        """Sign again what is good for less than half of its days; return which roles.

        The timestamp always is. With `roles` those, whatever is left of them.
        """
        repository = Repository.load(self._store)
        days = {"targets": self.lives.targets, "root": self.lives.root}
        due = set(roles or ())
        for role in ROLES[:-2] if roles is None else ():
            life = timedelta(days=days.get(role, self.lives.channel))
            if repository.expires(role) - self._now() < life / HALF:
                due.add(role)
        self._release(repository, {_role(role) for role in due})
        return sorted(due | {"snapshot", "timestamp"})

    def _release(self, repository: Repository, changed: set[str]) -> None:
        repository.release(changed, self.keys, self._now(), self.lives)


def listing(repository: Repository) -> list[Listed]:
    """Return everything that a repository offers, by path."""
    found = [
        Listed(one.path, one.length, one.hashes["sha256"], one.custom or {})
        for channel in CHANNELS
        for one in repository.parts[channel].signed.targets.values()
    ]
    return sorted(found, key=lambda one: one.path)


def _delegation(channel: str) -> DelegatedRole:
    """Let a channel's keys speak for what lies below its name, and for nothing else."""
    paths = [f"{channel}/*", f"{channel}/*/*"]
    return DelegatedRole(channel, [], 1, terminating=True, paths=paths)


def _forget_old(offered: dict[str, TargetFile]) -> None:
    """Keep the newest few of each family; their files stay where they are."""
    families: dict[tuple[object, ...], list[TargetFile]] = {}
    for target in offered.values():
        families.setdefault(family_of(target.custom), []).append(target)
    for versions in families.values():
        versions.sort(key=lambda one: int(one.custom["version"]))
        for target in versions[:-KEPT_VERSIONS]:
            del offered[target.path]


def _channel(name: str) -> str:
    if name not in CHANNELS:
        msg = f"--channel: must be {' or '.join(CHANNELS)}"
        raise BadInputError(msg)
    return name


def _role(name: str) -> str:
    if name not in ROLES:
        msg = f"role: must be one of {', '.join(ROLES)}"
        raise BadInputError(msg)
    return name

"""A repository's signed state: read and verified, changed, and put out in a safe order."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Self

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from gateway.domain.errors import BadInputError, ConfigError, ConflictError, NotFoundError
from tinymodels.registry.keys import Keyring
from tinymodels.registry.ports import METADATA, Lifetimes, RepositoryStore

CHANNELS: Final = ("stable", "canary")
ROLES: Final = ("root", "targets", *CHANNELS, "snapshot", "timestamp")
MOST_TAKEN = 100  # version numbers that were used by somebody who did not finish
_ROOT = re.compile(rf"{METADATA}(\d+)\.root\.json")


class Repository:
    """The newest state of everything that is signed, each part verified by what delegates it."""

    def __init__(
        self, store: RepositoryStore, root: Metadata[Root], parts: dict[str, Metadata[Targets]]
    ) -> None:
        """Begin a repository that nobody has published yet."""
        self._store = store
        self._seen: str | None = None  # which timestamp this follows from
        self._before: Metadata[Root] | None = None
        self.root = root
        self.parts = parts
        self.snapshot: Metadata[Snapshot] = Metadata(Snapshot())
        self.timestamp: Metadata[Timestamp] = Metadata(Timestamp())
        fresh: list[Metadata[Any]] = [root, *parts.values(), self.snapshot, self.timestamp]
        for one in fresh:
            one.signed.version = 0

    @classmethod
    def load(cls, store: RepositoryStore) -> Self:
        """Read it. NotFoundError without one; BadInputError where a signature is not right."""
        before, root = _load_root(store)
        found = store.get(f"{METADATA}timestamp.json")
        timestamp: Metadata[Timestamp] = _parse(found.body, "timestamp")
        number = timestamp.signed.snapshot_meta.version
        snapshot: Metadata[Snapshot] = _numbered(store, number, "snapshot")
        told = snapshot.signed.meta
        parts = {
            name: _numbered(store, told[f"{name}.json"].version, name)
            for name in ("targets", *CHANNELS)
        }
        repository = cls(store, Metadata(Root()), {})
        repository.root, repository.parts = root, parts
        repository.snapshot, repository.timestamp = snapshot, timestamp
        repository._before, repository._seen = before, found.version
        repository._check()
        return repository

    def _check(self) -> None:
        """Refuse what somebody else has put there: it must never be signed by us.

        A rotation that did not finish has left parts that keys of the root before have signed.
        """
        for role in ROLES[1:]:
            if role in CHANNELS or self._before is None:
                _verify(self.delegator(role), role, self._of(role))
            elif not self.is_signed(role):
                _verify(self._before.signed, role, self._of(role))

    def delegator(self, role: str) -> Root | Targets:
        """Return who says which keys sign for a role."""
        return self.parts["targets"].signed if role in CHANNELS else self.root.signed

    def key_ids(self, role: str) -> list[str]:
        """Return the ids of the keys that sign for a role."""
        return list(self.delegator(role).get_delegated_role(role).keyids)

    def is_signed(self, role: str) -> bool:
        """Tell whether a role's state is signed by its keys of today."""
        try:
            _verify(self.delegator(role), role, self._of(role))
        except BadInputError:
            return False
        return True

    def _of(self, role: str) -> Metadata[Any]:
        top: dict[str, Metadata[Any]] = {
            "root": self.root, "snapshot": self.snapshot, "timestamp": self.timestamp
        }  # fmt: skip
        return top.get(role) or self.parts[role]

    def expires(self, role: str) -> datetime:
        """Return until when a role's state is good."""
        moment: datetime = self._of(role).signed.expires
        return moment

    # -- putting out ----------------------------------------------------------------------------

    def release(
        self, changed: Iterable[str], keys: Keyring, now: datetime, lives: Lifetimes
    ) -> None:
        """Sign what has changed, and what keys of yesterday signed; put all of it out.

        Files that are named by others come before those, the timestamp last: whoever reads
        meanwhile, or after a crash here, finds the old state whole. ConfigError names the role
        whose keys are not here; ConflictError, TransientError: somebody else was quicker.
        """
        changed = set(changed)
        todo = [
            name for name in self.parts if name in changed or self._seen is None
            or not self.is_signed(name)
        ]  # fmt: skip
        plan = (["root"] if "root" in changed else []) + [*todo, "snapshot", "timestamp"]
        for role in plan:  # nothing is put out unless all can be signed
            _need(role, self.delegator(role), keys)
        if "root" in changed:
            self._put_root(keys, now, lives)
        for name in todo:
            days = lives.targets if name == "targets" else lives.channel
            body = self._put(name, self.parts[name], keys, now + timedelta(days=days))
            version = self.parts[name].signed.version
            self.snapshot.signed.meta[f"{name}.json"] = MetaFile.from_data(
                version, body, ["sha256"]
            )
        body = self._put("snapshot", self.snapshot, keys, now + timedelta(days=lives.snapshot))
        self.timestamp.signed.snapshot_meta = MetaFile.from_data(
            self.snapshot.signed.version, body, ["sha256"]
        )
        self.timestamp.signed.version += 1
        self.timestamp.signed.expires = now + timedelta(days=lives.timestamp)
        body = self._sign("timestamp", self.timestamp, keys)
        self._store.replace(f"{METADATA}timestamp.json", body, self._seen)

    def _put_root(self, keys: Keyring, now: datetime, lives: Lifetimes) -> None:
        """Put out the next root, signed by the keys of the last one too."""
        before = _load_root(self._store)[1].signed if self._seen is not None else None
        self.root.signed.version = 1 if before is None else before.version + 1
        self.root.signed.expires = now + timedelta(days=lives.root)
        old: list[str] = []
        if before is not None:
            _need("root", before, keys)  # gateways that know the last root follow it alone
            old = before.get_delegated_role("root").keyids
        self.root.signatures.clear()
        for signer in keys.signers(dict.fromkeys([*old, *self.key_ids("root")])):
            self.root.sign(signer, append=True)
        for judge in [self.root.signed] if before is None else [before, self.root.signed]:
            _verify(judge, "root", self.root)
        name = f"{METADATA}{self.root.signed.version}.root.json"
        self._store.put_new(name, self.root.to_bytes())

    def _put(
        self, name: str, part: Metadata[Any], keys: Keyring, expires: datetime
    ) -> bytes:  # fmt: skip
        """Store a new version; numbers that somebody used and did not finish are passed over."""
        part.signed.expires = expires
        for _ in range(MOST_TAKEN):
            part.signed.version += 1
            body = self._sign(name, part, keys)
            try:
                self._store.put_new(f"{METADATA}{part.signed.version}.{name}.json", body)
            except ConflictError:
                continue
            return body
        msg = f"{name}: {MOST_TAKEN} versions above the current one are taken"
        raise ConflictError(msg)

    def _sign(self, role: str, part: Metadata[Any], keys: Keyring) -> bytes:
        part.signatures.clear()
        for signer in keys.signers(self.key_ids(role)):
            part.sign(signer, append=True)
        return part.to_bytes()


def _need(role: str, delegator: Root | Targets, keys: Keyring) -> None:
    wanted = delegator.get_delegated_role(role)
    here = len(keys.signers(wanted.keyids))
    if here < wanted.threshold:
        names = ", ".join(one[:12] for one in wanted.keyids)
        msg = (
            f"--keys: {role} needs {wanted.threshold} of the keys {names}; {here} are here. "
            f"Give the folder that holds them, or $WATTWARDEN_REGISTRY_KEY_{role.upper()}"
        )
        raise ConfigError(msg)


def _load_root(
    store: RepositoryStore,
) -> tuple[Metadata[Root] | None, Metadata[Root]]:
    """Follow the roots from the first: each is signed by itself and by the one before.

    Return the last but one (None where there is one only) and the last.
    """
    numbers = [int(m[1]) for m in map(_ROOT.fullmatch, store.names(METADATA)) if m]
    if not numbers:
        msg = "there is no repository here; begin one with: wattwarden registry init"
        raise NotFoundError(msg)
    before: Metadata[Root] | None = None
    root: Metadata[Root] = _numbered(store, 1, "root")
    _verify(root.signed, "root", root)
    for number in range(2, max(numbers) + 1):
        before, root = root, _numbered(store, number, "root")
        for judge in (before, root):
            _verify(judge.signed, "root", root)
    return before, root


def _numbered(store: RepositoryStore, number: int, name: str) -> Metadata[Any]:
    found = _parse(store.get(f"{METADATA}{number}.{name}.json").body, name)
    if found.signed.version != number:
        msg = f"{name}: version {found.signed.version} stands where {number} should"
        raise BadInputError(msg)
    return found


def _parse(body: bytes, name: str) -> Metadata[Any]:
    try:
        return Metadata[Any].from_bytes(body)
    except DeserializationError as error:
        msg = f"{name}: the repository's metadata cannot be read: {error}"
        raise BadInputError(msg) from error


def _verify(judge: Root | Targets, role: str, part: Metadata[Any]) -> None:
    try:
        judge.verify_delegate(role, part.signed_bytes, part.signatures)
    except RepositoryError as error:
        msg = f"{role}: not signed by the keys it should be: {error}"
        raise BadInputError(msg) from error

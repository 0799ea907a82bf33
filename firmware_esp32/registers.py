"""Cumulative energy registers in whole mWh, kept through power cuts."""

from binascii import crc32

import wire
from checked import Checked
from errors import FlashError

# 1 mWh = 3600 W·ms = 3,600,000 mW·ms.
_MW_MS_PER_MWH = 3600000
_VERSION = 1
_ENTRY_BYTES = 4 + 7 + 7  # CRC-32 of the channel's name, import, export
_REGISTER_BYTES = 7  # 2**56 mWh = 72 GWh
MAX_MWH = (1 << 56) - 1


class Registers:
    """Import and export of each channel; `mwh_in[k]` and `mwh_out[k]` never fall.

    Saved in two alternating files (`checked.py`), found again by channel name, so that a channel
    that changes its place keeps its energy. A power cut costs what came after the last `save`.
    """

    def __init__(self, root: str, channels: "list[str]") -> None:
        self.channels = channels
        count = len(channels)
        self.mwh_in = [0] * count
        self.mwh_out = [0] * count
        self._rest_in = [0] * count  # mW·ms that make no whole mWh yet
        self._rest_out = [0] * count
        self._store = Checked(root, "registers")
        self._others: dict[int, bytes] = {}  # entries of channels that are not in use now
        self._begun = False
        self.failed_saves = 0
        self._load()

    def add(self, channel: int, p_w: "float | None", dt_ms: int) -> None:
        """Count p_w over dt_ms: positive as import, negative as export; None and NaN as nothing.

        The power is rounded to mW once; everything after is exact.
        """
        self._begun = True
        if p_w is None or not -wire.MAX_P <= p_w <= wire.MAX_P:
            return
        if p_w >= 0:
            total = self._rest_in[channel] + int(p_w * 1000 + 0.5) * dt_ms
            self.mwh_in[channel] += total // _MW_MS_PER_MWH
            self._rest_in[channel] = total % _MW_MS_PER_MWH
        else:
            total = self._rest_out[channel] + int(0.5 - p_w * 1000) * dt_ms
            self.mwh_out[channel] += total // _MW_MS_PER_MWH
            self._rest_out[channel] = total % _MW_MS_PER_MWH

    def raise_to(self, regs: object) -> bool:
        """Take the larger of each register and the `regs` of an ack read by `wire.read_ack`.

        Only before the first window (rule R); later, and for a `regs` that is no such object, it
        changes nothing and returns False.
        """
        if self._begun or not isinstance(regs, dict):
            return False
        for at, name in enumerate(self.channels):
            entry = regs.get(name)
            if not isinstance(entry, dict):
                continue
            self.mwh_in[at] = _larger(self.mwh_in[at], entry.get("wh_in"))
            self.mwh_out[at] = _larger(self.mwh_out[at], entry.get("wh_out"))
        return True

    def save(self) -> bool:
        """Save; call it at least once a minute.

        False: the flash refused, or memory was short; the copy before holds.
        """
        data = bytearray((_VERSION,))
        for at, name in enumerate(self.channels):
            data += crc32(name.encode()).to_bytes(4, "little")
            data += self.mwh_in[at].to_bytes(_REGISTER_BYTES, "little")
            data += self.mwh_out[at].to_bytes(_REGISTER_BYTES, "little")
        for entry in self._others.values():
            data += entry
        try:
            self._store.save(bytes(data))
        except (FlashError, MemoryError):
            self.failed_saves += 1
            return False
        return True

    def _load(self) -> None:
        data = self._store.load()
        if not data or data[0] != _VERSION:
            return
        places = {crc32(name.encode()): at for at, name in enumerate(self.channels)}
        for start in range(1, len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
            entry = data[start : start + _ENTRY_BYTES]
            key = int.from_bytes(entry[:4], "little")
            if key not in places:
                # An old name's energy is kept for its return, as many as one meter has channels.
                if len(self._others) < 6:  # noqa: PLR2004 - see above
                    self._others[key] = entry
                continue
            at = places[key]
            self.mwh_in[at] = int.from_bytes(entry[4:11], "little")
            self.mwh_out[at] = int.from_bytes(entry[11:18], "little")


def _larger(mwh: int, wh: object) -> int:
    other = wire.mwh(wh)
    return mwh if other is None or not mwh < other <= MAX_MWH else other

"""Real recordings through the firmware: an ideal converter tests the maths, a chain all.

The references lie beside the recordings: independent harmonic fits, and for some of `scope25k`
what the oscilloscope itself showed. They contain the recorder's constant offset, which no
current transformer passes: it is taken off them, with the fit's own `idc` where there is one.
Absolute volts of `hfhadc` are doubtful, so its scale is arbitrary here: both sides use the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.common import Figures, Limit, progress
from bench.metering_loads import CHANNEL, Session
from bench.metering_rig import BURSTS, FRAMES, GAP_US, Burst, Measured, Rig
from simulation.chain import TICKS
from simulation.noise import Floats
from simulation.sources import RecordingSource
from tests.support.shared import shared_data

PF_LIMIT, RMS_LIMIT_PCT = 0.005, 0.5
COUNT = 72
LIMITS = [
    Limit("recordings", "min", COUNT),
    Limit("recordings_pf_worst", "max", PF_LIMIT),
    Limit("recordings_v_rms_worst_pct", "max", RMS_LIMIT_PCT),
    Limit("recordings_i_rms_worst_pct", "max", RMS_LIMIT_PCT),
    Limit("voltage_recordings_v_rms_worst_pct", "max", RMS_LIMIT_PCT),
]
_SECONDS = 20  # the recording is played over and over, and bursts fall everywhere in it
_FINER = 8  # interpolation by the discrete Fourier transform, then linear
_V_PER_RAW, _A_PER_RAW = 1 / 21.3872, 1 / 41.4738  # hfhadc, from its publisher's script
_PEAK = 1900  # codes
_BURST_US = FRAMES * 250 + GAP_US
_GOLDEN = 0.6180339887498949
_STEP_V, _STEP_A = 0.2, 0.02  # V and A per code in the ideal meter's record: any will do
_CHAIN_FROM_W = 100.0
_SCOPE_HZ = 25_000.0
_SCREEN = " (its screen)"


@dataclass(frozen=True, slots=True)
class Recording:
    """Whole cycles of V and A, and what the reference says of them; NaN = it does not."""

    name: str
    rate_hz: float
    volts: Floats
    amps: Floats
    v_rms: float
    i_rms: float
    p: float
    pf: float

    def source(self) -> RecordingSource:
        """Return it as a source, band-limited between its samples."""
        return RecordingSource(
            _finer(self.volts),
            [_finer(self.amps)],
            rate_hz=self.rate_hz * _FINER,
            nominal_hz=50.0,
        )


class IdealConverter:
    """Twelve bits and nothing else: no noise, no bend, all inputs at the same instant."""

    clamps = 1
    frame_us = 250
    read_us = 0
    linear = (np.arange(4096) * 16).astype(np.uint16)

    def bursts(
        self, recording: "Recording", scales: tuple[float, float], windows: int
    ) -> Iterator[Burst]:
        """Yield codes; the scales are codes per V and per A.

        Bursts begin where the golden ratio puts them, so that a recording of something
        unsteady is covered evenly: the reference saw each of its cycles once.
        """
        source = recording.source()
        length_us = len(recording.volts) / recording.rate_hz * 1e6
        for number in range(windows * BURSTS):
            begin_us = int(length_us * (number * _GOLDEN % 1.0))
            at_us = begin_us + np.arange(FRAMES) * self.frame_us
            at_s: Floats = at_us * np.float64(1e-6)
            values = np.stack([source.volts(at_s), source.amps(0, at_s)], axis=1)
            codes = np.clip(np.rint(2048 + values * scales), 0, 4095).astype(np.uint16)
            ticks = number * _BURST_US + np.arange(FRAMES) * self.frame_us
            yield (ticks % TICKS).astype(np.uint32), ((codes << 4) | (codes >> 8)).astype(np.uint16)


def load(folder: Path) -> list[Recording]:
    """Return every recorded pair of channels of both sets, by each reference that it has."""
    return [*_hfhadc(folder), *_scope(folder)]


def voltage_only(folder: Path) -> list[Recording]:
    """Return the scope's records without a current and a reference, by their plain RMS."""
    waves = pd.read_parquet(folder / "scope25k_wave.parquet")
    known = set(pd.read_csv(folder / "scope25k_truth.csv").rec)
    found = []
    for name, wave in waves[~waves.rec.isin(known)].groupby("rec"):
        volts = wave.v_ch1.to_numpy(float)
        whole = float(np.std(volts))
        alone = Recording(str(name), _SCOPE_HZ, volts, 0 * volts, whole, np.nan, np.nan, np.nan)
        found.append(alone)
    return found


def _hfhadc(folder: Path) -> Iterator[Recording]:
    waves = dict(list(pd.read_parquet(folder / "hfhadc_wave.parquet").groupby("rec")))
    for row in pd.read_csv(folder / "hfhadc_truth.csv").itertuples():
        wave = waves[row.rec]
        volts = wave.v_raw.to_numpy(float) * _V_PER_RAW
        yield _judged(str(row.rec), row, volts, wave.i_raw.to_numpy(float) * _A_PER_RAW)


def _scope(folder: Path) -> Iterator[Recording]:
    waves = dict(list(pd.read_parquet(folder / "scope25k_wave.parquet").groupby("rec")))
    truth = pd.read_csv(folder / "scope25k_truth.csv")
    for row in truth.itertuples():
        wave = waves[row.rec]
        amps = wave[str(row.i_ch).lower()[:5]].to_numpy(float)
        volts = wave[str(row.v_ch).lower()].to_numpy(float)
        name = f"{row.rec} {row.i_ch}"
        yield _judged(name, row, volts, amps)
        shown = float(row.scope_Vrms), float(row.scope_Irms)
        if not np.isnan(shown).any():
            # Its screen showed the RMS of the whole record, offset and all.
            v_rms, i_rms = (
                float(np.sqrt(rms**2 - samples.mean() ** 2))
                for rms, samples in zip(shown, (volts, amps), strict=True)
            )
            name = f"{name}{_SCREEN}"
            yield Recording(name, _SCOPE_HZ, volts, amps, v_rms, i_rms, np.nan, np.nan)


def _judged(name: str, row: object, volts: Floats, amps: Floats) -> Recording:
    """Return the stretch the reference is of, and its values without the offsets."""
    truth = {key: float(getattr(row, key, np.nan)) for key in _KEYS}
    rate = truth["fs_hz"]
    if np.isnan(truth["f_hz"]):  # a drive's output: only RMS over the whole record
        v_rms = float(np.sqrt(truth["Vrms_full"] ** 2 - volts.mean() ** 2))
        i_rms = float(np.sqrt(truth["Irms_full"] ** 2 - amps.mean() ** 2))
        return Recording(name, rate, volts, amps, v_rms, i_rms, np.nan, np.nan)
    n = round(truth["cycles"] * rate / truth["f_hz"])
    v_rms = float(np.sqrt(truth["Vrms"] ** 2 - truth["vdc"] ** 2))
    i_rms = float(np.sqrt(truth["Irms"] ** 2 - truth["idc"] ** 2))
    watts = truth["P"] - truth["vdc"] * truth["idc"]
    return Recording(name, rate, volts[:n], amps[:n], v_rms, i_rms, watts, watts / v_rms / i_rms)


_KEYS = ("fs_hz", "f_hz", "cycles", "Vrms", "Irms", "P", "vdc", "idc", "Vrms_full", "Irms_full")


def _finer(samples: Floats) -> Floats:
    spectrum = np.fft.rfft(samples)
    return np.asarray(np.fft.irfft(spectrum, len(samples) * _FINER) * _FINER)


@dataclass(frozen=True, slots=True)
class Off:
    """How far one recording was off: % RMS, absolute power factor; NaN = not judged."""

    name: str
    v: float
    i: float
    pf: float


def compare(
    recording: Recording, windows: list[Measured], units: tuple[float, float] = (1.0, 1.0)
) -> Off:
    """Return the errors of the windows' means; `units` are V and A per unit of the meter."""
    volts = float(np.sqrt(np.mean([w.v**2 for w in windows]))) * units[0]
    amps = float(np.sqrt(np.mean([w.i[0] ** 2 for w in windows]))) * units[1]
    watts = float(np.mean([w.p[0] for w in windows])) * units[0] * units[1]
    factor = watts / (volts * amps) if amps else 0.0
    return Off(
        recording.name,
        100 * (volts / recording.v_rms - 1),
        100 * (amps / recording.i_rms - 1) if recording.i_rms > 0 else np.nan,
        factor - recording.pf,
    )


def ideal(recordings: list[Recording], seconds: int) -> list[Off]:
    """Play recordings into an ideal converter that each fills."""
    point = {"i": 1.0, "gain": _STEP_A, "phase": 0.0}
    row = {"name": CHANNEL, "noise": 1 / 12, "points": [point]}  # noise of rounding
    record = {"format": 1, "version": 1, "v": {"gain": _STEP_V}, "ch": [row]}
    converter, out = IdealConverter(), []
    with Rig(converter, [CHANNEL]) as rig:
        for recording in recordings:
            peaks = [np.abs(samples).max() for samples in (recording.volts, recording.amps)]
            scales = (_PEAK / peaks[0], _PEAK / peaks[1] if peaks[1] else 0.0)
            rig.measure(converter.bursts(recording, scales, 1), 1, record)  # the mids settle
            windows, _ = rig.measure(converter.bursts(recording, scales, seconds), seconds)
            units = (1 / scales[0] / _STEP_V, 1 / scales[1] / _STEP_A if scales[1] else 0.0)
            out.append(compare(recording, windows, units))
    return out


def through_chain(recordings: list[Recording], seconds: int) -> list[Off]:
    """Play recordings above 100 W through a whole calibrated board."""
    session, out = Session(0, 50.0), []
    with Rig(session.chain, [CHANNEL]) as rig:
        record = session.calibrate(rig)
        for recording in recordings:
            if not recording.p > _CHAIN_FROM_W:
                continue
            source = recording.source()
            rig.measure(session.bursts(source, 1), 1, record)
            windows, _ = rig.measure(session.bursts(source, seconds), seconds)
            out.append(compare(recording, windows))
    return out


def run_recordings(*, quick: bool) -> Figures:
    """Return the worst errors over all recordings, and those of the whole chain."""
    data = shared_data()
    if data is None:
        msg = "no reference data"
        raise FileNotFoundError(msg)
    recordings = load(data / "01_waveforms")
    seconds = 10 if quick else _SECONDS
    plain = ideal(recordings, seconds)
    alone = ideal(voltage_only(data / "01_waveforms"), seconds)
    for off in sorted(plain, key=lambda off: -np.nanmax(np.abs([off.v, off.i, 100 * off.pf])))[:6]:
        progress(f"{off.name}: V {off.v:+.3f} %, I {off.i:+.3f} %, PF {off.pf:+.5f}")
    whole = through_chain(recordings, seconds)
    screens = [off for off in plain if off.name.endswith(_SCREEN)]
    return {
        # Distinct ones: pairs of channels, and voltages alone. A screen judges one a second time.
        "recordings": len(plain) - len(screens) + len(alone),
        "recordings_with_screen": len(screens),
        "recordings_with_pf": sum(not np.isnan(off.pf) for off in plain),
        **_worst("recordings", plain),
        "voltage_recordings": len(alone),
        "voltage_recordings_v_rms_worst_pct": max(abs(off.v) for off in alone),
        "chain_recordings": len(whole),
        **_worst("chain_recordings", whole),
    }


def _worst(name: str, errors: list[Off]) -> Figures:
    return {
        f"{name}_pf_worst": float(np.nanmax(np.abs([off.pf for off in errors]))),
        f"{name}_v_rms_worst_pct": float(np.nanmax(np.abs([off.v for off in errors]))),
        f"{name}_i_rms_worst_pct": float(np.nanmax(np.abs([off.i for off in errors]))),
    }

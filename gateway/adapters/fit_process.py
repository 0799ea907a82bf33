"""Has a model fitted in a process of its own (`gateway.refitting`)."""

import asyncio
import os
import sys
import tempfile
from typing import BinaryIO

import msgspec

from gateway.refitting import Answer, order_of
from gateway.services.fitting import Fitted, History
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Options


class FitFailedError(Exception):
    """The process that fitted ended without a model; the text says how."""


async def fit_in_process(
    history: History, options: Options, champion: CombinedModel | None, before_ms: int
) -> Fitted | None:
    """Return a model, warm, or None where the old one stays; FitFailedError.

    Whoever cancels it ends the process too.
    """
    with _scratch() as orders:
        orders.writelines(order_of(history, options, champion, before_ms))
        orders.seek(0)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.refitting", stdin=orders,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    try:
        said, complaint = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        last = complaint.decode(errors="replace").strip().rsplit("\n", 1)[-1][:300]
        msg = f"the process that fits ended with {child.returncode}: {last}"
        raise FitFailedError(msg)
    answer = msgspec.msgpack.decode(said, type=Answer)
    if answer.error:
        raise FitFailedError(answer.error)
    return answer.fitted()


def _scratch() -> BinaryIO:
    """Return a file for an order: in memory where the system has that, as Linux does."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("wattwarden-fit"), "w+b")
    return tempfile.TemporaryFile()

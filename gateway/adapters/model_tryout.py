"""Has a model tried in a process of its own, within a time limit."""

import asyncio
import json
import sys

from gateway.services.models.ports import Tried

LONGEST_S = 90.0
LONGEST_WHY = 300


class ChildTryout:
    """Satisfies `Tryout`."""

    def __init__(self, *, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s

    async def __call__(self, content: bytes) -> Tried:
        """Return the model's time per minute of data, or why it must not run here."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.trying", stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._longest_s):
                said, _ = await child.communicate(content)
        except TimeoutError:
            return Tried(None, f"time-out: it did not run through in {self._longest_s:.0f} s")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            return Tried(None, f"crash: the process that tried it ended with {child.returncode}")
        told = json.loads(said)
        why = str(told.get("why", ""))[:LONGEST_WHY]
        return Tried(told.get("step_us"), why)

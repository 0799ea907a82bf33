"""Runs Home Assistant core itself, in its own interpreter, and answers questions on stdin.

Started as `PYTHON home_core_program.py DIRECTORY BROKER_PORT HTTP_PORT` by
tests/support/home_core.py. Each line of stdin is a question, each line of stdout its answer
in JSON: `states`, `statistics`, `devices`, `stop`. It imports nothing of the project.
"""

import asyncio
import json
import logging
import sys
from datetime import timedelta
from typing import Any

from homeassistant import bootstrap, core, loader
from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.statistics import (
    list_statistic_ids,
    statistics_during_period,
)
from homeassistant.components.recorder.tasks import StatisticsTask
from homeassistant.helpers import device_registry
from homeassistant.util import dt

SHORT_TERM = timedelta(minutes=5)


def config(http_port: int) -> dict[str, Any]:
    """Return a configuration with what the energy dashboard rests on."""
    return {
        "homeassistant": {},
        "http": {"server_host": ["127.0.0.1"], "server_port": http_port},
        "recorder": {"commit_interval": 1},
        "sensor": {},
        "binary_sensor": {},
        "energy": {},
    }


async def started(directory: str, broker_port: int, http_port: int) -> core.HomeAssistant:
    """Return a running core with the MQTT integration set up on a broker."""
    logging.basicConfig(level=logging.WARNING)
    hass = core.HomeAssistant(directory)
    hass.config.skip_pip = True  # its requirements were installed with it
    loader.async_setup(hass)
    if await bootstrap.async_from_config_dict(config(http_port), hass) is None:
        msg = "Home Assistant did not start"
        raise SystemExit(msg)
    await hass.async_start()
    flow = await hass.config_entries.flow.async_init("mqtt", context={"source": "user"})
    broker = {"broker": "127.0.0.1", "port": broker_port}
    done = await hass.config_entries.flow.async_configure(flow["flow_id"], broker)
    if done["type"] != "create_entry":
        msg = f"the MQTT integration refused: {done}"
        raise SystemExit(msg)
    return hass


def states(hass: core.HomeAssistant) -> dict[str, object]:
    """Return every entity with its state and attributes."""
    return {
        state.entity_id: {"state": state.state, "attributes": dict(state.attributes)}
        for state in hass.states.async_all()
    }


def devices(hass: core.HomeAssistant) -> list[object]:
    """Return every device's name."""
    return [device.name for device in device_registry.async_get(hass).devices.values()]


async def statistics(hass: core.HomeAssistant) -> dict[str, object]:
    """Have the period under way compiled, and return what there is of energies."""
    recorder = get_instance(hass)
    now = dt.utcnow()
    start = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
    await recorder.async_block_till_done()
    recorder.queue_task(StatisticsTask(start, fire_events=False))
    await recorder.async_block_till_done()

    def read() -> dict[str, object]:
        known = {item["statistic_id"]: item for item in list_statistic_ids(hass)}
        rows = statistics_during_period(
            hass, start - SHORT_TERM, None, set(known), "5minute", None, {"state", "sum"}
        )
        return {
            key: {"unit": item["statistics_unit_of_measurement"], "has_sum": item["has_sum"],
                  "rows": rows.get(key, [])}
            for key, item in known.items()
        }  # fmt: skip

    found: dict[str, object] = await recorder.async_add_executor_job(read)
    return found


async def main() -> None:
    """Serve questions until `stop`."""
    hass = await started(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("ready", flush=True)  # noqa: T201 - the answer
    loop = asyncio.get_running_loop()
    while (question := (await loop.run_in_executor(None, sys.stdin.readline)).strip()) != "stop":
        answer: object
        if question == "states":
            answer = states(hass)
        elif question == "devices":
            answer = devices(hass)
        else:
            answer = await statistics(hass)
        print(json.dumps(answer, default=str), flush=True)  # noqa: T201 - the answer
    await hass.async_stop()


asyncio.run(main())

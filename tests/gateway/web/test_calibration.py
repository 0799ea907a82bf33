"""What the API tells of a calibration fits its model, nominal parts too."""

from gateway.web.calibration import CalibrationOut
from tests.gateway.services.calibrating_rig import Rig


async def test_a_measured_one_and_nominal_parts() -> None:
    rig = Rig()
    await rig.measured(1.0, 5.0)
    await rig.op("finish")
    measured = CalibrationOut.model_validate(await rig.op("show"))
    assert measured.reference is not None
    assert len(measured.points) == 2
    await rig.op("rollback")
    nominal = CalibrationOut.model_validate(await rig.op("show"))
    assert (nominal.reference, nominal.voltage_uncertainty_pct) == (None, None)
    assert (nominal.points, nominal.loads) == ([], [])

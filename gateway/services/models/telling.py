"""What people hear of models from elsewhere: alerts of kind `model_rejected`, and their end."""

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.services.models.forms import LONGEST_WHY, Pulled, Trial


def rejected(
    pulled: Pulled, why: str, now_ms: int, meter: str = "", channel: str = ""
) -> Finding:  # fmt: skip
    """Return the finding of a model that must not judge, or does no more."""
    where = f" on {meter} {channel}" if meter else ""
    detail = (
        f"{pulled.kind} {pulled.version} ({pulled.path}) was refused{where}: "
        f"{why[:LONGEST_WHY]}. What judged before goes on."
    )
    evidence: Evidence = {
        "path": pulled.path, "version": pulled.version, "sha256": pulled.sha256[:16],
        "why": why[:LONGEST_WHY],
    }  # fmt: skip
    return _finding(meter, channel, detail, evidence, now_ms)


def bundle_failed(path: str, kind: str, version: int, why: str, now_ms: int) -> Finding:
    """Return the finding of a bundle that meters did not take well."""
    detail = (
        f"{kind} {version} ({path}) was taken back from the meters that tried it: "
        f"{why[:LONGEST_WHY]}. The others never got it."
    )
    evidence: Evidence = {"path": path, "version": version, "why": why[:LONGEST_WHY]}
    return _finding("", "", detail, evidence, now_ms)


def repository_refused(why: str, detail: str, now_ms: int) -> Finding:
    """Return the finding of a repository that must not be believed."""
    text = (
        f"The repository of models must not be believed ({why}): {detail[:LONGEST_WHY]}. "
        "Nothing was taken from it; its publisher must look at it."
    )
    return _finding("", "", text, {"why": why, "detail": detail[:LONGEST_WHY]}, now_ms)


def repository_believed(now_ms: int) -> Finding:
    """Return the end of it."""
    detail = "The repository of models can be believed."
    return Finding(("", "", AlertKind.MODEL_REJECTED), active=False, at_ms=now_ms, detail=detail)


def accepted(trial: Trial, now_ms: int) -> Finding:
    """Return the end of a channel's alert: another model is on its way, or judges."""
    key = (trial.meter, trial.channel, AlertKind.MODEL_REJECTED)
    return Finding(key, active=False, at_ms=now_ms, detail="Another model is here now.")


def _finding(
    meter: str, channel: str, detail: str, evidence: Evidence, now_ms: int
) -> Finding:  # fmt: skip
    return Finding(
        (meter, channel, AlertKind.MODEL_REJECTED), active=True, at_ms=now_ms,
        title="Model refused", detail=detail, evidence=evidence,
    )  # fmt: skip

"""What certificates, the way to the cloud and the service's fences mean. Pure."""

from collections.abc import Sequence

from gateway.services.doctor_facts import CertificateFacts, Check, CloudFacts, HardeningFacts, Level

SOON_DAYS = 30.0
MOST_EXPOSURE = 2.0  # of 10, systemd-analyze(1)
RENEW = "Administrator: sudo wattwarden certificates renew."


def certificates(found: Sequence[CertificateFacts]) -> list[Check]:
    """Judge how long certificates are still good."""
    checks = []
    for one in found:
        name, figures = f"certificate {one.name}", {"days_left": one.days, "path": one.path}
        if one.problem or one.days is None:
            said = f"{one.path}: {one.problem or 'tells no end'}"
            checks.append(Check(name, Level.ERROR, said, RENEW, figures))
        elif one.days < 0:
            said = f"{one.path} expired {-one.days:.0f} days ago: browsers and meters stay away"
            checks.append(Check(name, Level.ERROR, said, RENEW, figures))
        elif one.days < SOON_DAYS:
            said = f"{one.path} expires in {one.days:.0f} days"
            checks.append(Check(name, Level.WARNING, said, RENEW, figures))
        else:
            said = f"{one.path} is good for {one.days:.0f} more days"
            checks.append(Check(name, Level.OK, said, "", figures))
    return checks


def cloud(found: CloudFacts | None) -> list[Check]:
    """Judge the way to the cloud; None = it is off, which is no fault."""
    if found is None:
        return []
    level, said, todo = _cloud(found)
    return [Check("cloud", level, f"project {found.project or '(none)'}: {said}", todo)]


def _cloud(found: CloudFacts) -> tuple[Level, str, str]:
    if not found.project:
        todo = "Administrator: set cloud.project, or cloud.enabled = false."
        return Level.ERROR, "cloud.enabled without cloud.project", todo
    if not found.account:
        todo = "Administrator: wattwarden cloud login (docs/cloud.md)."
        return Level.ERROR, "nothing to log in with", todo
    if found.kept_home:
        todo = "Administrator: sudo wattwarden install --internet adds the permission."
        return Level.ERROR, "the service may not leave the home's network", todo
    if found.reach:
        todo = "Homeowner: is the internet there? Nothing is lost; it is sent when it is back."
        return Level.WARNING, f"cannot be reached: {found.reach}", todo
    said = "can be reached" + (f"; the daemon says {found.word}" if found.word else "")
    if found.detail:
        return Level.WARNING, f"{said}: {found.detail}", "Administrator: wattwarden cloud status."
    return Level.OK, said, ""


def hardening(found: HardeningFacts | None) -> list[Check]:
    """Judge the fences of an installed service; None = it is not installed here."""
    if found is None:
        return []
    name, figures = "hardening", {"exposure": found.exposure, "files": found.looked_at}
    checks = []
    if found.upgrading:
        todo = "Administrator: sudo wattwarden upgrade … goes back first, then tries again."
        checks.append(Check("upgrade", Level.ERROR, "an upgrade was interrupted", todo))
    if found.open_files:
        said = f"others may read {', '.join(found.open_files)}"
        todo = "Administrator: chmod 600 them; wattwarden install sets the rights of its own."
        checks.append(Check(name, Level.ERROR, said, todo, figures))
    if found.exposure is not None and found.exposure > MOST_EXPOSURE:
        said = f"systemd rates the service's exposure at {found.exposure:.1f} of 10"
        todo = "Administrator: systemd-analyze security wattwarden; remove drop-ins that open it."
        checks.append(Check(name, Level.WARNING, said, todo, figures))
    if not checks:
        rated = "" if found.exposure is None else f"; exposure {found.exposure:.1f} of 10"
        said = f"{found.looked_at} secrets are for their owners alone{rated}"
        checks.append(Check(name, Level.OK, said, "", figures))
    return checks

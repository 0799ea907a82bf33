"""Sites and their members in Firestore: who may do what, where."""

import re
from functools import cache

from callable_http import project_id, refuse
from google.cloud import firestore

SITE = re.compile(r"[a-z0-9-]{1,32}")
RANK = {"viewer": 0, "operator": 1, "admin": 2}


@cache
def database() -> firestore.Client:
    """Return the project's Firestore."""
    return firestore.Client(project=project_id())


def site_path(site: str) -> str:
    """Return a site's document, or raise CallError for what is no site's name."""
    if SITE.fullmatch(site) is None:
        refuse("INVALID_ARGUMENT", "site: 1 to 32 of a-z, 0-9 and -")
    return f"sites/{site}"


def role_of(site: str, uid: str) -> str:
    """Return a person's role at a site; CallError for who is no member, whatever the site."""
    found = database().document(f"{site_path(site)}/members/{uid}").get()
    role = found.get("role") if found.exists else None
    if not isinstance(role, str) or role not in RANK:
        refuse("PERMISSION_DENIED", "you are no member of this site")
    return role

"""`join` and `leave`: a gateway gets an identity of its own, and loses it again.

The identity is the Firebase user `gateway-SITE`; its custom token carries the claims `site` and
`gateway`, by which the security rules let it write below its site and nowhere else.
"""

from callable_http import Caller, Fields, refuse, text
from firebase_admin import auth
from google.api_core.exceptions import AlreadyExists
from google.cloud import firestore
from sites import database, role_of, site_path

MOST_SITES = 20  # that one person may found


def join(caller: Caller, data: Fields) -> dict[str, object]:
    """Give `{site}`'s gateway a custom token; the caller must be its admin, or founds it."""
    site = text(data, "site", longest=32)
    if caller.site is not None:
        refuse("PERMISSION_DENIED", "a gateway cannot log in another one")
    _found(site, caller)
    if role_of(site, caller.uid) != "admin":
        refuse("PERMISSION_DENIED", "only an admin of the site may log in its gateway")
    uid = gateway_uid(site)
    _enable(uid)
    token = auth.create_custom_token(uid, {"site": site, "gateway": True})
    return {"token": token.decode(), "uid": uid, "site": site}


def leave(caller: Caller, data: Fields) -> dict[str, object]:
    """Take `{site}`'s gateway its identity: an admin may, or the gateway itself."""
    site = text(data, "site", longest=32)
    if caller.site != site and role_of(site, caller.uid) != "admin":
        refuse("PERMISSION_DENIED", "only an admin of the site may do this")
    uid = gateway_uid(site)
    try:
        auth.revoke_refresh_tokens(uid)
        auth.update_user(uid, disabled=True)
    except auth.UserNotFoundError:
        refuse("NOT_FOUND", "this site has no gateway")
    return {"uid": uid}


def gateway_uid(site: str) -> str:
    """Return the user id of a site's gateway."""
    site_path(site)  # a name that is none is refused
    return f"gateway-{site}"


def _enable(uid: str) -> None:
    try:
        auth.get_user(uid)
    except auth.UserNotFoundError:
        auth.create_user(uid=uid, display_name=uid)
    else:
        auth.update_user(uid, disabled=False)


def _found(site: str, caller: Caller) -> None:
    """Make a site that nobody has, with the caller as its first admin."""
    path = site_path(site)
    founded = (
        database()
        .collection("sites")
        .where(filter=firestore.FieldFilter("founder", "==", caller.uid))
    )
    if len(founded.limit(MOST_SITES).get()) >= MOST_SITES:
        return
    batch = database().batch()
    facts = {"founder": caller.uid, "created": firestore.SERVER_TIMESTAMP}
    batch.create(database().document(path), facts)
    member = {"role": "admin", "name": caller.email}
    batch.create(database().document(f"{path}/members/{caller.uid}"), member)
    try:
        batch.commit()
    except AlreadyExists:  # then the caller must be its admin
        return

"""What may be done with people, by name: for the web, the control socket and the command line."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.services.accounts import Accounts, texts

UserOperation = Callable[[Accounts, Mapping[str, object], str], Awaitable[dict[str, object]]]


async def users_add(accounts: Accounts, args: Mapping[str, object], who: str) -> dict[str, object]:
    """Add a person: {name, role, password} gives {name, role}."""
    name, role, password = texts(args, "name", "role", "password")
    user = await accounts.add(name, role, password, who)
    return {"name": user.name, "role": user.role.value}


async def users_passwd(
    accounts: Accounts, args: Mapping[str, object], who: str
) -> dict[str, object]:
    """Set a password: {name, password} gives {name}."""
    name, password = texts(args, "name", "password")
    await accounts.passwd(name, password, who)
    return {"name": name}


async def users_remove(
    accounts: Accounts, args: Mapping[str, object], who: str
) -> dict[str, object]:
    """Remove a person: {name} gives {name}."""
    (name,) = texts(args, "name")
    await accounts.remove(name, who)
    return {"name": name}


async def users_list(accounts: Accounts, args: Mapping[str, object], who: str) -> dict[str, object]:  # noqa: ARG001 - all operations take the caller
    """List people: {} gives {items: [{name, role, created, changed}], next: null}, times in ms."""
    texts(args)
    items = [
        {"name": u.name, "role": u.role.value, "created": u.created_ms, "changed": u.changed_ms}
        for u in await accounts.users()
    ]
    return {"items": items, "next": None}


USER_OPERATIONS: dict[str, UserOperation] = {
    "users.add": users_add,
    "users.passwd": users_passwd,
    "users.remove": users_remove,
    "users.list": users_list,
}

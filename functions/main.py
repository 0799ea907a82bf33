"""Wattwarden's functions in the cloud: `command` for people; `join`, `leave` and `push`."""

import functions_framework
import gateway_identity
import pushes
import site_commands
from callable_http import answer, ensure_app
from flask import Request, Response

ensure_app()


@functions_framework.http
def command(request: Request) -> Response:
    """Take a command for a site."""
    return answer(request, site_commands.give)


@functions_framework.http
def join(request: Request) -> Response:
    """Give a gateway its identity."""
    return answer(request, gateway_identity.join)


@functions_framework.http
def leave(request: Request) -> Response:
    """Take a gateway its identity."""
    return answer(request, gateway_identity.leave)


@functions_framework.http
def push(request: Request) -> Response:
    """Pass a gateway's push on to Firebase Cloud Messaging."""
    return pushes.forward(request)

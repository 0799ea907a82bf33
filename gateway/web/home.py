"""The parts of the API around the meters, in the order in which they are described."""

from gateway.web import cloud, imports, mutes, notifications, site, system, tariffs

HOME_PARTS = (mutes, tariffs, site, imports, system, cloud, notifications)
ROOTS = (system.root,)

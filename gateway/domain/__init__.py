"""Values and errors of the gateway: no I/O, nothing of ours imported."""

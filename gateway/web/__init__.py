"""The local web API (contract, section 5): FastAPI inside the daemon's event loop."""

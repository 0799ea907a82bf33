"""One file that holds a whole site, and its way back onto another card."""

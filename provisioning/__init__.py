"""The installer's kit: puts the firmware on a meter and makes it known to broker and gateway."""

"""What makes a meter's converter steps volts, amperes and watts: fits from reference readings."""

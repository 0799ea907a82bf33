"""Simulated homes: appliances, mains, roof, faults and the readings of a meter in them."""

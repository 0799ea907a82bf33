"""Small models: what detects, what trains, and how models are published."""

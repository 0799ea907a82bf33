"""Training, evaluation and the gate: what happens before a model is published."""

"""Detection models that run on the gateway: numbers in, numbers out."""

"""The repository of models, device bundles and firmware (TUF): publishing it, and reading it."""

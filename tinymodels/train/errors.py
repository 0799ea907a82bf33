"""What training and evaluation refuse."""

from gateway.domain.errors import BadInputError


class EvaluationError(BadInputError):
    """A series, a split or a report cannot be judged as it is; the text names what is missing."""

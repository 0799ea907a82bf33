"""A Teller for tests: remembers what was said, answers as told."""


class Notes:
    """Everything the kit said; `answer` is given to every question."""

    def __init__(self, *, answer: bool = True) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.asked: list[str] = []
        self.fractions: list[float] = []
        self._answer = answer

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def confirm(self, text: str) -> bool:
        self.asked.append(text)
        return self._answer

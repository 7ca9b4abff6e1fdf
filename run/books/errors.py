"""What may go wrong with a database, each with what a person does about it."""


class BooksError(RuntimeError):
    """The database cannot be used as it is: somebody must mend something first."""


class BooksLost(RuntimeError):
    """The database does not answer, or did not say whether it has written: ask it again later."""


class BooksElsewhere(RuntimeError):
    """The books are of another exchange, or hold events that this one has withdrawn."""

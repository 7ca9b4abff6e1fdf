"""The books in a database, SQLite or PostgreSQL: written by the clerk alone, a transaction per batch; read by anybody.

Only this folder knows a database. What stands in its tables is components/clerk's to say.
"""

from run.books.errors import BooksElsewhere, BooksError, BooksLost
from run.books.place import books_of, url_of
from run.books.store import Books, Standing

__all__ = ["Books", "BooksElsewhere", "BooksError", "BooksLost", "Standing", "books_of", "url_of"]

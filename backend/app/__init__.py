"""Vision Platform's control plane: it alone owns the database."""

__version__ = "0.1.0"

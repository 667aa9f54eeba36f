"""Vision Platform's control plane: it alone owns the database."""

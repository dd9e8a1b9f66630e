"""The root of every error whose text may be shown to a user."""


class MirageError(Exception):
    """Something a user can understand and act on. Holds no patient data."""

"""The passwords that a host's variables give to Patroni's roles."""

from __future__ import annotations

from pgdolly.domain.secret import Secret
from pgdolly.inventory.repository import Unfilled

# Patroni's roles, and the variables with their passwords; the first two are Pigsty's.
VARIABLES = {
    "superuser": "pg_dbsu_password",
    "replication": "pg_replication_password",
    "rewind": "pgdolly_rewind_password",
}


def named_password(variable: str, value: object) -> Secret | str:
    """The password, or why it cannot be used: no concern of a command that needs none."""
    if isinstance(value, Unfilled):
        return f"{variable}: {value.reason}"
    text = str(value)
    if "{{" in text or "{%" in text:
        return f"{variable} is a template, which ansible-inventory does not fill in"
    return Secret(text)

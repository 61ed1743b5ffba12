"""Run by Alembic: migrates over the connection that `migrate` brings along, inside its transaction."""

from alembic import context

from stream.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()

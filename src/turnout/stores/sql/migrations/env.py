"""What Alembic runs: the migrations, on the connection and schema that `migrate` gives."""

from alembic import context

from turnout.stores.sql.schema import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    version_table=attributes["version_table"],
    version_table_schema=attributes["schema"],
    render_as_batch=attributes["connection"].dialect.name == "sqlite",
    transactional_ddl=False,  # the caller of run_migrations commits
)
context.run_migrations()

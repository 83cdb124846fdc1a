"""The run store on PostgreSQL, through psycopg."""

"""What the CLI of the vendor and our stand-in say to the server."""

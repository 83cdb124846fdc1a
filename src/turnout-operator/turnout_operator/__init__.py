"""What those who operate a service run, and the service itself does not."""

"""The kill group of the conformance kit: what happens to runs when a process is killed."""

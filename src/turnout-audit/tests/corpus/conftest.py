"""The corpus holds tests of sample projects; none of them is a test of ours."""

collect_ignore_glob = ["*"]

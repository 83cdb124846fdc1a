"""`python -m turnout_triggerdev_double.server --port P --data DIR`."""

from turnout_triggerdev_double.server.main import main

main()

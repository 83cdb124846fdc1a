"""`python -m turnout_triggerdev.devserver --port P --data DIR`."""

from turnout_triggerdev.devserver.main import main

main()

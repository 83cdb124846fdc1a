"""`python -m turnout_triggerdev_double.standin --definition FILE`."""

from turnout_triggerdev_double.standin.main import main

main()

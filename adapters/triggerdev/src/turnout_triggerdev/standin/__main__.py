"""`python -m turnout_triggerdev.standin --definition FILE`."""

from turnout_triggerdev.standin.main import main

main()

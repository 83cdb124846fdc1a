"""The commands of a move between two providers: change routes, verify, and see what is left."""

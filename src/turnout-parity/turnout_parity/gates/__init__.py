"""Gates: whether what was compared is enough evidence to go on, task by task."""

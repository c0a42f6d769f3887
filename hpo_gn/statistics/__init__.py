"""Statistics of nested data: tasks, and seeds within them, that all methods share."""

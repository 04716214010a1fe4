"""A SavedModel to a verdict, and on to where it is served."""

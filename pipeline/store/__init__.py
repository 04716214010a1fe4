"""A store of nights: what it holds, how it is shown, and what of it may go."""

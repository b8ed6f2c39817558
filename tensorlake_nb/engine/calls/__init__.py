"""One call of a user's function: context, limits, failure, effects."""

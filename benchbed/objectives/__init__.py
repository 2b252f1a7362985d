"""One problem a file, each with its exact gradient."""

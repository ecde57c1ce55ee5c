"""Many runs at once: the points of a sweep and the scripts that start them."""

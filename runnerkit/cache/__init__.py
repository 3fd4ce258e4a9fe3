"""Understanding the build cache: what is in it, what its rules do, what the next GC would take."""

//! Go, from outside: its version, and the figures of its heap, of an unmodified program while it runs.

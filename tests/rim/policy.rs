//! Faults that no row causes, output out of proportion, deadlines, and what is restarted in place.

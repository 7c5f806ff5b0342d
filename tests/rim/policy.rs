//! Faults that no row causes, output out of proportion, deadlines, and what is restarted in place.
//!
//! | file | what |
//! |---|---|
//! | `blame` | instances that wear out, and rows that are to blame |
//! | `deadlines` | time of a processor and on the wall, output in pieces |
//! | `flow` | what is under way between operators, what an ended source holds |

mod blame;
mod deadlines;
mod flow;

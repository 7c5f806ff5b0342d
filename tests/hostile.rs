//! Hostile guests, one program for every limit and every lie: what each ends in when it is called, and that it harms neither the operator
//! beside it on the same worker nor the memory of the host.

mod calls;
mod neighbours;

//! Followed files that change under the reader, and folders with very many files.

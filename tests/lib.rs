//! Empty on purpose: the tests are in the test binary.

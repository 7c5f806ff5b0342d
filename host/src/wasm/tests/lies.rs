//! What a guest returns is checked before it is used: every breach of the contract is told as one.

use super::build::{DESCRIPTION, Wat, call, limits, process, rows, start, words};
use super::calls::ECHO;
use crate::wasm::{Fault, Limits};

/// Returns one batch, whose parameters are ten numbers: address and length of each column. Address 3000 holds `data`.
fn returns(port: u32, columns: [u32; 10], data: &[u32]) -> Wat {
    let mut guest = process("(call $answer (i32.const 2944) (i32.const 1) (i32.const 0) (i32.const 0))");
    let output: Vec<u32> = [port].into_iter().chain(columns).collect();
    guest.description = vec![(2944, words(&output)), (3000, words(data))];
    guest
}

fn lie(guest: &Wat) -> String {
    let mut instance = guest.start();
    let error = instance.process(0, &rows(2), call(1)).unwrap_err();
    assert!(instance.is_dead());
    match error.fault {
        Fault::Lie(how) => how,
        fault => panic!("not a lie: {fault:?}"),
    }
}

#[test]
fn batches_that_break_the_law_of_columns_are_refused() {
    // Two rows: times at 3000, key ends at 3016, value ends at 3024.
    let honest = [3000, 2, 3016, 2, 3000, 4, 3024, 2, 3000, 3];
    let data = [0, 0, 0, 0, 4, 4, 1, 3];
    assert_eq!(returns(0, honest, &data).start().process(0, &rows(2), call(1)).unwrap().outputs[0].1.len(), 2);
    let with = |place: usize, value: u32| {
        let mut columns = honest;
        columns[place] = value;
        lie(&returns(0, columns, &data))
    };
    assert_eq!(lie(&returns(1, honest, &data)), "output port 1 does not exist; the description has 1");
    assert_eq!(with(3, 1), "batch for output port 0: column `keys` has 1 ends for 2 rows");
    assert_eq!(with(5, 9), "batch for output port 0: column `keys`: the last end is 4, but there are 9 bytes");
    assert_eq!(
        lie(&returns(0, honest, &[0, 0, 0, 0, 4, 3, 1, 3])),
        "batch for output port 0: column `keys`: the end of row 1 is 3, below the end before it, 4"
    );
    assert!(with(1, 3).contains("keys"), "more times than ends");
}

#[test]
fn lists_that_memory_cannot_hold_are_refused_before_they_are_copied() {
    let huge = |columns| lie(&returns(0, columns, &[0; 8]));
    // 671 million times of 8 bytes: 5.4 GB.
    assert!(huge([3000, 671_000_000, 3016, 0, 0, 0, 3024, 0, 0, 0]).contains("out of bounds"));
    assert!(huge([3000, 0, 3016, 0, 3000, u32::MAX, 3024, 0, 0, 0]).contains("out of bounds"));
    assert!(huge([3001, 1, 3016, 1, 0, 0, 3024, 1, 0, 0]).contains("align"), "an address that is not aligned");
    let outputs = process("(call $answer (i32.const 64) (i32.const 500000000) (i32.const 0) (i32.const 0))");
    assert!(lie(&outputs).contains("out of bounds"));
}

#[test]
fn output_over_the_limit_is_refused_whether_handed_over_or_not() {
    // The same 2 MiB again and again: each list is inside the memory, all together are not inside the limit.
    let mut guest = process("(call $answer (i32.const 8192) (i32.const 64) (i32.const 0) (i32.const 0))");
    let output = [0, 0, 0, 0, 0, 0, 2 << 20, 0, 0, 0, 0];
    guest.description = vec![(8192, words(&output.repeat(64)))];
    guest.memory = "(memory (export \"memory\") 40)".into();
    assert_eq!(lie(&guest).split(" of ").next(), Some("output over the limit"));
    let mut instance = start(&process(ECHO).load(), &Limits { output_bytes_max: 40, ..limits() }).unwrap();
    instance.process(0, &rows(2), call(1)).unwrap();
    let error = instance.process(0, &rows(3), call(2)).unwrap_err();
    assert_eq!(error.to_string(), "`process` broke the contract: output over the limit of 40 bytes (`output-max` of the operator)");
}

#[test]
fn too_many_batches_are_refused() {
    let mut guest = process("(call $answer (i32.const 131072) (i32.const 4097) (i32.const 0) (i32.const 0))");
    guest.memory = "(memory (export \"memory\") 8)".into();
    assert_eq!(lie(&guest), "4097 batches in one piece; at most 4096 are allowed");
}

#[test]
fn rejections_of_rows_that_do_not_exist_or_twice_are_refused() {
    let rejects = |count: u32, data: &[u32]| {
        let mut guest = process(&format!("(call $answer (i32.const 0) (i32.const 0) (i32.const 3000) (i32.const {count}))"));
        guest.description = vec![(3000, words(data))];
        lie(&guest)
    };
    assert_eq!(rejects(1, &[2, 0, 0]), "row 2 is rejected, but the batch has 2 rows");
    assert_eq!(rejects(2, &[1, 0, 0, 1, 0, 0]), "row 1 is rejected twice");
    assert_eq!(rejects(3, &[0; 9]), "3 rows are rejected of 2");
    assert!(rejects(1, &[0, 3000, 65_000_000]).contains("out of bounds"));
    assert!(rejects(1, &[0xff, 3000, 1]).contains("utf-8"), "a reason that is no text");
}

#[test]
fn a_result_that_is_neither_success_nor_error_is_refused() {
    let guest = process("(i32.store (i32.const 2048) (i32.const 7)) (i32.const 2048)");
    assert!(lie(&guest).contains("discriminant"), "{}", lie(&guest));
    assert!(lie(&process("(i32.const -8)")).contains("bounds"), "a result outside the memory");
}

#[test]
fn a_description_is_checked() {
    let lie = |at: u32, bytes: &[u8]| {
        let guest = Wat { description: vec![(at, bytes.to_vec())], ..Wat::default() };
        let component = guest.load();
        let error = component.describe().unwrap_err();
        assert_eq!(start(&component, &limits()).unwrap_err(), error);
        assert_eq!((error.call, error.fault.kind()), ("describe", "lie"), "{error}");
        error.to_string()
    };
    assert!(lie(1280, b"In").contains("input `In` is not a name"));
    assert!(lie(DESCRIPTION + 20, &words(&[0])).contains("0 inputs"));
    assert!(lie(DESCRIPTION + 4, &words(&[65])).contains("the operator's name has 65 bytes"));
    assert!(lie(DESCRIPTION + 36, &words(&[1])).contains("does not export the interface `state`"));
    assert!(lie(DESCRIPTION + 36, &words(&[200_000_000])).contains("bounds"));
    assert!(lie(1160, &[99]).contains("discriminant"), "an encoding that does not exist");
}

#[test]
fn a_description_of_megabytes_is_not_taken_over() {
    let mut guest = Wat { description: vec![(DESCRIPTION + 4, words(&[200_000]))], ..Wat::default() };
    guest.description.push((DESCRIPTION + 12, words(&[200_000])));
    let error = guest.load().describe().unwrap_err();
    assert_eq!(error.to_string(), "`describe` broke the contract: output over the limit of 262144 bytes");
}

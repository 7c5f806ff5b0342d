//! What counts as foreign in a place of output, name by name.

use super::*;

#[test]
fn what_sinks_of_any_job_write_is_not_foreign_and_all_else_is() {
    let ours = [
        "counts-000000000009-0.csv",
        "other-job-7-000000000009-255.txt",
        "counts-1234567890123-0.json",
        "counts-000000000009-3-0.json",
        "counts-000000000009-2-0-17.json",
        ".reprise/counts/owner",
        ".reprise/counts/owner.new-4711",
        ".reprise/counts/lives/000012-07070707070707070707070707070707-3-00000000000000ab",
        ".reprise/counts/staged/000000000041-2-3.csv",
        ".reprise/counts/staged/000000000041-2-3-0.csv",
        ".reprise/counts/published/0",
        ".reprise/counts/published/12-000000000009",
        ".reprise/counts/taken-back/counts-000000000009-0.csv",
        ".reprise/counts/taken-back/counts-000000000009-0-0.csv.2",
        // Nobody's business.
        ".DS_Store",
        ".git/config",
        ".reprise/.nfs0001",
        ".reprise/counts/staged/.swp",
        "counts-000000000009-0-0.csv#1",
    ];
    let foreign = [
        "README",
        "counts.csv",
        "counts-9-0.csv",
        "counts-000000000009.csv",
        "counts-000000000009-00.csv",
        "counts-000000000009-+1.csv",
        "counts-000000000009-0.parquet",
        "counts-000000000009-0.csv.gz",
        "counts-000000000009-1-2-3-4.csv",
        "Counts-000000000009-0.csv",
        "-000000000009-0.csv",
        "000000000009-0.csv",
        "counts-99999999999999999999-0.csv",
        ".reprise/README",
        ".reprise/counts/note",
        ".reprise/counts/owner.new-x",
        ".reprise/counts/lives/000012-07",
        ".reprise/counts/staged/counts-000000000041-0.csv",
        ".reprise/counts/published/0-9",
        ".reprise/counts/taken-back/readme.2",
        "#1#",
    ];
    for path in ours {
        assert_eq!(foreign_part(path), None, "{path}");
    }
    for path in foreign {
        assert_eq!(foreign_part(path).as_deref(), Some(path));
    }
}

#[test]
fn folders_are_of_a_sink_where_sinks_make_them_and_links_are_never() {
    for folder in [".reprise", ".reprise/other", ".reprise/counts/staged", ".git"] {
        assert!(is_of_a_sink(folder, EntryKind::Folder), "{folder}");
    }
    for folder in ["lost+found", "counts-000000000009-0.csv", ".reprise/Two words", ".reprise/counts/olds", ".reprise/counts/staged/a"] {
        assert!(!is_of_a_sink(folder, EntryKind::Folder), "{folder}");
        assert_eq!(foreign_part(&format!("{folder}/deep/in/it")), Some(format!("{folder}/")), "an object that lies in it");
    }
    for link in ["counts-000000000009-0.csv", "README", ".reprise/counts"] {
        assert!(!is_of_a_sink(link, EntryKind::Other), "{link}");
    }
    assert_eq!(place_within("daily/.reprise/counts/owner"), Some("daily/".to_owned()));
    assert_eq!([place_within("daily/.reprise"), place_within(".reprise/counts/owner"), place_within("a")], [None, None, None]);
}

#[test]
fn a_folder_is_looked_at_up_to_a_limit_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let names = |count: usize| (0..count).for_each(|at| fs::write(folder.path().join(format!("{at:06}.tmp")), "").unwrap());
    names(LOOKED_AT_MAX);
    let whole = look_through(folder.path(), "counts").unwrap();
    assert_eq!((whole.count, whole.is_part), (LOOKED_AT_MAX as u64, false));
    assert_eq!(whole.named, ["000000.tmp", "000001.tmp", "000002.tmp"]);
    names(LOOKED_AT_MAX + 1);
    let part = look_through(folder.path(), "counts").unwrap();
    assert_eq!((part.count, part.named.len(), part.is_part), (LOOKED_AT_MAX as u64, NAMED_MAX, true));
}

#[test]
fn a_place_that_is_missing_has_nothing_foreign_and_one_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look_through(&folder.path().join("out"), "counts").unwrap(), Foreign::default());
    fs::write(folder.path().join("out"), "a file").unwrap();
    look_through(&folder.path().join("out"), "counts").unwrap_err();
}

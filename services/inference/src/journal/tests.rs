use super::*;

fn record(id: &str) -> UsageRecord {
    UsageRecord {
        usage_id: id.into(),
        attempt: 1,
        outcome: Outcome::Finished.into(),
        ..UsageRecord::default()
    }
}

fn shipped_ids(journal: &Journal) -> Vec<(String, i32)> {
    let (records, _) = journal.read(journal.shipped().unwrap(), 1_000).unwrap();
    records.into_iter().map(|record| (record.usage_id, record.outcome)).collect()
}

#[test]
fn what_was_begun_and_not_ended_is_crashed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = Journal::open(folder.path()).unwrap();
        journal.begin(&record("a")).unwrap();
        journal.begin(&record("b")).unwrap();
        journal.end(&record("a")).unwrap();
        assert_eq!(journal.open_requests(), 1);
    }
    for _ in 0..2 {
        let journal = Journal::open(folder.path()).unwrap();
        let wanted = [("a".to_owned(), Outcome::Finished as i32), ("b".to_owned(), Outcome::Crashed as i32)];
        assert_eq!(shipped_ids(&journal), wanted);
        assert_eq!(journal.open_requests(), 0);
    }
}

#[test]
fn a_half_written_record_is_cut_off_wherever_it_was_torn() {
    let whole = {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.end(&record("a")).unwrap();
        let first = fs::read(path(folder.path(), 1)).unwrap().len();
        journal.end(&record("b")).unwrap();
        (fs::read(path(folder.path(), 1)).unwrap(), first)
    };
    let (bytes, first) = whole;
    for cut in first..bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path(), 1), &bytes[..cut]).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.end(&record("c")).unwrap();
        let ids: Vec<String> = shipped_ids(&journal).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["a", "c"], "torn at {cut}");
    }
    let mut flipped = bytes;
    flipped[first + 10] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    fs::write(path(folder.path(), 1), &flipped).unwrap();
    assert_eq!(shipped_ids(&Journal::open(folder.path()).unwrap()).len(), 1);
}

#[test]
fn shipping_goes_on_where_it_stopped_and_deletes_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    journal.begin(&record("open")).unwrap();
    let count = 200_000;
    for number in 0..count {
        journal.end(&UsageRecord { engine: "x".repeat(150), ..record(&number.to_string()) }).unwrap();
    }
    assert!(segments(folder.path()).unwrap().len() > 1);
    let mut seen = 0;
    loop {
        let (records, next) = journal.read(journal.shipped().unwrap(), 7_777).unwrap();
        if records.is_empty() {
            break;
        }
        for record in records {
            assert_eq!(record.usage_id, seen.to_string());
            seen += 1;
        }
        journal.set_shipped(next).unwrap();
    }
    assert_eq!(seen, count);
    assert_eq!(segments(folder.path()).unwrap()[0], 1, "a segment with an open request is kept");
    journal.end(&record("open")).unwrap();
    journal.set_shipped(journal.read(journal.shipped().unwrap(), 10).unwrap().1).unwrap();
    assert_eq!(segments(folder.path()).unwrap().len(), 1);
}

#[test]
fn two_gateways_cannot_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Journal::open(folder.path()).unwrap();
    assert_eq!(Journal::open(folder.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

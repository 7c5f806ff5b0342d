//! What a client may rely on, asked without a network.

use super::*;
use hyper::HeaderMap;

/// Requests that race for one object.
const RACERS: usize = 40;

#[derive(Clone)]
struct Fixture {
    service: Service,
    folder: Arc<tempfile::TempDir>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The texts between `<tag>` and `</tag>`.
    fn all(&self, tag: &str) -> Vec<String> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        self.text().split(&open).skip(1).filter_map(|rest| rest.split(&close).next().map(str::to_owned)).collect()
    }
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir(folder.path().join("bucket")).expect("a bucket is a folder");
        Self { service: Service::new(folder.path(), None).expect("the folder is there"), folder: Arc::new(folder) }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://localhost/bucket{path}")).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Vec<u8> = body.into();
        let request = request.header("content-length", body.len()).body(Body::from(body)).expect("it is a request");
        let answer = self.service.clone().answer(request).await.expect("there is an answer");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("the answer has an end").to_bytes().to_vec();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn create(&self, path: &str, body: impl Into<Vec<u8>>) -> u16 {
        self.ask("PUT", path, &[("if-none-match", "*")], body).await.status
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", path, &[], "").await;
        (answer.status == 200).then_some(answer.body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_conditional_creates_one_succeeds_and_its_bytes_stay() {
    let fixture = Fixture::new();
    for round in 0..20 {
        let path = format!("/race/{round}");
        let bytes = |racer: usize| vec![u8::try_from(racer).expect("there are few"); 100_000];
        let start = |racer: usize| {
            let (fixture, path, body) = (fixture.clone(), path.clone(), bytes(racer));
            tokio::spawn(async move { fixture.create(&path, body).await })
        };
        let mut statuses = Vec::new();
        for racer in (0..RACERS).map(start).collect::<Vec<_>>() {
            statuses.push(racer.await.expect("no request panics"));
        }
        let winners: Vec<usize> = (0..RACERS).filter(|racer| statuses[*racer] == 200).collect();
        assert_eq!(winners.len(), 1, "round {round}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 412].contains(status)), "{statuses:?}");
        assert_eq!(fixture.read(&path).await, Some(bytes(winners[0])));
        assert_eq!(fixture.create(&path, "late").await, 412);
        assert_eq!(fixture.read(&path).await, Some(bytes(winners[0])));
    }
}

#[tokio::test]
async fn objects_can_be_read_measured_overwritten_without_a_condition_and_deleted() {
    let fixture = Fixture::new();
    assert_eq!(fixture.read("/a/b").await, None);
    assert_eq!(fixture.ask("HEAD", "/a/b", &[], "").await.status, 404);
    assert_eq!(fixture.create("/a/b", "first").await, 200);
    assert_eq!(fixture.ask("HEAD", "/a/b", &[], "").await.headers["content-length"], "5");
    assert_eq!(fixture.ask("GET", "/a/b", &[("range", "bytes=1-2")], "").await.body, b"ir");
    assert_eq!(fixture.ask("PUT", "/a/b", &[], "second").await.status, 200);
    assert_eq!(fixture.read("/a/b").await.as_deref(), Some(&b"second"[..]));
    assert_eq!(fixture.ask("DELETE", "/a/b", &[], "").await.status, 204);
    assert_eq!(fixture.ask("DELETE", "/a/b", &[], "").await.status, 204, "what is not there can be deleted");
    assert_eq!(fixture.read("/a/b").await, None);
    assert_eq!(fixture.create("/a/b", "third").await, 200, "a deleted path is free");
}

#[tokio::test]
async fn lists_come_in_pages_in_order_and_below_a_prefix() {
    let fixture = Fixture::new();
    for name in ["b/2", "b/1", "a", "b-1", "c/d/e"] {
        assert_eq!(fixture.create(&format!("/{name}"), "x").await, 200);
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = fixture.ask("GET", &format!("?list-type=2&max-keys=2{token}"), &[], "").await;
        assert_eq!(page.status, 200, "{}", page.text());
        found.extend(page.all("Key"));
        let Some(next) = page.all("NextContinuationToken").pop() else { break };
        token = format!("&continuation-token={next}");
    }
    assert_eq!(found, ["a", "b-1", "b/1", "b/2", "c/d/e"]);
    let below = fixture.ask("GET", "?list-type=2&prefix=b/", &[], "").await;
    assert_eq!(below.all("Key"), ["b/1", "b/2"]);
    let after = fixture.ask("GET", "?list-type=2&start-after=b/1", &[], "").await;
    assert_eq!(after.all("Key"), ["b/2", "c/d/e"]);
}

#[tokio::test]
async fn an_upload_in_parts_appears_when_it_is_completed() {
    let fixture = Fixture::new();
    let begun = fixture.ask("POST", "/large?uploads", &[], "").await;
    let upload = begun.all("UploadId").pop().expect("an upload has an id");
    let parts = [vec![1; 5 << 20], vec![2; 100]];
    let mut list = String::new();
    for (number, part) in (1..).zip(&parts) {
        let put = fixture.ask("PUT", &format!("/large?partNumber={number}&uploadId={upload}"), &[], part.clone()).await;
        let e_tag = put.headers["etag"].to_str().expect("it is text");
        list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{e_tag}</ETag></Part>"));
    }
    assert_eq!(fixture.read("/large").await, None);
    assert_eq!(fixture.ask("GET", "?list-type=2", &[], "").await.all("Key"), [""; 0]);
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let completed = fixture.ask("POST", &format!("/large?uploadId={upload}"), &[], body).await;
    assert_eq!(completed.status, 200, "{}", completed.text());
    assert_eq!(fixture.read("/large").await, Some(parts.concat()));

    let given_up = fixture.ask("POST", "/other?uploads", &[], "").await.all("UploadId").pop().expect("an upload has an id");
    assert_eq!(fixture.ask("PUT", &format!("/other?partNumber=1&uploadId={given_up}"), &[], "part").await.status, 200);
    assert_eq!(fixture.ask("DELETE", &format!("/other?uploadId={given_up}"), &[], "").await.status, 204);
    assert_eq!(fixture.read("/other").await, None);
}

#[tokio::test]
async fn a_copy_has_the_bytes_of_its_source() {
    let fixture = Fixture::new();
    let bytes = vec![7; 3_000_000];
    assert_eq!(fixture.create("/source", bytes.clone()).await, 200);
    let copied = fixture.ask("PUT", "/target/copy", &[("x-amz-copy-source", "bucket/source")], "").await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    assert_eq!(fixture.read("/target/copy").await, Some(bytes));
    let absent = fixture.ask("PUT", "/target/none", &[("x-amz-copy-source", "bucket/nothing")], "").await;
    assert_eq!(absent.status, 404, "{}", absent.text());
    assert_eq!(fixture.read("/target/none").await, None);
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_no_lock_half_way() {
    let fixture = Fixture::new();
    for round in 0..50 {
        let path = format!("/cut/{round}");
        // Dropped at its first wait, which is inside of the request.
        let gone = tokio::time::timeout(std::time::Duration::ZERO, fixture.create(&path, vec![1; 200_000])).await;
        let late = fixture.create(&path, vec![2; 200_000]).await;
        let expected = if late == 200 { 2 } else { 1 };
        assert!(gone.is_err() || late == 412, "round {round}: both were told that they created it");
        assert_eq!(fixture.read(&path).await, Some(vec![expected; 200_000]), "round {round}");
    }
    assert!(fixture.folder.path().join("bucket/cut/0").is_file());
}

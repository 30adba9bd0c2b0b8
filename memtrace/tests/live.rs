//! What live views are told: above all, which answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use memtrace::timeline::{Account, End, Level, Live, Missing, Own, Verdict, read};

const SECOND: u64 = 1_000_000_000;

/// The README's case while it goes on, with an answer that knew LazyFree, and one that did not.
struct Told {
    live: Live,
    account: Account,
    sure: Verdict,
    unsure: Verdict,
}

impl Told {
    fn new() -> Self {
        let bytes = include_bytes!("../../docs/captures/go1.15-service.json");
        let capture = read(bytes.as_slice()).unwrap();
        let mut account = capture.epoch.into_account();
        account.capture.end = End::Interrupted;
        let sure = account.verdict.clone().unwrap();
        assert!(sure.confidence.level > Level::Low);
        assert!(sure.missing.iter().all(|item| item.what != "LazyFree"));
        let mut unsure = sure.clone();
        unsure.title = "Much was freed".to_owned();
        unsure.confidence.level = Level::Low;
        unsure.missing = vec![Missing {
            what: "LazyFree".to_owned(),
            why: "it was not read at the last tick".to_owned(),
        }];
        Self {
            live: Live::new(capture.host, SECOND, account.clone()),
            account,
            sure,
            unsure,
        }
    }

    /// What is shown where this is the account's answer, so many seconds after the start.
    fn shown(&mut self, second: u64, verdict: &Verdict) -> Verdict {
        let bytes = include_bytes!("../../docs/captures/go1.15-service.json");
        let capture = read(bytes.as_slice()).unwrap();
        let mut tick = capture.epoch.timeline.first().unwrap().clone();
        tick.t_ns = second * SECOND;
        self.live.tick(&tick);
        let account = Account {
            verdict: Some(verdict.clone()),
            ..self.account.clone()
        };
        self.live.know(account, Own::default());
        // What a capture file gets is never a held one.
        assert_eq!(self.live.account.verdict.as_ref(), Some(verdict));
        self.live.answer.as_deref().unwrap().clone()
    }
}

#[test]
fn a_surer_answer_stands_until_lazyfree_is_read_again() {
    let mut told = Told::new();
    let (sure, unsure) = (told.sure.clone(), told.unsure.clone());
    assert_eq!(told.shown(1, &sure), sure);
    let held = told.shown(5, &unsure);
    assert_eq!(held.title, sure.title);
    assert_eq!(held.confidence.level, Level::Medium);
    let why = held.confidence.because.last().unwrap();
    assert!(why.starts_with("this is the answer of 4 s ago"), "{why}");
    // Once it is read, the new answer is shown, whatever it says.
    let mut other = sure.clone();
    other.title = "Another one".to_owned();
    assert_eq!(told.shown(6, &other), other);
    assert_eq!(told.shown(7, &unsure).title, other.title);
}

#[test]
fn after_half_a_minute_it_stands_no_more() {
    let mut told = Told::new();
    let (sure, unsure) = (told.sure.clone(), told.unsure.clone());
    told.shown(1, &sure);
    assert_eq!(told.shown(31, &unsure).title, sure.title);
    assert_eq!(told.shown(32, &unsure), unsure);
}

#[test]
fn an_answer_that_is_as_sure_is_shown_at_once() {
    let mut told = Told::new();
    let (sure, mut unsure) = (told.sure.clone(), told.unsure.clone());
    told.shown(1, &sure);
    unsure.confidence.level = sure.confidence.level;
    assert_eq!(told.shown(2, &unsure), unsure);
}

#[test]
fn nothing_is_held_where_lazyfree_was_never_known() {
    let mut told = Told::new();
    let unsure = told.unsure.clone();
    assert_eq!(told.shown(1, &unsure), unsure);
}

#[test]
fn the_last_answer_and_the_next_programs_are_their_own() {
    let mut told = Told::new();
    let (sure, unsure) = (told.sure.clone(), told.unsure.clone());
    told.shown(1, &sure);
    told.account.capture.end = End::Signal;
    assert_eq!(told.shown(2, &unsure), unsure);
    told.account.capture.end = End::Interrupted;
    told.live.exec(3 * SECOND, told.account.clone());
    assert_eq!(told.shown(4, &unsure), unsure);
}

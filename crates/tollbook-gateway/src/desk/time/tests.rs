use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tollbook_engine::Body;
use tollbook_log::{Log, Options, Reader};

use super::super::{Desk, Manner};

#[test]
fn a_clock_that_goes_back_is_recorded_once_and_time_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let wall = Arc::new(AtomicI64::new(10_000_000));
    let clock = Arc::clone(&wall);
    let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
    let manner = Manner::usual();
    let mut desk = Desk::open(log, manner, Box::new(move || clock.load(Ordering::Relaxed))).unwrap();
    let mut now_at = |wall_us| {
        wall.store(wall_us, Ordering::Relaxed);
        desk.now_us()
    };
    // Half a second is a correction; three are a jump, of which each call needn't tell.
    let told = [9_500_000, 7_000_000, 6_000_000, 10_000_000, 11_000_000, 9_000_000].map(&mut now_at);
    assert_eq!(told, [10_000_000, 10_000_000, 10_000_000, 10_000_000, 11_000_000, 11_000_000]);
    desk.close().unwrap();
    let reader = Reader::open(&[dir.path()]).unwrap();
    let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap()).map(Result::unwrap);
    let back: Vec<_> = events
        .filter_map(
            |event| if let Body::ClockBack(back) = event.body { Some((event.ts_us, back.behind_us)) } else { None },
        )
        .collect();
    assert_eq!(back, [(Some(10_000_000), 3_000_000), (Some(11_000_000), 2_000_000)]);
}

use std::time::Duration;

use super::*;

#[tokio::test]
async fn lines_wait_up_to_so_many_bytes_and_no_more() {
    let (sender, mut receiver) = queue();
    let half = vec![b'x'; BYTES_MAX / 2];
    assert!(sender.try_send(half.clone()).is_ok() && sender.try_send(half.clone()).is_ok());
    assert_eq!(sender.try_send(vec![b'y']), Err(vec![b'y']), "it is given back");
    let waits = sender.send(vec![b'z']);
    tokio::pin!(waits);
    assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err(), "there is no room yet");
    assert_eq!(receiver.recv().await.unwrap().len(), half.len());
    assert!(waits.await, "now there is");
}

#[tokio::test]
async fn a_line_longer_than_all_the_room_waits_alone() {
    let (sender, mut receiver) = queue();
    let long = vec![b'x'; BYTES_MAX + 1];
    assert!(sender.send(long.clone()).await);
    assert!(sender.try_send(vec![b'y']).is_err());
    assert_eq!(receiver.recv().await, Some(long));
    assert!(sender.try_send(vec![b'y']).is_ok());
}

#[tokio::test]
async fn so_many_lines_wait_and_whoever_hangs_up_frees_who_waits() {
    let (sender, receiver) = queue();
    (0..LINES_MAX).for_each(|_| sender.try_send(Vec::new()).unwrap());
    assert!(sender.try_send(Vec::new()).is_err());
    let waits = sender.send(vec![b'z']);
    drop(receiver);
    assert!(!waits.await);
    assert!(sender.is_closed());
}

use hyper::http::HeaderValue;

use super::*;

#[track_caller]
fn check(host: Option<&str>, origin: Option<&str>, expect: Option<&str>) {
    let mut headers = HeaderMap::new();
    host.map(|host| headers.append(HOST, HeaderValue::from_str(host).unwrap()));
    origin.map(|origin| headers.append(ORIGIN, HeaderValue::from_str(origin).unwrap()));
    let told = Hosts(vec!["tolls.example".to_owned()]).refuses(&headers);
    assert_eq!(told.map(|(code, _)| code), expect, "{host:?} {origin:?}");
}

#[test]
fn its_own_names_pass() {
    check(Some("127.0.0.1:4100"), None, None);
    check(Some("localhost"), Some("http://localhost:9"), None);
    check(Some("[::1]:80"), None, None);
    check(Some("Tolls.Example:443"), Some("https://tolls.example"), None);
}

#[test]
fn foreign_ones_do_not() {
    check(None, None, Some("host_not_allowed"));
    check(Some("evil.example"), None, Some("host_not_allowed"));
    check(Some("localhost.evil.example"), None, Some("host_not_allowed"));
    check(Some("localhost:80@evil.example"), None, Some("host_not_allowed"));
    check(Some("localhost"), Some("http://evil.example"), Some("origin_not_allowed"));
    check(Some("localhost"), Some("null"), Some("origin_not_allowed"));
    check(Some("localhost"), Some("file://localhost"), Some("origin_not_allowed"));
}

#[test]
fn a_header_that_stands_twice_says_nothing() {
    let mut headers = HeaderMap::new();
    headers.append(HOST, HeaderValue::from_static("localhost"));
    headers.append(HOST, HeaderValue::from_static("evil.example"));
    assert_eq!(Hosts::default().refuses(&headers).unwrap().0, "host_not_allowed");
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
    assert_eq!(bearer(&headers), Some("a"));
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
    assert_eq!(bearer(&headers), None);
}

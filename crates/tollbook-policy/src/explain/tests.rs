use super::*;
use crate::{Catalog, Target, read};

/// The fenced block of a page, with its language.
pub fn example(page: &str) -> Option<(&str, &str)> {
    let (_, rest) = page.split_once("```")?;
    let (language, rest) = rest.split_once('\n')?;
    Some((language, rest.split_once("```")?.0))
}

#[test]
fn every_code_has_its_page_with_an_example_that_gives_it() {
    for code in Code::ALL {
        let page = code.page();
        assert!(
            page.split_once("\n\n").is_some_and(|(meaning, way_out)| meaning.len() > 20 && way_out.len() > 10),
            "{code}"
        );
        assert!(!page.contains("\n## "), "{code}");
        let Some((language, text)) = example(page) else {
            assert!(["P0105", "P0106", "P0214", "P0215"].contains(&code.as_str()), "{code} has no example");
            continue;
        };
        if *code == Code::TestFailed {
            continue; // what runs tests shows it
        }
        let given = given(*code, language, text);
        assert!(given.contains(code), "{code}: {given:?}");
        assert!(given.iter().all(|other| other == code), "{code}: {given:?}");
    }
}

fn given(code: Code, language: &str, text: &str) -> Vec<Code> {
    let target = if code.as_str().starts_with("P03") { Target::PolicyLayer } else { Target::Native };
    match read(&format!("p.{language}"), text, target) {
        Err(told) => told.iter().map(|one| one.code).collect(),
        Ok(read) => {
            let catalog = Catalog::read(include_str!("../../../../fixtures/policy/catalog/tools.json")).unwrap();
            let is_lint = code.as_str().starts_with("L02");
            let is_about_tools = [Code::UnknownTool, Code::UnknownArgument, Code::WrongArgumentType].contains(&code);
            let contradicted = if is_about_tools { catalog.check(text, &read.policy, &read.rules) } else { Vec::new() };
            let old = "default deny tool create_note { limit 3 per rolling day }";
            let old = crate::read("old.toll", old, target).unwrap().policy;
            let against = Some(&old).filter(|_| code == Code::CounterRenamed);
            let known = crate::Known { catalog: None, against };
            let linted = if is_lint { crate::lint(&format!("p.{language}"), text, &read, known) } else { Vec::new() };
            read.warnings.iter().chain(&contradicted).chain(&linted).map(|one| one.code).collect()
        }
    }
}

#[test]
fn a_code_is_found_in_any_case_and_has_only_its_own_page() {
    assert_eq!(Code::parse("p0204"), Some(Code::UnknownUnit));
    assert_eq!(Code::parse("P9999"), None);
    let headings: Vec<&str> =
        PAGES.iter().flat_map(|pages| pages.lines()).filter(|line| line.starts_with("## ")).collect();
    let codes: Vec<String> = Code::ALL.iter().map(|code| format!("## {code}")).collect();
    assert_eq!(headings, codes, "the pages are in the order of the codes");
}

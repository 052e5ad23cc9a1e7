//! What a tool does, judged by what is known of it: one of five categories, the most severe that
//! applies.
//!
//! The verb in the tool's name decides; its description is asked where the name has none. Whatever
//! moves money is financial, and a tool that destroys says so in its name, its first sentence or its
//! annotations. The server's own word can make a verdict more severe; it makes one milder only where
//! nothing else is known. Each verdict comes with its evidence.

use crate::catalog::Tool;

/// What a tool does, least severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// It looks and changes nothing.
    Read,
    /// It changes what can be changed back.
    Write,
    /// It sets something going: a call, a message, a program.
    Execute,
    /// It takes away what can't be brought back.
    Destructive,
    /// It moves money, or commits somebody to pay.
    Financial,
}

/// How bad it can get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the four grades of risk")]
pub enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

/// A verdict on a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What it does.
    pub category: Category,
    /// What speaks for it, in words.
    pub evidence: Vec<String>,
}

impl Category {
    /// What a tool's name alone says, where no catalog is at hand.
    #[must_use]
    pub fn by_name(tool: &str) -> Self {
        Tool::named(tool).class().category
    }

    /// The category's name, as in `category write`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Destructive => "destructive",
            Self::Financial => "financial",
        }
    }

    /// How bad a call can get.
    #[must_use]
    pub fn risk(self) -> Risk {
        match self {
            Self::Read => Risk::Low,
            Self::Write => Risk::Medium,
            Self::Execute => Risk::High,
            Self::Destructive | Self::Financial => Risk::Critical,
        }
    }
}

impl Risk {
    /// The grade's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

const READ: &[&str] = &[
    "analyze",
    "browse",
    "check",
    "count",
    "describe",
    "diff",
    "download",
    "explain",
    "export",
    "fetch",
    "find",
    "get",
    "head",
    "inspect",
    "list",
    "lookup",
    "open",
    "peek",
    "ping",
    "poll",
    "preview",
    "query",
    "read",
    "retrieve",
    "return",
    "scan",
    "search",
    "select",
    "show",
    "stat",
    "status",
    "summarize",
    "tail",
    "validate",
    "verify",
    "view",
    "watch",
];

const WRITE: &[&str] = &[
    "add",
    "append",
    "apply",
    "archive",
    "assign",
    "attach",
    "change",
    "clone",
    "commit",
    "copy",
    "create",
    "disable",
    "duplicate",
    "edit",
    "embed",
    "enable",
    "fork",
    "generate",
    "import",
    "insert",
    "label",
    "link",
    "lock",
    "make",
    "mark",
    "merge",
    "modify",
    "move",
    "new",
    "patch",
    "pin",
    "put",
    "record",
    "register",
    "rename",
    "reply",
    "restore",
    "save",
    "schedule",
    "set",
    "store",
    "tag",
    "toggle",
    "unarchive",
    "unlink",
    "unlock",
    "update",
    "upload",
    "upsert",
    "void",
    "write",
];

const EXECUTE: &[&str] = &[
    "call", "click", "compile", "connect", "deploy", "dial", "email", "eval", "evaluate", "exec", "execute", "hangup",
    "invoke", "launch", "navigate", "notify", "play", "playback", "post", "press", "publish", "push", "reboot",
    "restart", "resume", "run", "send", "shell", "speak", "spawn", "start", "stop", "submit", "text", "transfer",
    "trigger", "type",
];

const DESTRUCTIVE: &[&str] = &[
    "clear",
    "delete",
    "destroy",
    "drop",
    "erase",
    "expunge",
    "kill",
    "overwrite",
    "purge",
    "remove",
    "reset",
    "revoke",
    "rm",
    "shred",
    "terminate",
    "truncate",
    "uninstall",
    "wipe",
];

const PAY: &[&str] = &["bill", "buy", "charge", "donate", "pay", "purchase", "refund", "reimburse", "withdraw"];

/// What a verb that changes something makes financial.
const MONEY: &[&str] = &[
    "charge",
    "charges",
    "deposit",
    "fund",
    "funds",
    "invoice",
    "invoices",
    "money",
    "order",
    "orders",
    "payment",
    "payments",
    "payout",
    "payouts",
    "purchase",
    "refund",
    "refunds",
    "subscription",
    "subscriptions",
    "withdrawal",
];

/// Arguments that are programs.
const PROGRAM_ARGUMENTS: &[&str] = &["bash", "cmd", "code", "command", "script", "shell", "sql"];

impl Tool {
    /// A tool of which nothing is known but its name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// What the tool does.
    #[must_use]
    pub fn class(&self) -> Class {
        let mut evidence = Vec::new();
        let words = words(&self.name);
        let first = words.iter().find_map(|word| verb(word).map(|category| (word.as_str(), category)));
        let mut category = match first {
            Some((word, category)) => {
                evidence.push(format!("the name says `{word}`"));
                Some(category)
            }
            None => self.first_word().map(|(word, category)| {
                evidence.push(format!("the description begins with `{word}`"));
                category
            }),
        };
        let mut raise = |to: Category, why: String, category: &mut Option<Category>| {
            if category.is_none_or(|now| now < to) {
                *category = Some(to);
                evidence.push(why);
            }
        };
        // `get_or_create_customer`
        let joined = words.windows(2).filter(|pair| matches!(pair, [joint, _] if joint == "or" || joint == "and"));
        for word in joined.filter_map(<[String]>::last) {
            if let Some(also) = verb(word) {
                raise(also, format!("the name says `{word}` as well"), &mut category);
            }
        }
        if matches!(words.as_slice(), [.., verb, noun] if verb == "make" && noun == "call") {
            raise(Category::Execute, "a call is made".to_owned(), &mut category);
        }
        if category.is_none() && self.read_only == Some(true) {
            raise(Category::Read, "the server says that it only reads".to_owned(), &mut category);
        }
        if self.read_only == Some(false) {
            raise(Category::Write, "the server says that it changes something".to_owned(), &mut category);
        }
        if category != Some(Category::Read) {
            self.raise_what_changes(&words, &mut category, &mut raise);
        }
        if category.is_none() {
            evidence.push("nothing tells what it does, so it is taken to change something".to_owned());
        }
        Class { category: category.unwrap_or(Category::Write), evidence }
    }

    fn raise_what_changes(
        &self,
        words: &[String],
        category: &mut Option<Category>,
        raise: &mut impl FnMut(Category, String, &mut Option<Category>),
    ) {
        let has = |name: &str| self.arguments.by_name.contains_key(name);
        if let Some(name) = PROGRAM_ARGUMENTS.iter().find(|name| has(name)) {
            raise(Category::Execute, format!("it takes the argument `{name}`"), category);
        }
        let sentence = self.first_sentence();
        if let Some(word) = sentence.iter().find(|word| DESTRUCTIVE.contains(&base(word))) {
            raise(Category::Destructive, format!("the description says `{word}`"), category);
        }
        if self.destructive == Some(true) && self.read_only != Some(true) {
            raise(Category::Destructive, "the server says that it may destroy something".to_owned(), category);
        }
        if *category == Some(Category::Destructive) {
            return;
        }
        if let Some(word) = words.iter().find(|word| MONEY.contains(&word.as_str())) {
            raise(Category::Financial, format!("the name says `{word}`"), category);
        }
        if has("amount") && has("currency") {
            raise(Category::Financial, "it takes an amount and a currency".to_owned(), category);
        }
    }

    fn first_sentence(&self) -> Vec<String> {
        let text = self.description.trim();
        let end = text.find(". ").or_else(|| text.find('\n')).unwrap_or(text.len()).min(400);
        words(text.get(..end).unwrap_or(text))
    }

    fn first_word(&self) -> Option<(String, Category)> {
        let word = self.first_sentence().into_iter().next()?;
        let category = verb(&word).or_else(|| verb(base(&word)))?;
        Some((word, category))
    }
}

/// A verb without the ending of its third person.
fn base(word: &str) -> &str {
    word.strip_suffix('s').filter(|base| base.len() > 2).unwrap_or(word)
}

fn verb(word: &str) -> Option<Category> {
    let lists = [
        (PAY, Category::Financial),
        (DESTRUCTIVE, Category::Destructive),
        (EXECUTE, Category::Execute),
        (WRITE, Category::Write),
        (READ, Category::Read),
    ];
    lists.into_iter().find(|(list, _)| list.contains(&word)).map(|(_, category)| category)
}

/// The words of a name or a sentence, in lower case: `getUser_by-id` has four.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in text.chars() {
        let starts = c.is_uppercase() && after_lower;
        if starts || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests;

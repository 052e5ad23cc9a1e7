//! `tollbook sql`: a shell for SQL about logs.
//!
//! At a terminal it edits lines, completes names and keeps a history; from a pipe it runs statement after
//! statement. Both cut the text with the same [`Script`], and both go on after a statement that failed. Each
//! statement sees the log as it stands when the statement begins, so a shell that stays open sees the calls
//! that a gateway goes on writing. Ctrl-C at a terminal ends the running query and not the shell; in a pipe
//! it ends all, as scripts expect.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use comfy_table::{Table, presets};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Editor, Helper};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tollbook_query::{Answer, LogDir, Options, Session, TableDoc, output};

use super::categories::ByPolicy;
use crate::arguments::query::{Source, Sql};

/// The longest statement, in bytes.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

const HELP: &str = "\
SELECT … ;   a query, over as many lines as it takes; it ends with a semicolon
\\d           the tables
\\d TABLE     the columns of a table, and what they mean
\\timing      tell how long each query takes, or no longer
\\?           this text
\\q           leave; so does Ctrl-D, and Ctrl-C ends a running query
";

pub fn run(arguments: &Sql) -> anyhow::Result<ExitCode> {
    let mut shell = Shell::open(&arguments.asked)?;
    let done = match io::stdin().is_terminal() {
        true => shell.converse(!arguments.no_history),
        false => shell.read(io::stdin().lock()),
    };
    // A cancelled query may still be at work between two rows; nobody waits for it.
    shell.runtime.shutdown_background();
    done
}

/// Whether more is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Leave,
}

struct Shell {
    runtime: Runtime,
    logs: Vec<PathBuf>,
    options: Options,
    tables: Vec<TableDoc>,
    /// Damaged files that were told of.
    warned: Vec<PathBuf>,
    timing: bool,
    /// Columns and lines of the terminal that answers go to, if they do.
    screen: Option<(usize, usize)>,
    /// Tells of Ctrl-C, where that ends a query alone.
    interrupts: Option<Arc<Notify>>,
}

/// Hears Ctrl-C on a thread of its own: while a query computes, the runtime's threads may all be busy.
fn interrupts() -> anyhow::Result<Arc<Notify>> {
    let heard = Arc::new(Notify::new());
    let tell = Arc::clone(&heard);
    let ears = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot hear Ctrl-C")?;
    std::thread::spawn(move || {
        ears.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                tell.notify_waiters();
            }
        });
    });
    Ok(heard)
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")
}

impl Shell {
    /// Opens the logs once, so that one that isn't there is told of before the first question.
    fn open(asked: &Source) -> anyhow::Result<Self> {
        let options = Options {
            memory_bytes_max: asked.memory_mib_max.map(|mib| mib.saturating_mul(1 << 20)),
            skip_damaged: asked.skip_damaged,
            categories: Some(Arc::new(ByPolicy::read(asked.categories.as_deref())?)),
            backtest: Some(Arc::new(super::query::judge::Replays)),
        };
        let runtime = runtime()?;
        let tables = runtime.block_on(tollbook_query::schema())?;
        let logs = asked.logs.clone();
        let mut shell =
            Self { runtime, logs, options, tables, warned: Vec::new(), timing: false, screen: None, interrupts: None };
        shell.ask("SELECT 1".to_owned())?;
        Ok(shell)
    }

    /// Reads statements from a person, until they leave.
    fn converse(&mut self, history: bool) -> anyhow::Result<ExitCode> {
        let functions = self.ask("SELECT DISTINCT routine_name FROM information_schema.routines".to_owned())?;
        let functions = output::texts(functions.as_ref().context("cannot list the functions")?)?;
        let mut prompt = Prompt::new(&self.tables, functions.into_iter().flatten().collect(), history)?;
        self.interrupts = Some(interrupts()?);
        crate::print("\\? tells what can be typed\n")?;
        loop {
            let entry = match prompt.read()? {
                Entry::Text(entry) => entry,
                Entry::Nothing => continue,
                Entry::Left => return Ok(ExitCode::SUCCESS),
            };
            self.screen = if io::stdout().is_terminal() { prompt.screen() } else { None };
            if let Some(command) = entry.trim().strip_prefix('\\') {
                match self.command(command) {
                    Ok(Then::GoOn) => {}
                    Ok(Then::Leave) => return Ok(ExitCode::SUCCESS),
                    Err(error) => complain(&error)?,
                }
                continue;
            }
            let mut script = Script::default();
            script.push(&entry);
            while let Some(statement) = script.next() {
                if let Err(error) = self.answer(statement) {
                    complain(&error)?;
                    break;
                }
            }
        }
    }

    /// Reads statements from a pipe or a file, until its end. What the last one lacks is its semicolon.
    fn read(&mut self, mut from: impl BufRead) -> anyhow::Result<ExitCode> {
        let mut script = Script::default();
        let mut code = ExitCode::SUCCESS;
        let mut at_end = false;
        while !at_end {
            let mut line = String::new();
            let rest = (STATEMENT_BYTES_MAX + 1).saturating_sub(script.text.len());
            let mut limited = from.by_ref().take(u64::try_from(rest)?);
            at_end = limited.read_line(&mut line).context("cannot read standard input")? == 0;
            if script.text.len() + line.len() > STATEMENT_BYTES_MAX {
                bail!("a statement is longer than {STATEMENT_BYTES_MAX} bytes");
            }
            if let Some(command) = line.trim().strip_prefix('\\').filter(|_| script.is_blank()) {
                match self.command(command) {
                    Ok(Then::GoOn) => {}
                    Ok(Then::Leave) => break,
                    Err(error) => {
                        complain(&error)?;
                        code = ExitCode::FAILURE;
                    }
                }
                script.skip(&line);
                continue;
            }
            script.push(&line);
            while let Some(statement) = script.next().or_else(|| if at_end { script.rest() } else { None }) {
                if let Err(error) = self.answer(statement) {
                    complain(&error)?;
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }

    /// Does what stands behind a backslash.
    fn command(&mut self, typed: &str) -> anyhow::Result<Then> {
        let mut words = typed.trim_end_matches(';').split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("q"), None, None) => return Ok(Then::Leave),
            (Some("?"), None, None) => crate::print(HELP)?,
            (Some("timing"), None, None) => {
                self.timing = !self.timing;
                crate::print(if self.timing { "timing is on\n" } else { "timing is off\n" })?;
            }
            (Some("d"), None, None) => {
                let mut drawn = drawn(&["table", "one row"]);
                for table in &self.tables {
                    drawn.add_row([table.name, table.meaning]);
                }
                self.show(&format!("{drawn}\n"))?;
            }
            (Some("d"), Some(name), None) => {
                let bare = |name: &str| name.split('(').next().unwrap_or_default().to_lowercase();
                let found = self.tables.iter().find(|table| bare(table.name) == bare(name));
                let table = found.ok_or_else(|| anyhow!("there is no table `{name}`; \\d lists those there are"))?;
                let mut drawn = drawn(&["column", "type", "meaning"]);
                for (column, data_type, meaning) in &table.columns {
                    drawn.add_row([column, data_type, *meaning]);
                }
                self.show(&format!("{}: {}\n\n{drawn}\n", table.name, table.meaning))?;
            }
            _ => bail!("there is no command `\\{}`; \\? tells what there is", typed.trim()),
        }
        Ok(Then::GoOn)
    }

    /// Asks and shows, and tells how long asking took where that is wanted.
    fn answer(&mut self, statement: String) -> anyhow::Result<()> {
        let began = Instant::now();
        let answer = self.ask(statement);
        let took = began.elapsed();
        match answer? {
            Some(answer) => {
                let mut bytes = Vec::new();
                output::write(&answer, output::Format::Table, &mut bytes)?;
                self.show(&String::from_utf8_lossy(&bytes))?;
            }
            None => io::stderr().write_all(b"cancelled\n")?,
        }
        if self.timing {
            crate::print(&format!("{:.1} ms\n", took.as_secs_f64() * 1e3))?;
        }
        Ok(())
    }

    /// The answer of the logs as they stand now; none where Ctrl-C came before it.
    fn ask(&mut self, sql: String) -> anyhow::Result<Option<Answer>> {
        let (logs, options, interrupts) = (self.logs.clone(), self.options.clone(), self.interrupts.clone());
        // On a thread of its own, so that a query that computes for long doesn't keep Ctrl-C waiting.
        let asked = async move {
            let logs = logs.iter().map(|dir| LogDir::open(dir)).collect::<Result<Vec<_>, _>>()?;
            let session = Session::open(logs, options).await?;
            let answer = session.ask(&sql).await?;
            anyhow::Ok((answer, session.skipped().to_vec()))
        };
        let answered = self.runtime.block_on(async {
            let mut asked = tokio::spawn(asked);
            let Some(interrupts) = interrupts else { return asked.await.map(Some) };
            tokio::select! {
                answered = &mut asked => answered.map(Some),
                () = interrupts.notified() => {
                    asked.abort();
                    Ok(None)
                }
            }
        });
        let Some(answered) = answered.context("cannot finish the query")? else {
            // It stops between two rows; until then it keeps its own threads busy, and not the next query's.
            std::mem::replace(&mut self.runtime, runtime()?).shutdown_background();
            return Ok(None);
        };
        let (answer, skipped) = answered?;
        for (path, what) in skipped {
            if !self.warned.contains(&path) {
                let told = format!("warning: left out the damaged `{}`: {what}\n", path.display());
                io::stderr().write_all(told.as_bytes())?;
                self.warned.push(path);
            }
        }
        Ok(Some(answer))
    }

    /// Prints, through the user's pager what is larger than the screen.
    fn show(&self, text: &str) -> anyhow::Result<()> {
        let fits = self.screen.is_none_or(|(columns, lines)| {
            text.lines().count() < lines && text.lines().all(|line| line.chars().count() <= columns)
        });
        if fits || !paged(text) { crate::print(text) } else { Ok(()) }
    }
}

/// Text, from which statements are cut at their semicolons: those outside of quotes and comments.
#[derive(Debug, Default)]
struct Script {
    /// What isn't cut off yet.
    text: String,
    /// How far `text` was looked at, in bytes, and what stands there.
    scanned: usize,
    within: Within,
    /// Whether `text` has more than blanks and comments up to there.
    has_words: bool,
    /// Lines, and characters of the last line, that were cut off.
    lines: usize,
    column: usize,
}

/// What a place in SQL lies in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Plain,
    Quotes(char),
    Line,
    /// Comments in comments, this many deep.
    Block(u32),
}

impl Script {
    /// Adds whole lines.
    fn push(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// Passes over a line that isn't SQL.
    fn skip(&mut self, line: &str) {
        self.push(line);
        self.cut(self.text.len());
    }

    /// The next whole statement without its semicolon. Blanks stand for what came before it, so that the
    /// place that an error tells is one in the whole text.
    fn next(&mut self) -> Option<String> {
        while let Some(semicolon) = self.semicolon() {
            let has_words = self.has_words;
            let mut statement = self.cut(semicolon.saturating_add(1));
            statement.pop();
            if has_words {
                return Some(statement);
            }
        }
        None
    }

    /// The statement that lacks its semicolon.
    fn rest(&mut self) -> Option<String> {
        let has_words = self.has_words;
        let statement = self.cut(self.text.len());
        has_words.then_some(statement)
    }

    /// Whether nothing was begun.
    fn is_blank(&self) -> bool {
        !self.has_words && self.within == Within::Plain
    }

    /// Where the next statement's semicolon stands.
    fn semicolon(&mut self) -> Option<usize> {
        let mut characters = self.text.char_indices().peekable();
        while characters.next_if(|(at, _)| *at < self.scanned).is_some() {}
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            self.within = match (self.within, character, next) {
                (Within::Plain, ';', _) => return Some(at),
                (Within::Plain, '-', Some('-')) => Within::Line,
                (Within::Plain, '/', Some('*')) => {
                    characters.next();
                    Within::Block(1)
                }
                (Within::Plain, '\'' | '"' | '`', _) => {
                    self.has_words = true;
                    Within::Quotes(character)
                }
                (Within::Plain, _, _) => {
                    self.has_words |= !character.is_whitespace();
                    Within::Plain
                }
                (Within::Quotes(quote), _, _) if quote == character => Within::Plain,
                (Within::Line, '\n', _) => Within::Plain,
                (Within::Block(deep), '/', Some('*')) => {
                    characters.next();
                    Within::Block(deep.saturating_add(1))
                }
                (Within::Block(deep), '*', Some('/')) => {
                    characters.next();
                    if deep > 1 { Within::Block(deep - 1) } else { Within::Plain }
                }
                (within, _, _) => within,
            };
        }
        self.scanned = self.text.len();
        None
    }

    /// Cuts off the first bytes.
    fn cut(&mut self, bytes: usize) -> String {
        let mut statement = "\n".repeat(self.lines) + &" ".repeat(self.column);
        let rest = self.text.split_off(bytes.min(self.text.len()));
        let cut = std::mem::replace(&mut self.text, rest);
        for character in cut.chars() {
            (self.lines, self.column) = match character {
                '\n' => (self.lines.saturating_add(1), 0),
                _ => (self.lines, self.column.saturating_add(1)),
            };
        }
        statement.push_str(&cut);
        (self.scanned, self.within, self.has_words) = (0, Within::Plain, false);
        statement
    }
}

/// What a person typed.
enum Entry {
    Text(String),
    /// Nothing, or Ctrl-C at what was begun.
    Nothing,
    Left,
}

/// Where a person types.
struct Prompt {
    editor: Editor<Names, FileHistory>,
    /// Where the history is kept, if it is.
    history: Option<PathBuf>,
}

impl Prompt {
    fn new(tables: &[TableDoc], functions: Vec<String>, history: bool) -> anyhow::Result<Self> {
        let config = rustyline::Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config).context("cannot use the terminal")?;
        editor.set_helper(Some(Names::new(tables, functions)));
        let mut prompt = Self { editor, history: history.then(history_file).flatten() };
        if let Some(path) = prompt.history.clone() {
            prompt.remember(&path)?;
        }
        Ok(prompt)
    }

    /// Reads the history. A shell without one is better than none, so what is wrong with it is told alone.
    fn remember(&mut self, path: &Path) -> anyhow::Result<()> {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(ReadlineError::Io);
        let read = made.and_then(|()| if path.exists() { self.editor.load_history(path) } else { Ok(()) });
        self.without_history(read, path)
    }

    fn read(&mut self) -> anyhow::Result<Entry> {
        let entry = match self.editor.readline("tollbook> ") {
            Ok(entry) if entry.trim().is_empty() => return Ok(Entry::Nothing),
            Ok(entry) => entry,
            Err(ReadlineError::Interrupted) => return Ok(Entry::Nothing),
            Err(ReadlineError::Eof) => return Ok(Entry::Left),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        };
        if let Some(path) = self.history.clone() {
            // At once, so that a shell that is killed has kept it.
            let kept = self.editor.append_history(&path);
            self.without_history(kept, &path)?;
        }
        Ok(Entry::Text(entry))
    }

    fn without_history(&mut self, done: Result<(), ReadlineError>, path: &Path) -> anyhow::Result<()> {
        if let Err(error) = done {
            let told = format!("warning: no history is kept in `{}`: {error}\n", path.display());
            io::stderr().write_all(told.as_bytes())?;
            self.history = None;
        }
        Ok(())
    }

    /// Columns and lines of the terminal.
    fn screen(&mut self) -> Option<(usize, usize)> {
        self.editor.dimensions().map(|(columns, lines)| (columns.into(), lines.into()))
    }
}

/// Where the user's programs keep what they can do without.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .or_else(|| set("LOCALAPPDATA"))?;
    Some(state.join("tollbook/sql_history"))
}

/// The names that Tab completes.
struct Names {
    /// What can stand behind FROM.
    tables: Vec<String>,
    /// Those and all others, in order.
    all: Vec<String>,
}

impl Names {
    fn new(tables: &[TableDoc], functions: Vec<String>) -> Self {
        let columns = tables.iter().flat_map(|table| table.columns.iter().map(|(name, _, _)| name.clone()));
        let columns: Vec<String> = columns.collect();
        // Up to the parenthesis, behind which a function's arguments go.
        let opened = |name: &str| match name.split_once('(') {
            Some((function, _)) => format!("{function}("),
            None => name.to_owned(),
        };
        let mut tables: Vec<String> = tables.iter().map(|table| opened(table.name)).collect();
        tables.push("rates(".to_owned());
        tables.sort();
        tables.dedup();
        let mut all = tables.clone();
        all.extend(columns);
        all.extend(functions.into_iter().map(|function| function + "("));
        all.sort();
        all.dedup();
        Self { tables, all }
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..at).unwrap_or_default();
        let name = |character: char| character.is_alphanumeric() || character == '_';
        let head = before.trim_end_matches(name);
        let begun = before.get(head.len()..).unwrap_or_default().to_lowercase();
        let last = head.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let names = if matches!(last.as_str(), "from" | "join" | "\\d") { &self.tables } else { &self.all };
        Ok((head.len(), names.iter().filter(|name| name.starts_with(&begun)).cloned().collect()))
    }
}

impl Validator for Names {
    /// Enter begins a new line until the last statement has its semicolon.
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if typed.input().trim_start().starts_with('\\') {
            return Ok(ValidationResult::Valid(None));
        }
        let mut script = Script::default();
        script.push(typed.input());
        while script.next().is_some() {}
        // A comment at the end needs no line of its own.
        let whole = !script.has_words && !matches!(script.within, Within::Block(_));
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Helper for Names {}

/// Whether the user has a pager, and it took the text.
fn paged(text: &str) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Wide lines are cut and not folded, so that columns stay columns.
        command.env("LESS", "FRSX");
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // Who has seen enough leaves before the end: no failure.
        let _left = input.write_all(text.as_bytes());
    }
    // It showed what it showed; to print all of it once more would help nobody.
    let _ended = child.wait();
    true
}

fn drawn(header: &[&str]) -> Table {
    let mut drawn = Table::new();
    drawn.load_style(presets::ASCII_MARKDOWN);
    drawn.set_header(header);
    drawn
}

/// Tells why there is no answer, unless nobody is left to read one: then that is the end.
fn complain(error: &anyhow::Error) -> anyhow::Result<()> {
    gone(error)?;
    let text = format!("{error:#}");
    let lines: Vec<String> = text.lines().map(crate::visible).collect();
    Ok(io::stderr().write_all(format!("error: {}\n", lines.join("\n")).as_bytes())?)
}

/// An error where standard output has no reader any more.
fn gone(error: &anyhow::Error) -> io::Result<()> {
    match crate::is_broken_pipe(error) {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(()),
    }
}

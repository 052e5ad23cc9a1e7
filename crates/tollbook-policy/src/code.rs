//! The code of every diagnostic, in one table.
//!
//! A code is never given a new meaning and never used again: P01xx is syntax, P02xx meaning, P03xx
//! what a target can't carry, L a warning. The names here are for the code's readers; people and
//! programs see the code.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $message:literal;)*) => {
        /// What a diagnostic is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $message] $name,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is printed: `P0103`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What is wrong, in general.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

codes! {
    UnknownCharacter = "P0101", "unknown character";
    BadString = "P0102", "bad string";
    UnexpectedToken = "P0103", "unexpected token";
    BadNumber = "P0104", "bad number";
    TooDeep = "P0105", "brackets are nested too deep";
    TooLarge = "P0106", "the file is too large";
    NotJson = "P0110", "the text isn't JSON";
    DuplicateKey = "P0111", "a key stands twice in one object";
    UnknownKey = "P0112", "unknown key";
    WrongType = "P0113", "wrong type";
    MissingKey = "P0114", "a key is missing";
    BadValue = "P0115", "bad value";
    UnknownVersion = "P0116", "unknown version";
    NeedsSuperset = "P0117", "version \"1\" doesn't have this";

    MissingDefault = "P0201", "the policy has no default";
    LimitTooLarge = "P0202", "the limit isn't a whole number in range";
    RollingTooLarge = "P0203", "the rolling limit is too large";
    UnknownUnit = "P0204", "unknown unit of time";
    UnevenWindow = "P0205", "the window doesn't divide a day";
    BadDuration = "P0206", "the duration is out of range";
    CounterTwice = "P0207", "two limits would have the same counter";
    CountMissing = "P0208", "a limit in a group needs `total` or `each`";
    CountMisplaced = "P0209", "`total` and `each` belong to groups";
    BadPattern = "P0210", "bad regular expression";
    TooManyAlternatives = "P0211", "the condition has too many alternatives";
    BadTime = "P0212", "bad time of day";
    BadZone = "P0213", "bad time zone";
    TextTooLong = "P0214", "the text is too long";
    TooManyItems = "P0215", "the policy names too many things";
    GroupTwice = "P0216", "two groups have the same name";
    BadRun = "P0217", "the breaker's count is out of range";
    BadName = "P0218", "bad name";
    UnknownCategory = "P0219", "unknown category";
    NotOneTool = "P0220", "a call names one tool";
    BadTimestamp = "P0221", "bad time stamp";
    BadRepeat = "P0222", "the number of calls is out of range";
    NotOrdered = "P0223", "only numbers are in order";
    UnknownTool = "P0224", "the catalog has no such tool";
    UnknownArgument = "P0225", "the tool has no such argument";
    WrongArgumentType = "P0226", "the argument is of another type";

    TargetScope = "P0301", "version \"1\" counts by grant alone";
    TargetRolling = "P0302", "version \"1\" has no rolling window";
    TargetWindow = "P0303", "version \"1\" has the windows minute, hour and day alone";
    TargetAmount = "P0304", "version \"1\" counts calls, not amounts";
    TargetGroup = "P0305", "version \"1\" has no groups";
    TargetHours = "P0306", "version \"1\" has no hours";
    TargetApprove = "P0307", "version \"1\" has no approval";
    TargetBreak = "P0308", "version \"1\" has no breakers";
    TargetShadow = "P0309", "version \"1\" has no shadow clauses";
    TargetNegation = "P0310", "version \"1\" can't negate `matches` or `contains`";
    TargetAlternatives = "P0311", "version \"1\" has no `or` in `require`";
    TargetPath = "P0312", "version \"1\" can't write this path";
    TargetAllTools = "P0313", "version \"1\" takes nothing but limits for all tools";
    TargetLimitText = "P0314", "version \"1\" has no text on a limit";
    TargetSelector = "P0315", "version \"1\" names tools one by one";
    TargetCounterShared = "P0316", "version \"1\" doesn't say whether two tools share a counter";

    TestFailed = "P0401", "a test fails";

    CounterShared = "L0101", "two tools name the same counter";
    HiddenAndAllowed = "L0201", "a tool is both hidden and allowed";
    NeverReached = "L0202", "a clause comes after an unconditional deny";
    ConstantCondition = "L0203", "a condition is always the same";
    TypeNotRequired = "L0204", "a compared argument isn't required to be of its type";
    ClientScope = "L0205", "a tool is limited only by what its client chooses";
    LimitUnreachable = "L0206", "a tighter limit makes this one unreachable";
    EdgeBurst = "L0207", "twice the limit passes across the edge of its window";
    CounterWindows = "L0208", "one name stands for counters with different windows";
    WriteUnlimited = "L0209", "a tool that changes something has no limit";
    DefaultAllowWrites = "L0210", "`default allow` lets tools through that change something";
    ApproveWithoutWithin = "L0211", "an approval doesn't say how long it holds";
    CounterRenamed = "L0212", "a counter has another name than before";
    Boilerplate30 = "L0213", "the limit is the usual 30";
    BadSilence = "L0214", "the comment silences nothing";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

//! The bounds of an expression: its size and depth before it runs, its steps while it runs.

use cel::parser::pratt_parser::{Lexer, TokenKind, get_binary_op_info};

use crate::{CompileError, EvaluateError, Value};

/// The longest source of an expression, in bytes.
pub const MAX_SOURCE_BYTES: usize = 4096;

/// The deepest tree that is compiled. Parser, compiler and evaluator recurse as deep as the tree, so this bounds their
/// stack; a condition written by a person stays under 20.
pub(crate) const MAX_DEPTH: usize = 64;

/// The steps that all expressions of one hit may take together.
pub const STEPS_PER_HIT: u32 = 10_000;

/// The bytes of text that are searched, compared or copied for one step.
const TEXT_BYTES_PER_STEP: usize = 64;

/// The bytes of text that a regular expression goes over for one step.
const PATTERN_BYTES_PER_STEP: usize = 16;

/// The values that are copied for one step.
const COPIES_PER_STEP: u32 = 16;

/// A budget of steps, shared by all expressions of a hit.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u32,
}

impl Steps {
    /// A budget of `steps`.
    #[must_use]
    pub const fn new(steps: u32) -> Self {
        Self { left: steps }
    }

    /// The steps that are left.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Takes `steps` from the budget.
    ///
    /// # Errors
    /// [`EvaluateError::StepsExhausted`] when there are not as many; the budget is empty from then on.
    pub fn take(&mut self, steps: u32) -> Result<(), EvaluateError> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvaluateError::StepsExhausted)
            }
        }
    }

    /// Takes the steps for going over `bytes` of text once.
    pub(crate) fn take_text(&mut self, bytes: usize) -> Result<(), EvaluateError> {
        self.take(u32::try_from(bytes / TEXT_BYTES_PER_STEP).unwrap_or(u32::MAX))
    }

    /// Takes the steps for running a regular expression over `bytes` of text.
    pub(crate) fn take_pattern(&mut self, bytes: usize) -> Result<(), EvaluateError> {
        self.take(u32::try_from(bytes / PATTERN_BYTES_PER_STEP).unwrap_or(u32::MAX))
    }

    /// Takes the steps for copying `value`, whose text stays where it is.
    pub(crate) fn take_copy(&mut self, value: &Value<'_>) -> Result<(), EvaluateError> {
        match value {
            Value::List(_) | Value::Map(_) => self.take(count(value) / COPIES_PER_STEP),
            _ => Ok(()),
        }
    }
}

impl Default for Steps {
    /// The budget of one hit.
    fn default() -> Self {
        Self::new(STEPS_PER_HIT)
    }
}

/// The number of values in `value`, itself included.
fn count(value: &Value<'_>) -> u32 {
    let inner = match value {
        Value::List(elements) => elements.iter().map(count).fold(0, u32::saturating_add),
        Value::Map(map) => map.iter().map(|(_, value)| count(value)).fold(0, u32::saturating_add),
        _ => 0,
    };
    inner.saturating_add(1)
}

/// Refuses a source that is too long, or whose tree would be too deep, before anything recurses into it.
pub(crate) fn check_source(source: &str) -> Result<(), CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!(
            "the expression has {} bytes; at most {MAX_SOURCE_BYTES} are taken: move parts of it into variables",
            source.len()
        );
        return Err(CompileError::at(source, MAX_SOURCE_BYTES, message));
    }
    check_depth(source)
}

/// One bracket's worth of source, as far as it has been read. Depths count the nodes above the deepest leaf.
#[derive(Default)]
struct Level {
    /// The deepest finished element between commas.
    deepest_element: usize,
    /// `?` in the element being read: each nests the rest one deeper.
    conditionals: usize,
    /// Whether the element being read has `&&` and `||`, of which a chain of any length is one node.
    conjunction: bool,
    disjunction: bool,
    /// The deepest finished part of the element, between `&&`, `||`, `?` and `:`.
    deepest_part: usize,
    /// Operators in the part being read: `a + b + c` leans to the left, one deeper for each.
    operators: usize,
    /// The deepest operand of the part being read.
    deepest_operand: usize,
    /// Selections, calls and signs of the operand being read: each is one deeper.
    links: usize,
    /// The deepest bracket inside the operand being read.
    bracket: usize,
}

impl Level {
    fn end_operand(&mut self) {
        self.deepest_operand = self.deepest_operand.max(self.links + self.bracket);
        (self.links, self.bracket) = (0, 0);
    }

    fn end_part(&mut self) {
        self.end_operand();
        self.deepest_part = self.deepest_part.max(self.operators + self.deepest_operand);
        (self.operators, self.deepest_operand) = (0, 0);
    }

    fn end_element(&mut self) {
        self.end_part();
        let depth = self.conditionals
            + usize::from(self.conjunction)
            + usize::from(self.disjunction)
            + std::mem::take(&mut self.deepest_part);
        self.deepest_element = self.deepest_element.max(depth);
        (self.conditionals, self.conjunction, self.disjunction) = (0, false, false);
    }

    fn depth(mut self) -> usize {
        self.end_element();
        self.deepest_element
    }

    fn read(&mut self, token: TokenKind, after_operand: bool) {
        match token {
            TokenKind::TokComma => self.end_element(),
            TokenKind::TokColon => self.end_part(),
            TokenKind::TokQuestion => {
                self.end_part();
                self.conditionals += 1;
            }
            TokenKind::TokLogicalAnd => {
                self.end_part();
                self.conjunction = true;
            }
            TokenKind::TokLogicalOr => {
                self.end_part();
                self.disjunction = true;
            }
            TokenKind::TokDot | TokenKind::TokExclamation => self.links += 1,
            // A sign belongs to its operand.
            TokenKind::TokMinus if !after_operand => self.links += 1,
            _ if get_binary_op_info(token).precedence > 0 => {
                self.end_operand();
                self.operators += 1;
            }
            _ => {}
        }
    }
}

/// Bounds the depth of the tree from the tokens alone, counting too much rather than too little. The parser itself bounds
/// only nested brackets.
fn check_depth(source: &str) -> Result<(), CompileError> {
    let mut lexer = Lexer::new(source);
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut after_operand = false;
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => break,
            TokenKind::TokWhitespace | TokenKind::TokComment => continue,
            TokenKind::TokLeftParen | TokenKind::TokLeftBracket | TokenKind::TokLeftBrace => {
                outer.push(std::mem::take(&mut level));
            }
            TokenKind::TokRightParen | TokenKind::TokRightBracket | TokenKind::TokRightBrace => {
                let depth = level.depth();
                level = outer.pop().unwrap_or_default();
                level.bracket = level.bracket.max(depth);
                level.links += 1;
            }
            kind => level.read(kind, after_operand),
        }
        after_operand = ends_operand(token.kind);
        let depth_so_far = level.conditionals + level.operators + level.links + level.bracket;
        if outer.len() + level.conditionals > MAX_DEPTH || depth_so_far > MAX_DEPTH {
            return Err(too_deep(source, token.start));
        }
    }
    if level.depth() > MAX_DEPTH {
        return Err(too_deep(source, 0));
    }
    Ok(())
}

/// Whether a `-` after this token subtracts, rather than being a sign.
fn ends_operand(token: TokenKind) -> bool {
    matches!(
        token,
        TokenKind::TokNull
            | TokenKind::TokFalse
            | TokenKind::TokTrue
            | TokenKind::TokReservedWord
            | TokenKind::TokInt
            | TokenKind::TokUint
            | TokenKind::TokFloat
            | TokenKind::TokString
            | TokenKind::TokBytes
            | TokenKind::TokIdent
            | TokenKind::TokRightBracket
            | TokenKind::TokRightBrace
            | TokenKind::TokRightParen
    )
}

fn too_deep(source: &str, offset: usize) -> CompileError {
    let message =
        format!("the expression is nested more than {MAX_DEPTH} levels deep: move parts of it into variables");
    CompileError::at(source, offset, message)
}

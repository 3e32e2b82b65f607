//! From minijinja's syntax tree to ours: what is not in the subset is refused here, before
//! anything is evaluated (minijinja folds constants only when it generates code, which we never ask for).

use std::collections::BTreeSet;

use minijinja::machinery::{Token, ast, parse as parse_ast, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::func::{Filter, Func, Test};
use super::val::Object;
use super::{MAX_DEPTH, MAX_SOURCE, MAX_TOKENS, Template, TemplateError};
use crate::diagnostic::nearest;

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Emit(Ex, Known),
    If { test: Ex, yes: Vec<Piece>, no: Vec<Piece> },
}

#[derive(Clone, Debug)]
pub(crate) enum Ex {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Var(String),
    Object(Object),
    Attr(Box<Ex>, String),
    Item(Box<Ex>, Box<Ex>),
    Not(Box<Ex>),
    Neg(Box<Ex>),
    And(Box<Ex>, Box<Ex>),
    Or(Box<Ex>, Box<Ex>),
    Compare(Cmp, Box<Ex>, Box<Ex>),
    Add(Box<Ex>, Box<Ex>),
    Sub(Box<Ex>, Box<Ex>),
    Concat(Vec<Ex>),
    If(Box<Ex>, Box<Ex>, Option<Box<Ex>>),
    Filter(Filter, Box<Ex>, Vec<Ex>),
    Test(Test, Box<Ex>, Vec<Ex>),
    Call(Func, Vec<Ex>),
    Secret(String),
    Variable(String),
    List(Vec<Ex>),
    Map(Vec<(Ex, Ex)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cmp {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    In,
}

/// What a template may read, seen without rendering it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Names at the beginning of a path: fields, `token`, `input`, …
    pub roots: BTreeSet<String>,
    /// Attributes of `user` and `project`.
    pub user: BTreeSet<String>,
    pub project: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub variables: BTreeSet<String>,
    /// The clock, or random bytes.
    pub time: bool,
}

impl Known {
    pub fn merge(&mut self, other: &Known) {
        self.roots.extend(other.roots.iter().cloned());
        self.user.extend(other.user.iter().cloned());
        self.project.extend(other.project.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.variables.extend(other.variables.iter().cloned());
        self.time |= other.time;
    }

    pub fn reads(&self, root: &str) -> bool {
        self.roots.contains(root)
    }
}

pub(crate) const USER: &[&str] = &["id", "email", "first_name", "last_name", "username", "name"];
pub(crate) const PROJECT: &[&str] = &["id", "slug", "name"];

fn refuse<T>(line: usize, message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError { message: message.into(), line, suggestion: None })
}

fn unknown<T>(
    line: usize,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Result<T, TemplateError> {
    Err(TemplateError {
        message: format!("there is no {what} `{}` in templates", shown(name)),
        line,
        suggestion: nearest(name, known),
    })
}

/// A name for a message: short, so that a value pasted in the wrong place is not repeated whole.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

pub(crate) fn parse(source: &str) -> Result<Template, TemplateError> {
    if source.len() > MAX_SOURCE {
        return refuse(
            1,
            format!("a template has at most {MAX_SOURCE} bytes; this one has {}", source.len()),
        );
    }
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default();
    scan(source, &syntax)?;
    let tree = parse_ast(source, "template", syntax).map_err(|error| TemplateError {
        // minijinja's details name tokens ("unexpected identifier, expected …"), never their text.
        message: format!("the template cannot be read: {}", error.detail().unwrap_or("it is not complete")),
        line: error.line().unwrap_or(1),
        suggestion: None,
    })?;
    let ast::Stmt::Template(root) = &tree else { return refuse(1, "the template cannot be read") };
    let mut lower = Lower { known: Known::default() };
    let nodes = lower.pieces(&root.children, 0)?;
    Ok(Template { nodes, known: lower.known })
}

/// Looks at the tokens before the parser recurses over them: brackets, chains of `not` and `-`,
/// and conditions could otherwise be nested deeper than a stack is.
fn scan(source: &str, syntax: &SyntaxConfig) -> Result<(), TemplateError> {
    let (mut tokens, mut depth, mut unary, mut conditions) = (0usize, 0usize, 0usize, 0usize);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token.map_err(|error| TemplateError {
            message: format!(
                "the template cannot be read: {}",
                error.detail().unwrap_or("it is not complete")
            ),
            line: error.line().unwrap_or(1),
            suggestion: None,
        })?;
        let line = usize::from(span.start_line);
        tokens += 1;
        if tokens > MAX_TOKENS {
            return refuse(line, format!("the template is too long: more than {MAX_TOKENS} words and signs"));
        }
        match token {
            Token::Minus | Token::Ident("not") => {
                unary += 1;
                if unary > 8 {
                    return refuse(line, "too many `-` or `not` in a row");
                }
                continue;
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return refuse(line, format!("brackets nested deeper than {MAX_DEPTH} levels"));
                }
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.saturating_sub(1),
            Token::VariableStart | Token::BlockStart => depth = 0,
            Token::Ident("if" | "elif") => {
                conditions += 1;
                if conditions > MAX_DEPTH {
                    return refuse(line, format!("more than {MAX_DEPTH} conditions in one template"));
                }
            }
            Token::Mul | Token::Pow | Token::Div | Token::FloorDiv | Token::Mod => {
                return refuse(line, format!("{token} is not part of templates (only `+`, `-` and `~` are)"));
            }
            Token::Int128(_) => return refuse(line, "that number is too large"),
            _ => {}
        }
        unary = 0;
    }
    Ok(())
}

struct Lower {
    known: Known,
}

impl Lower {
    fn pieces(&mut self, statements: &[ast::Stmt<'_>], depth: usize) -> Result<Vec<Piece>, TemplateError> {
        if depth > MAX_DEPTH {
            return refuse(1, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let mut out = Vec::new();
        for statement in statements {
            match statement {
                ast::Stmt::EmitRaw(raw) => out.push(Piece::Text(raw.raw.to_owned())),
                ast::Stmt::EmitExpr(emit) => {
                    let outer = std::mem::take(&mut self.known);
                    let lowered = self.ex(&emit.expr, 0);
                    let own = std::mem::replace(&mut self.known, outer);
                    self.known.merge(&own);
                    out.push(Piece::Emit(lowered?, own));
                }
                ast::Stmt::IfCond(cond) => {
                    let test = self.ex(&cond.expr, 0)?;
                    let yes = self.pieces(&cond.true_body, depth + 1)?;
                    let no = self.pieces(&cond.false_body, depth + 1)?;
                    out.push(Piece::If { test, yes, no });
                }
                other => {
                    let (what, line) = statement_name(other);
                    return refuse(
                        line,
                        format!("{what} is not part of templates; only `{{{{ … }}}}` and `{{% if %}}` are"),
                    );
                }
            }
        }
        Ok(out)
    }

    fn boxed(&mut self, expr: &ast::Expr<'_>, depth: usize) -> Result<Box<Ex>, TemplateError> {
        self.ex(expr, depth).map(Box::new)
    }

    fn ex(&mut self, expr: &ast::Expr<'_>, depth: usize) -> Result<Ex, TemplateError> {
        let line = usize::from(expr.span().start_line);
        if depth > MAX_DEPTH {
            return refuse(line, format!("an expression nested deeper than {MAX_DEPTH} levels"));
        }
        let deeper = depth + 1;
        Ok(match expr {
            ast::Expr::Const(constant) => self.constant(&constant.value, line)?,
            ast::Expr::Var(var) => self.root(var.id, line)?,
            ast::Expr::GetAttr(get) => self.attribute(&get.expr, get.name, line, deeper)?,
            ast::Expr::GetItem(get) => match get.subscript_expr {
                ast::Expr::Const(ref name) if name.value.as_str().is_some() => {
                    let name = name.value.as_str().unwrap_or_default().to_owned();
                    self.attribute(&get.expr, &name, line, deeper)?
                }
                _ => {
                    let of = self.boxed(&get.expr, deeper)?;
                    if matches!(*of, Ex::Object(_)) {
                        return refuse(
                            line,
                            "`user`, `project` and `fields` take only a name written out, as in `user.email`",
                        );
                    }
                    Ex::Item(of, self.boxed(&get.subscript_expr, deeper)?)
                }
            },
            ast::Expr::UnaryOp(op) => match op.op {
                ast::UnaryOpKind::Not => Ex::Not(self.boxed(&op.expr, deeper)?),
                ast::UnaryOpKind::Neg => Ex::Neg(self.boxed(&op.expr, deeper)?),
            },
            ast::Expr::BinOp(op) => self.binary(op, line, deeper)?,
            ast::Expr::Compare(_) => {
                return refuse(line, "write `a < b and b < c` instead of a chained comparison");
            }
            ast::Expr::IfExpr(cond) => Ex::If(
                self.boxed(&cond.test_expr, deeper)?,
                self.boxed(&cond.true_expr, deeper)?,
                match &cond.false_expr {
                    Some(expr) => Some(self.boxed(expr, deeper)?),
                    None => None,
                },
            ),
            ast::Expr::Filter(filter) => {
                let Some(of) = &filter.expr else { return refuse(line, "a filter needs a value before it") };
                let Some(known) = Filter::parse(filter.name) else {
                    return unknown(line, "filter", filter.name, Filter::names());
                };
                let of = self.boxed(of, deeper)?;
                let args = self.args(&filter.args, filter.name, known.arity(), line, deeper)?;
                Ex::Filter(known, of, args)
            }
            ast::Expr::Test(test) => {
                let Some(known) = Test::parse(test.name) else {
                    return unknown(line, "test", test.name, Test::names());
                };
                let of = self.boxed(&test.expr, deeper)?;
                let args = self.args(&test.args, test.name, known.arity(), line, deeper)?;
                Ex::Test(known, of, args)
            }
            ast::Expr::Call(call) => self.call(call, line, deeper)?,
            ast::Expr::List(list) => {
                Ex::List(list.items.iter().map(|item| self.ex(item, deeper)).collect::<Result<_, _>>()?)
            }
            ast::Expr::Tuple(list) => {
                Ex::List(list.items.iter().map(|item| self.ex(item, deeper)).collect::<Result<_, _>>()?)
            }
            ast::Expr::Map(map) => {
                let mut entries = Vec::new();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    entries.push((self.ex(key, deeper)?, self.ex(value, deeper)?));
                }
                Ex::Map(entries)
            }
            ast::Expr::Slice(_) => return refuse(line, "slices (`a[1:2]`) are not part of templates"),
        })
    }

    fn constant(&mut self, value: &minijinja::Value, line: usize) -> Result<Ex, TemplateError> {
        Ok(match value.kind() {
            ValueKind::None => Ex::None,
            ValueKind::Bool => Ex::Bool(value.is_true()),
            ValueKind::String => Ex::Text(value.as_str().unwrap_or_default().to_owned()),
            ValueKind::Number => {
                if value.is_integer() {
                    match i64::try_from(value.clone()) {
                        Ok(whole) => Ex::Int(whole),
                        Err(_) => return refuse(line, "that number is too large"),
                    }
                } else {
                    match f64::try_from(value.clone()) {
                        Ok(real) if real.is_finite() => Ex::Float(real),
                        _ => return refuse(line, "that number is too large"),
                    }
                }
            }
            _ => return refuse(line, "that constant is not part of templates"),
        })
    }

    fn root(&mut self, name: &str, line: usize) -> Result<Ex, TemplateError> {
        if Func::parse(name).is_some() || matches!(name, "get_secret" | "get_variable") {
            return refuse(line, format!("`{name}` is a function: write `{name}(…)`"));
        }
        self.known.roots.insert(name.to_owned());
        Ok(match name {
            "user" => Ex::Object(Object::User),
            "project" => Ex::Object(Object::Project),
            "fields" => Ex::Object(Object::Fields),
            _ => Ex::Var(name.to_owned()),
        })
    }

    fn attribute(
        &mut self,
        of: &ast::Expr<'_>,
        name: &str,
        line: usize,
        depth: usize,
    ) -> Result<Ex, TemplateError> {
        let of = self.ex(of, depth)?;
        if let Ex::Object(object) = &of {
            let known = match object {
                Object::User => Some(("user", USER, &mut self.known.user)),
                Object::Project => Some(("project", PROJECT, &mut self.known.project)),
                Object::Fields => None,
            };
            if let Some((root, names, reads)) = known {
                if !names.contains(&name) {
                    return Err(TemplateError {
                        message: format!("`{root}` has no `{}`; it has {}", shown(name), names.join(", ")),
                        line,
                        suggestion: nearest(name, names.iter().copied()).map(|near| format!("{root}.{near}")),
                    });
                }
                reads.insert(name.to_owned());
            } else {
                // `fields['x-y']` reads the field itself.
                self.known.roots.insert(name.to_owned());
            }
        }
        Ok(Ex::Attr(Box::new(of), name.to_owned()))
    }

    fn binary(&mut self, op: &ast::BinOp<'_>, line: usize, depth: usize) -> Result<Ex, TemplateError> {
        use ast::BinOpKind as Op;
        if matches!(op.op, Op::Concat) {
            // `a ~ b ~ c …` is a chain to the left, as long as the template: taken apart without recursion.
            let mut parts = vec![&op.right];
            let mut left = &op.left;
            while let ast::Expr::BinOp(inner) = left {
                if !matches!(inner.op, Op::Concat) {
                    break;
                }
                parts.push(&inner.right);
                left = &inner.left;
            }
            parts.push(left);
            let lowered =
                parts.into_iter().rev().map(|part| self.ex(part, depth)).collect::<Result<_, _>>()?;
            return Ok(Ex::Concat(lowered));
        }
        let left = self.boxed(&op.left, depth)?;
        let right = self.boxed(&op.right, depth)?;
        Ok(match op.op {
            Op::Eq => Ex::Compare(Cmp::Eq, left, right),
            Op::Ne => Ex::Compare(Cmp::Ne, left, right),
            Op::Lt => Ex::Compare(Cmp::Lt, left, right),
            Op::Lte => Ex::Compare(Cmp::Lte, left, right),
            Op::Gt => Ex::Compare(Cmp::Gt, left, right),
            Op::Gte => Ex::Compare(Cmp::Gte, left, right),
            Op::In => Ex::Compare(Cmp::In, left, right),
            Op::ScAnd => Ex::And(left, right),
            Op::ScOr => Ex::Or(left, right),
            Op::Add => Ex::Add(left, right),
            Op::Sub => Ex::Sub(left, right),
            Op::Concat | Op::Mul | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow => {
                return refuse(line, "that operator is not part of templates (only `+`, `-` and `~` are)");
            }
        })
    }

    fn args(
        &mut self,
        args: &[ast::CallArg<'_>],
        name: &str,
        (least, most): (usize, usize),
        line: usize,
        depth: usize,
    ) -> Result<Vec<Ex>, TemplateError> {
        let mut out = Vec::new();
        for arg in args {
            match arg {
                ast::CallArg::Pos(expr) => out.push(self.ex(expr, depth)?),
                ast::CallArg::Kwarg(keyword, _) => {
                    return refuse(
                        line,
                        format!("`{name}` takes its arguments by place, not by name (`{}=`)", shown(keyword)),
                    );
                }
                ast::CallArg::PosSplat(_) | ast::CallArg::KwargSplat(_) => {
                    return refuse(line, "`*` and `**` are not part of templates");
                }
            }
        }
        if out.len() < least || out.len() > most {
            let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            return refuse(line, format!("`{name}` takes {wanted} argument(s), not {}", out.len()));
        }
        Ok(out)
    }

    fn call(&mut self, call: &ast::Call<'_>, line: usize, depth: usize) -> Result<Ex, TemplateError> {
        let ast::Expr::Var(name) = &call.expr else {
            return refuse(line, "values have no methods in templates; use a filter, as in `name | lower`");
        };
        let name = name.id;
        if name == "get_secret" || name == "get_variable" {
            let [ast::CallArg::Pos(ast::Expr::Const(literal))] = call.args.as_slice() else {
                return refuse(
                    line,
                    format!("`{name}` takes one name written in quotes, as in {name}('api_key')"),
                );
            };
            let Some(wanted) = literal.value.as_str() else {
                return refuse(
                    line,
                    format!("`{name}` takes one name written in quotes, as in {name}('api_key')"),
                );
            };
            if !latchstring_model::entity::valid_secret_name(wanted) {
                return refuse(
                    line,
                    "names of secrets and variables have only letters, digits and underscores",
                );
            }
            return Ok(if name == "get_secret" {
                self.known.secrets.insert(wanted.to_owned());
                Ex::Secret(wanted.to_owned())
            } else {
                self.known.variables.insert(wanted.to_owned());
                Ex::Variable(wanted.to_owned())
            });
        }
        let Some(func) = Func::parse(name) else {
            return unknown(line, "function", name, Func::names().chain(["get_secret", "get_variable"]));
        };
        self.known.time = true;
        Ok(Ex::Call(func, self.args(&call.args, name, func.arity(), line, depth)?))
    }
}

fn statement_name(statement: &ast::Stmt<'_>) -> (&'static str, usize) {
    let (name, span) = match statement {
        ast::Stmt::ForLoop(s) => ("a loop (`{% for %}`)", s.span()),
        ast::Stmt::WithBlock(s) => ("`{% with %}`", s.span()),
        ast::Stmt::Set(s) => ("`{% set %}`", s.span()),
        ast::Stmt::SetBlock(s) => ("`{% set %}`", s.span()),
        ast::Stmt::AutoEscape(s) => ("`{% autoescape %}`", s.span()),
        ast::Stmt::FilterBlock(s) => ("`{% filter %}`", s.span()),
        ast::Stmt::Do(s) => ("`{% do %}`", s.span()),
        // Which further statements minijinja knows depends on its features.
        #[allow(unreachable_patterns)]
        _ => return ("that statement", 1),
    };
    (name, usize::from(span.start_line))
}

//! What a task has measured: rows with goals, as tables and as a document, and what machine it was.

pub(crate) mod machine;
pub(crate) mod row;
pub(crate) mod table;

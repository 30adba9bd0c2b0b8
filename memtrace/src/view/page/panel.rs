//! What the page says, before it is HTML or JSON.

use serde::Serialize;

/// A part of the page under a headline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Panel {
    /// Which one: a word that the page's style and script know.
    pub id: &'static str,
    /// Its headline.
    pub title: String,
    /// What is in it.
    pub blocks: Vec<Block>,
}

/// A piece of a panel. Texts have been made harmless for the eye, not for HTML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Block {
    /// A paragraph.
    Text {
        /// The text.
        text: String,
        /// How it looks: `lead`, `note`, `good`, `warn`, `bad`, or nothing.
        look: &'static str,
    },
    /// A headline below the panel's.
    Heading {
        /// The text.
        text: String,
    },
    /// A list.
    List {
        /// Its items.
        items: Vec<Item>,
    },
    /// A table.
    Table {
        /// What it shows, for who cannot see it.
        caption: String,
        /// Whether its rows may be put into another order.
        sortable: bool,
        /// Its columns.
        columns: Vec<Column>,
        /// Its rows.
        rows: Vec<Row>,
    },
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What stands before the text, such as a setting to type; may be empty.
    pub head: String,
    /// The text; may be empty.
    pub text: String,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name; a table in which no column has one has no head.
    pub name: &'static str,
    /// Whether it holds numbers.
    pub numeric: bool,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How it looks: `sum`, `good`, `warn`, `bad`, or nothing.
    pub look: &'static str,
    /// Its cells, one per column. The first one is what the row is called.
    pub cells: Vec<Cell>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// What is read.
    pub text: String,
    /// The number that it stands for, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// More, for who asks: the number in full.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

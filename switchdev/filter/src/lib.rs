//! TC flower filters as values: keys, masks, actions, and their `tc` text.

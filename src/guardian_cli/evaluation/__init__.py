"""How good decisions are: results against results, and against what people said."""

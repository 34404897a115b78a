"""The feature columns: their declarations by part, the relations they aggregate, and the SQL that builds them."""

"""From labelled files, or drawn ones, to a registered version and what is known about it."""

"""Everything between a name on the command line and frames in memory."""

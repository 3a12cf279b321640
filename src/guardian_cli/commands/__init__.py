"""One verb a file: read options, build, call one use-case, print, exit."""

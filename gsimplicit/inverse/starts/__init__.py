"""Where fits begin, and which of several starts is right."""

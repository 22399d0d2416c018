"""The page: widgets and pictures, and the server. All that needs the extra `explore` is in this folder."""

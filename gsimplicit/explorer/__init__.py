"""The explorer: a page in the browser on which one plays with a system and walks over a landscape of `gsimplicit.scan`.

`gsimplicit explore` serves it. What is computed is apart from what is shown: the modules here know no widget and need
no more than the package itself. `page/` is what is shown, and who may see it; it needs the extra `explore`.
"""

"""The site: `python -m nox -s docs` builds it into docs/_build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from gsimplicit.version import __version__  # noqa: E402

project = "gsimplicit"
author = "the gsimplicit authors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "run_blocks",
    "public_names",
    "studies_gallery",
    "glossary_links",
    "phone_tables",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = True

# pages whose blocks run while the site is built, and whose outputs are compared
run_pages = [
    "../README",
    "start",
    "losses",
    "models",
    "own_route",
    "files",
    "from_a_picture",
    "reference/states",
    "reference/gradients",
    "reference/routes",
    "reference/landscapes",
    "reference/models",
    "reference/bifurcation",
    "reference/descent",
]

myst_enable_extensions = ["colon_fence", "deflist", "smartquotes"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True}
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"gsimplicit {__version__}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

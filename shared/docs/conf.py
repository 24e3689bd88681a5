"""How the documentation is built: `make docs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.util.nodes import make_refnode

from drupelet_shared import __version__

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "drupelet"
release = version = __version__
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["docs_generator", "man"]
# ```json request``` and the like tell the tests what a block is.
suppress_warnings = ["misc.highlighting_failure"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["schemas"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "github-dark"

# What a person copies is the commands.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"

# Docstrings are written in Google's style, with code in single backticks.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100


def resolve_python_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    """Link a Python name to its entry in the API reference; a name without an entry stays plain text."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    python, document = env.domains.python_domain, node["refdoc"]
    for full in (f"drupelet.{name}", f"drupelet.errors.{name}"):
        if full in python.objects:
            entry = python.objects[full]
            return make_refnode(app.builder, document, entry.docname, entry.node_id, contnode, full)
    return contnode


def setup(app: Sphinx) -> None:
    """Register the resolver."""
    app.connect("missing-reference", resolve_python_name)

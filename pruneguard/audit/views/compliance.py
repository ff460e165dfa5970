"""compliance/<framework>/: every control and its state, as a table, as OSCAL and as a page. One path for all."""

from pruneguard.audit import bundle
from pruneguard.audit.controls import History, assess
from pruneguard.audit.frameworks import Framework
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import controls_csv, oscal, report_html
from pruneguard.audit.views.assessed import Assessed
from pruneguard.audit.views.story import courses
from pruneguard.errors import InvalidInputError


def compliance(selection: Selection) -> dict[str, bytes]:
    """The views of every framework that the selection names. Raises InvalidInputError for a file that is none."""
    files: dict[str, bytes] = {}
    history, story = History.of(selection), courses(selection)
    for name in sorted(selection.frameworks):
        framework = Framework.decode(selection.frameworks[name])
        if framework.name != name:
            raise InvalidInputError(f"{bundle.framework_path(name)} calls itself {framework.name!r}")
        assessed = Assessed(framework, assess(framework, history), history.at, selection, story)
        folder = f"compliance/{name}/"
        files[f"{folder}controls.csv"] = controls_csv.render(assessed)
        files[f"{folder}oscal-catalog.json"] = oscal.catalog(assessed)
        files[f"{folder}oscal-assessment-results.json"] = oscal.results(assessed)
        files[f"{folder}report.html"] = report_html.render(assessed)
    return files

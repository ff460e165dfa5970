"""What every page shares: the book it reads, the banner that says how far to trust it, the choice of a model."""

import streamlit as st

from dashboards.reading import Book, Reading
from dashboards.wording import age, clock, count, plain
from pruneguard.ledger.state import Model
from pruneguard.settings import Settings

REFRESH_S = 2.0
"""How often a page's live parts read the ledger again."""


def book() -> Book:
    """The one book of this process; sessions share it."""
    return _book(st.secrets["pruneguard"]["settings"])


@st.cache_resource(show_spinner="Reading the ledger and hashing every entry of it …")
def _book(settings: str) -> Book:
    return Book(Settings.model_validate_json(settings))


@st.fragment(run_every=REFRESH_S)
def banner() -> None:
    """What is wrong with the ledger, above every page, and how old the numbers are."""
    reading = book().now()
    if (trouble := reading.trouble) is not None:
        title = "The ledger was changed" if trouble.edited else "The ledger cannot be read"
        st.error(f"**{title}.** {plain(trouble.found)}\n\n**Do this:** {plain(trouble.remedy)}", icon="⚠️")
    if reading.trouble is not None and not reading.state.size:
        st.caption(f"Nothing could be read · tried {clock(reading.read_at)} UTC")
        return
    entries = f"{count(reading.state.size)} ledger entries"
    origin = f" of {plain(reading.state.origin)}" if reading.state.origin else ""
    old = f" · **stale: read {age(reading.read_at)}**" if reading.trouble else ""
    st.caption(f"{entries}{origin} · as of {clock(reading.read_at)} UTC{old}")


def reading_or_stop() -> Reading:
    """The current reading; where there is no model to show, says which command makes one and ends the page."""
    reading = book().now()
    if not reading.state.models and reading.trouble is None:
        with st.container(border=True):
            st.subheader("No model yet")
            st.markdown(
                "This ledger holds no run. A run admits data, trains the dense twin, prunes candidates and judges "
                "them; everything it does appears here as it happens."
            )
            st.markdown("Start one:")
            st.code("pruneguard run examples/digits/manifest.yaml", language=None)
    if not reading.state.models:
        st.stop()
    return reading


def choose_model(reading: Reading) -> Model:
    """The model named in the page's address, or picked; an unknown name in the address is said, not guessed at."""
    names = sorted(reading.state.models)
    asked = st.query_params.get("model")
    if asked is not None and asked not in names:
        st.warning(f"No model {plain(asked)} in this ledger; showing {plain(names[0])}.")
    name = st.selectbox("Model", names, key="model", bind="query-params", width=360)
    return reading.state.models[name]


def again(model: Model) -> Model:
    """The same model as the ledger has it now: what a live part of a page calls first."""
    return book().now().state.models.get(model.name, model)

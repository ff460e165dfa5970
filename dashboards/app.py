"""The script that Streamlit runs for every visit: navigation, banner, page. `dashboards/server.py` serves it."""

from pathlib import Path

import streamlit as st

from dashboards import frame
from dashboards.views import audit_trail, fleet, model, monitoring, releases

ICON = Path(__file__).with_name("icon.png")

st.set_page_config(page_title="PruneGuard", page_icon=str(ICON), layout="wide", initial_sidebar_state=220)
st.logo(str(ICON), size="large")
chosen = st.navigation(
    [
        st.Page(fleet.page, title="Fleet", url_path="fleet", default=True),
        st.Page(model.page, title="Model", url_path="model"),
        st.Page(monitoring.page, title="Monitoring", url_path="monitoring"),
        st.Page(releases.page, title="Releases", url_path="releases"),
        st.Page(audit_trail.page, title="Audit trail", url_path="audit_trail"),
    ]
)
frame.banner()
chosen.run()

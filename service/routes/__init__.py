"""The routes of the HTTP contract, a module for each subject.

What each call asks for stands in `service/access/scopes.py`.
"""

from service.routes import audit, classes, exports, learning, pages, predicting, probes, promotions, tasks, versions

# The routers are asked in this order, so the one with the most requests comes first.
ROUTERS = (
    predicting.router,
    learning.router,
    tasks.router,
    versions.router,
    classes.router,
    promotions.router,
    exports.router,
    audit.router,
    probes.router,
    pages.router,
)

"""The routes of the HTTP contract, a module for each subject; keys and forgetting will have theirs."""

from service.routes import exports, learning, pages, predicting, probes, promotions, tasks, versions

# The routers are asked in this order, so the one with the most requests comes first.
ROUTERS = (
    predicting.router,
    learning.router,
    tasks.router,
    versions.router,
    promotions.router,
    exports.router,
    probes.router,
    pages.router,
)

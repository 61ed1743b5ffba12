"""The routes of the HTTP contract, a module for each subject; keys and forgetting will have theirs."""

from service.routes import exports, learning, pages, predicting, probes, promotions, tasks, versions

ROUTERS = (
    learning.router,
    tasks.router,
    predicting.router,
    versions.router,
    promotions.router,
    exports.router,
    probes.router,
    pages.router,
)

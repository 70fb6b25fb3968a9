// The section of accounts, and its field of the page's one search.

function drawAccounts() {
  drawMeter();
  drawUncovered();
  createBehaviours();
  connectAccountSearch();
}

/** The field above the behaviours and the one above the map are one search. */
function connectAccountSearch() {
  const field = byId("account-query");
  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setFilter({ query: field.value }), 80);
  });
  byId("account-filters").addEventListener("submit", (event) => event.preventDefault());
  state.addEventListener("filter", () => {
    for (const input of [field, byId("query")]) if (input.value !== state.filter.query) input.value = state.filter.query;
  });
}

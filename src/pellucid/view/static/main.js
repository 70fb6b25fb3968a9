// Put the page together, and connect what all views share: theme, filters, links to parts.

/** The switch of the theme; what was chosen is kept where the browser allows it. */
function connectTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const buttons = document.querySelectorAll("[data-choose]");
  const apply = (choice) => {
    root.dataset.choice = choice;
    root.dataset.theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.choose === choice)));
    document.dispatchEvent(new Event("theme"));
  };
  buttons.forEach((button) => button.addEventListener("click", () => {
    apply(button.dataset.choose);
    try {
      localStorage.setItem("pellucid-theme", button.dataset.choose);
    } catch {
      // Storage can be forbidden; the choice then lasts as long as the page.
    }
  }));
  dark.addEventListener("change", () => apply(root.dataset.choice));
  matchMedia("print").addEventListener("change", () => document.dispatchEvent(new Event("theme"))); // paper is light
  apply(root.dataset.choice);
}

/** Search and selects change the filter; a legend button that changes it shows in the selects. */
function connectFilters() {
  const fields = { query: byId("query"), form: byId("filter-form"), verdict: byId("filter-verdict"), residual: byId("filter-residual") };
  const choices = ["form", "verdict", "residual"];
  for (const key of choices) {
    const values = [...new Set(parts[key])].sort();
    fill(fields[key], h("option", { value: "" }, "any"), values.map((value) => h("option", { value }, printable(value))));
    fields[key].addEventListener("change", () => setFilter({ [key]: fields[key].value }));
  }
  let waiting = 0;
  fields.query.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setFilter({ query: fields.query.value }), 80);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => {
    clearTimeout(waiting);
    setFilter({ query: "", form: "", verdict: "", residual: "" });
  });
  const show = () => {
    for (const key of choices) fields[key].value = state.filter[key];
    const found = state.rows.length;
    const also = state.filter.query && state.behaviours > 0 && [" · ", h("a", { href: "#accounts" }, plural(state.behaviours, "behaviour"))];
    fill(byId("match-count"), found === parts.count ? plural(found, "part") : `${count(found)} of ${plural(parts.count, "part")}`, also);
  };
  state.addEventListener("filter", show);
  show();
}

/** `#L00.H01.QK` selects that part, on loading and later. */
function followHash() {
  let address = "";
  try {
    address = decodeURIComponent(location.hash.slice(1));
  } catch {
    return; // not an encoded address
  }
  const part = parts.index.get(address);
  if (part !== undefined) select(part, { reveal: true });
}

connectTheme();
drawHead();
drawAccounts();
drawScoreboard();
drawFidelity();
drawDomains();
drawWorst();
drawReproduce();
connectFilters();
createMap();
createList();
createDetail();
followHash();
window.addEventListener("hashchange", followHash);
document.documentElement.dataset.ready = "yes";

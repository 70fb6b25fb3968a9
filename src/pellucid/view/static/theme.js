// Runs before anything is painted, so that the page does not flash the other theme first.
{
  let choice = "auto";
  try {
    choice = localStorage.getItem("pellucid-theme") ?? "auto";
  } catch {
    // Storage can be forbidden, for instance in a sandboxed frame: the system's theme applies.
  }
  if (choice !== "light" && choice !== "dark") choice = "auto";
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.choice = choice;
  document.documentElement.dataset.theme = choice === "auto" ? system : choice;
}

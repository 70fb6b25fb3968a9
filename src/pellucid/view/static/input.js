// How the map is moved: by pointers and by keys.

/** Mouse, pen and fingers: hover, click to select, drag to pan, wheel with Ctrl and two fingers to zoom. */
function followPointers(canvas, { map, hit, zoom, move, setHover, enter }) {
  const fingers = new Map();
  let travelled = 0;
  const local = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { size: Math.hypot(a[0] - b[0], a[1] - b[1]), x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2 };
  };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, local(event));
    if (fingers.size === 1) travelled = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const to = local(event);
    const from = fingers.get(event.pointerId);
    if (!from) return setHover(hit(...to), ...to);
    const before = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, to);
    travelled += Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (before) {
      const after = spread();
      return zoom(after.size / Math.max(1, before.size), after.x, after.y);
    }
    if (travelled > 4) {
      setHover(-1);
      move({ x: map.view.x + to[0] - from[0], y: map.view.y + to[1] - from[1] });
    }
  });
  const lift = (event) => {
    const click = event.type === "pointerup" && fingers.size === 1 && travelled <= 4;
    fingers.delete(event.pointerId);
    if (!click) return;
    const part = hit(...local(event));
    if (part >= 0) select(part);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => setHover(-1));
  canvas.addEventListener("dblclick", (event) => {
    const part = hit(...local(event));
    if (part >= 0 && map.only === null) enter(parts.band[part]);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.01), ...local(event));
  }, { passive: false });
}

/** Arrow keys move between parts, Enter opens, + - 0 zoom, Escape leaves a band. */
function followKeys(canvas, { map, zoom, reset, enter, neighbour }) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (parts.count === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) {
      const start = state.selected < 0 ? map.groups[0]?.parts[0] : neighbour(state.selected, ...steps[event.key]);
      if (start !== undefined) select(start);
    } else if (event.key === "Enter" && state.selected >= 0) select(state.selected, { reveal: true });
    else if (event.key === "+" || event.key === "=") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else if (event.key === "0") reset();
    else if (event.key === "Escape" && map.only !== null) enter(null);
    else return;
    event.preventDefault();
  });
}

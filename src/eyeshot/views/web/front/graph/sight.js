// What part of the picture is seen, and how large: a panel that scrolls, with a scale.

const SCALES = [0.35, 0.5, 0.65, 0.8, 1, 1.25, 1.6];
/** What a person can still read without asking for more. */
const READABLE = 0.8;
const SMALLEST = 0.1;
const LARGEST = 2;
const MARGIN = 12;

/** A picture in a panel that scrolls. Boxes are in the picture's own units. */
export class Sight {
  constructor(scroll, svg, shown) {
    this.scroll = scroll;
    this.svg = svg;
    this.shown = shown;
    this.size = { width: 0, height: 0 };
    this.scale = 1;
    /** Whether a person has chosen the scale. */
    this.chosen = false;
    scroll.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** The picture's own size. */
  resize({ width, height }) {
    this.size = { width: width + 2 * MARGIN, height: height + 2 * MARGIN };
    this.svg.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${this.size.width} ${this.size.height}`);
    this.set(this.chosen ? this.scale : this.#readable());
  }

  /** As wide as the panel, where that can be read. */
  #readable() {
    return Math.min(1, Math.max(READABLE, this.#fitting()[0]));
  }

  /** The first look: from the top. */
  begin() {
    this.chosen = false;
    this.set(this.#readable());
    this.scroll.scrollTop = 0;
    this.scroll.scrollLeft = (this.scroll.scrollWidth - this.scroll.clientWidth) / 2;
  }

  /** The scales at which the width, and all of it, fits. */
  #fitting() {
    const wide = (this.scroll.clientWidth || 400) / this.size.width;
    return [wide, Math.min(wide, (this.scroll.clientHeight || 400) / this.size.height)];
  }

  set(scale) {
    this.scale = Math.min(LARGEST, Math.max(SMALLEST, scale));
    this.svg.setAttribute("width", Math.floor(this.size.width * this.scale));
    this.svg.setAttribute("height", Math.floor(this.size.height * this.scale));
    this.shown.textContent = `${Math.round(this.scale * 100)} %`;
  }

  /** Scales about a point of the panel, which stays where it is. */
  #about(scale, x = this.scroll.clientWidth / 2, y = this.scroll.clientHeight / 2) {
    this.chosen = true;
    const before = this.scale;
    const [left, top] = [this.scroll.scrollLeft + x, this.scroll.scrollTop + y];
    this.set(scale);
    this.scroll.scrollLeft = (left * this.scale) / before - x;
    this.scroll.scrollTop = (top * this.scale) / before - y;
  }

  /** The next larger or smaller scale. */
  zoom(by) {
    const next =
      by > 0
        ? SCALES.find((one) => one > this.scale * 1.02)
        : SCALES.findLast((one) => one < this.scale / 1.02);
    this.#about(next ?? this.scale);
  }

  /** All of the picture, never larger than it is. */
  fit() {
    this.#about(Math.min(1, this.#fitting()[1]));
  }

  #wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const frame = this.scroll.getBoundingClientRect();
    this.#about(
      this.scale * Math.exp(-event.deltaY / 300),
      event.clientX - frame.left,
      event.clientY - frame.top,
    );
  }

  /** Where the panel is scrolled to. */
  place() {
    return [this.scroll.scrollLeft, this.scroll.scrollTop, this.scale];
  }

  /**
   * After a change of the picture: what was at the box `before` and now is at `after` stays where it was seen.
   */
  keep([left, top, scale], before, after) {
    const middle = (box) => box.x + box.width / 2 + MARGIN;
    this.scroll.scrollTop = top + (after.y + MARGIN) * this.scale - (before.y + MARGIN) * scale;
    this.scroll.scrollLeft = left + middle(after) * this.scale - middle(before) * scale;
  }

  /** What part of the picture's width is seen, in its own units. */
  span() {
    const from = this.scroll.scrollLeft / this.scale - MARGIN;
    return [from, from + this.scroll.clientWidth / this.scale];
  }

  /** Scrolls the panel, and never the page, until a box is seen. */
  show({ x, y, width, height }) {
    const { scroll } = this;
    const along = (from, length, start, room) => {
      const [low, high] = [(from + MARGIN) * this.scale, (from + MARGIN + length) * this.scale];
      if (low >= start && high <= start + room) return start;
      return Math.max(0, (low + high) / 2 - room / 2);
    };
    scroll.scrollTop = along(y, height, scroll.scrollTop, scroll.clientHeight);
    scroll.scrollLeft = along(x, width, scroll.scrollLeft, scroll.clientWidth);
  }
}

// A table that is rendered again and again: rows are kept by key and changed in place, headers sort, long ones are cut
// with a way to see all, of which those that are on the screen are kept up to date. While somebody points into it or has the focus in it, rows stay where they are: nobody shall
// drain a node that has just slipped under the pointer. Knows not what its rows are about.

import { arrange, attribute, icon, make, point, show, write } from "./dom.js";
import { count } from "./format.js";
import { heldOrder, ordered } from "./order.js";

export class Table {
  /**
   * `columns`: {id, title, sort, descending}; `sort` gives an item's key, a column without is not sorted by;
   * `descending` is where sorting begins. `keyOf` names an item, `tie` orders those of one sort key, `makeRow` gives
   * {element, update(item)}. `cap` rows are shown at first; `what` is the word for several rows.
   */
  constructor(place, { label, columns, keyOf, tie, makeRow, cap, what, sortedBy }) {
    Object.assign(this, { place, columns, keyOf, tie, makeRow, cap, what });
    this.rows = new Map();
    this.keys = [];
    this.items = [];
    this.whole = false;
    this.sorting = { column: columns.find((column) => column.id === sortedBy), descending: false };
    this.heads = columns.map((column) => this.head(column));
    this.body = make("tbody", { role: "rowgroup" });
    this.none = make("p", { class: "none", hidden: "" });
    this.more = make("button", { type: "button", class: "more", hidden: "" });
    this.more.addEventListener("click", () => this.toggleWhole());
    const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...this.heads.map(({ cell }) => cell)));
    const table = make("table", { role: "table", "aria-labelledby": label }, head, this.body);
    place.append(table, this.none, this.more);
    this.pointed = false;
    this.body.addEventListener("pointerenter", (event) => (this.pointed = event.pointerType === "mouse"));
    this.body.addEventListener("pointerleave", () => (this.pointed = false));
    this.tellSorting();
    this.seen = new Set(); // of all rows those that are on the screen, or near it
    this.watching = new IntersectionObserver((entries) => this.see(entries), { rootMargin: "50%" });
  }

  /** Rows came to be seen, or no longer are. */
  see(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) this.seen.delete(target);
      else if (!this.seen.has(target)) {
        this.seen.add(target);
        const item = this.items.find((entry) => this.rows.get(this.keyOf(entry))?.element === target);
        if (item !== undefined) this.row(item);
      }
    }
  }

  head(column) {
    const cell = make("th", { role: "columnheader", scope: "col", class: `column-${column.id}` });
    if (column.sort === undefined) {
      cell.append(make("span", { text: column.title }));
      return { cell, column, arrow: null };
    }
    const arrow = icon("unsorted");
    const button = make("button", { type: "button", class: "sort" }, make("span", { text: column.title }), arrow);
    button.addEventListener("click", () => this.sortBy(column));
    cell.append(button);
    return { cell, column, arrow };
  }

  sortBy(column) {
    const again = this.sorting.column === column;
    this.sorting = { column, descending: again ? !this.sorting.descending : Boolean(column.descending) };
    this.tellSorting();
    this.render(false);
  }

  tellSorting() {
    for (const { cell, column, arrow } of this.heads) {
      if (arrow === null) continue;
      const direction = this.sorting.column !== column ? null : this.sorting.descending ? "descending" : "ascending";
      attribute(cell, "aria-sort", direction);
      point(arrow, direction ?? "unsorted");
    }
  }

  toggleWhole() {
    this.whole = !this.whole;
    this.place.classList.toggle("whole", this.whole);
    this.render(false);
  }

  /** Show these items; `none` is said where there are none. */
  show(items, none) {
    this.items = items;
    write(this.none, none);
    this.render(this.pointed || this.body.contains(document.activeElement));
  }

  render(held) {
    const { column, descending } = this.sorting;
    const sorted = ordered(this.items, column.sort, this.tie, descending);
    const placed = held ? heldOrder(sorted, this.keyOf, this.keys) : sorted;
    const shown = this.whole ? placed : placed.slice(0, this.cap);
    this.keys = placed.map(this.keyOf);
    arrange(this.body, shown.map((item) => this.row(item)));
    this.forget(new Set(this.keys));
    show(this.none, placed.length === 0);
    show(this.more, placed.length > this.cap);
    const all = `Show all ${count(placed.length)} ${this.what}`;
    write(this.more, this.whole ? `Show the first ${count(this.cap)} ${this.what} only` : all);
  }

  row(item) {
    const key = this.keyOf(item);
    let row = this.rows.get(key);
    const fresh = row === undefined;
    if (fresh) {
      row = this.makeRow(item);
      this.rows.set(key, row);
      this.watching.observe(row.element);
    }
    if (fresh || !this.whole || this.seen.has(row.element)) row.update(item);
    return row.element;
  }

  forget(known) {
    for (const [key, row] of this.rows) {
      if (known.has(key)) continue;
      this.watching.unobserve(row.element);
      this.seen.delete(row.element);
      this.rows.delete(key);
    }
  }
}

/** A cell of a row; on a narrow page `label` stands beside it. */
export const cell = (label, ...children) => make("td", { role: "cell", "data-label": label }, ...children);

"use strict";
// Without this script everything is shown in its own order, and there is nothing to press.

const words = new Intl.Collator(undefined, { numeric: true });
const turns = { none: "ascending", ascending: "descending", descending: "none" };

const compare = (first, second) =>
  first.number !== null && second.number !== null
    ? first.number - second.number
    : words.compare(first.text, second.text);

function readCell(row, column) {
  const cell = row.cells[column];
  const text = (cell.querySelector(".value, .arm") || cell).textContent.trim();
  return { row, text, number: cell.dataset.number ? Number(cell.dataset.number) : null };
}

function sortRows(body, original, column, direction) {
  const cells = original.map((row) => readCell(row, column));
  if (direction !== "none") {
    const sign = direction === "ascending" ? 1 : -1;
    const numbers = cells.some((cell) => cell.number !== null);
    // In a column of numbers what has none stays last, whichever way it is sorted.
    const last = (cell) => Number(numbers && cell.number === null);
    cells.sort((a, b) => last(a) - last(b) || sign * compare(a, b));
  }
  body.append(...cells.map((cell) => cell.row));
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  if (original.length < 2) return;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = turns[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      sortRows(body, original, column, direction);
    });
  });
}

function makeToggle(button) {
  const belongs = [...document.querySelectorAll("[data-arm]")].filter(
    (element) => element.dataset.arm === button.dataset.of,
  );
  const marks = [...document.getElementsByClassName(button.dataset.tag)];
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    [...belongs, ...marks].forEach((element) => element.classList.toggle("off", !shown));
  });
}

document.querySelectorAll("main table").forEach(makeSortable);
document.querySelectorAll(".arms button").forEach(makeToggle);
document.querySelectorAll(".arms").forEach((bar) => bar.removeAttribute("hidden"));

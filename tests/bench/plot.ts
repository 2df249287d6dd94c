/**
 * A plot of rates over time, as SVG: one panel for each kind of work, one line for each storage.
 *
 * @module
 */

import type { Rates } from "./measuring.ts";

/** A panel: its title, and its lines by the storage's name. */
export interface Panel {
  readonly title: string;
  readonly lines: Readonly<Record<string, Rates>>;
}

const WIDTH = 760, PANEL_HEIGHT = 240;
const LEFT = 70, RIGHT = 110, TOP = 34, BOTTOM = 36;
/** Told apart with every kind of sight, on white and on black. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73"];
const GRID_LINES = 4;

/** The largest of 1, 2 and 5 times a power of ten that gives so many steps up to the value. */
function roundedTop(value: number): number {
  const step = value / GRID_LINES || 1;
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 5, 10].find((each) => each * power >= step)!;
  return factor * power * GRID_LINES;
}

/** Draws the panels one below the other. */
export function plot(panels: readonly Panel[]): string {
  const height = PANEL_HEIGHT * panels.length;
  const body = panels.map((panel, i) => drawPanel(panel, i * PANEL_HEIGHT)).join("");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="sans-serif" font-size="12">\n` +
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>\n${body}</svg>\n`;
}

function drawPanel({ title, lines }: Panel, top: number): string {
  const all = Object.values(lines).flat();
  const seconds = Math.max(0.1, ...all.map(([at]) => at));
  const most = roundedTop(Math.max(1, ...all.map(([, rate]) => rate)));
  const plotHeight = PANEL_HEIGHT - TOP - BOTTOM, plotWidth = WIDTH - LEFT - RIGHT;
  const x = (at: number) => (LEFT + at / seconds * plotWidth).toFixed(1);
  const y = (rate: number) => (top + TOP + (1 - rate / most) * plotHeight).toFixed(1);
  let text = `<text x="${LEFT}" y="${top + 20}" font-weight="bold">${title}</text>\n`;
  for (let i = 0; i <= GRID_LINES; i++) {
    const rate = most * i / GRID_LINES;
    text += `<path d="M${LEFT} ${y(rate)}H${WIDTH - RIGHT}" stroke="#dddddd"/>`;
    text += `<text x="${LEFT - 6}" y="${y(rate)}" dy="4" text-anchor="end">${rate}</text>\n`;
  }
  for (const at of [0, seconds / 2, seconds]) {
    const below = top + PANEL_HEIGHT - BOTTOM + 18;
    text += `<text x="${x(at)}" y="${below}" text-anchor="middle">${at.toFixed(1)} s</text>\n`;
  }
  for (const [i, [name, rates]] of Object.entries(lines).entries()) {
    const colour = COLOURS[i % COLOURS.length]!;
    const points = rates.map(([at, rate]) => `${x(at)},${y(rate)}`).join(" ");
    text += `<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="2"/>`;
    const middle = top + TOP + 16 * (i + 1);
    text += `<text x="${WIDTH - RIGHT + 10}" y="${middle}" fill="${colour}">${name}</text>\n`;
  }
  return text;
}

// SPDX-License-Identifier: Apache-2.0
// Bars over days as SVG. The same figures are in the page's table, so a chart is one image with a short text.

const HEIGHT = 160, TOP = 8, BOTTOM = 22, LEFT = 56, RIGHT = 4, LABEL = 76;

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The next number whose half is short, too. */
export function niceMost(value) {
  if (!(value > 0)) return 2;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map(step => step * power).find(most => most >= value * (1 - 1e-9));
}

/**
 * @param {{days: string[], series: {name: string, values: number[]}[], format: function(number): string, label: string}} data
 *        stacked: the first series is the lowest part of each bar
 * @param {number} width in pixels
 */
export function barChart({ days, series, format, label }, width) {
  const sums = days.map((_, i) => series.reduce((sum, { values }) => sum + values[i], 0));
  const most = niceMost(Math.max(...sums)), inner = Math.max(width - LEFT - RIGHT, 40), step = inner / days.length;
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const chart = svg('svg', { role: 'img', 'aria-label': label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, class: 'chart' });
  for (const value of [0, most / 2, most]) {
    chart.append(svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { class: 'tick', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, format(value)));
  }
  const each = Math.ceil(LABEL / step);
  days.forEach((day, i) => {
    const x = LEFT + i * step, column = svg('g', { class: 'column' });
    let below = 0;
    column.append(svg('title', {}, `${day}: ${series.map(({ name, values }) => `${name} ${format(values[i])}`).join(', ')}`),
      svg('rect', { class: 'hit', x, y: TOP, width: step, height: HEIGHT - TOP - BOTTOM }));
    series.forEach(({ values }, k) => {
      if (!(values[i] > 0)) return;
      const top = y(below + values[i]), height = Math.max(y(below) - top, .5);
      column.append(svg('rect', { class: `bar series-${k}`, x: x + step * .12, y: top, width: Math.max(step * .76, .5), height }));
      below += values[i];
    });
    chart.append(column);
    if (i % each === 0) chart.append(svg('text', { class: 'tick', x: x + Math.min(step / 2, LABEL / 2), y: HEIGHT - 6,
      'text-anchor': i === 0 && step < LABEL ? 'start' : 'middle' }, day.slice(5)));
  });
  return chart;
}

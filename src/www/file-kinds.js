// SPDX-License-Identifier: Apache-2.0
// How a file is shown: its kind, its size, its picture. Loaded with the first file.
import { el, icon, visible } from './dom.js';
import { locale, t } from './strings.js';

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
const MOST = 640;                       // pixels of a preview

document.head.append(el('link', { rel: 'stylesheet', href: new URL('attach.css', import.meta.url).href }));

const PATHS = {
  clip: 'M15.5 9.5l-5.6 5.6a3.4 3.4 0 0 1-4.8-4.8l6-6a2.3 2.3 0 0 1 3.2 3.2l-5.9 5.9a1.1 1.1 0 0 1-1.6-1.6l5.3-5.3',
  file: 'M5.5 3h6L15 6.5V17H5.5zM11.5 3v3.5H15M8 10.5h4.5M8 13.5h4.5',
};

/** An icon that the sheet of index.html does not have. */
export function pathIcon(name) {
  const svg = icon(name), path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', PATHS[name]);
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.replaceChildren(path);
  return svg;
}

export const isImage = type => /^image\/(png|jpeg|gif|webp)$/.test(type);

/** As in AgentChatFiles: 20M are 20 MB. */
export function sizeOf(bytes) {
  const step = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(bytes || 1) / 10))), n = bytes / 1024 ** step;
  return new Intl.NumberFormat(locale, { style: 'unit', unit: UNITS[step], unitDisplay: step ? 'short' : 'long',
    maximumFractionDigits: n < 10 ? 1 : 0 }).format(n);
}

/** "PDF", "PNG", "PY": by the end of the name, else by the type. */
export function kindOf({ name, type }) {
  const end = /\.([A-Za-z0-9]{1,4})$/.exec(name)?.[1] ?? (type.startsWith('text/') ? '' : type.split('/')[1]);
  return end ? end.toUpperCase() : t('files.text');
}

export const nameOf = ({ name }) => visible(name);

/** A small picture of an image. Drawn, so that the page's policy needs no further source of images. */
export async function previewOf(blob) {
  const whole = await createImageBitmap(blob), share = Math.min(1, MOST / Math.max(whole.width, whole.height));
  if (share === 1) return whole;
  const small = await createImageBitmap(whole, { resizeWidth: Math.max(1, Math.round(whole.width * share)),
    resizeHeight: Math.max(1, Math.round(whole.height * share)), resizeQuality: 'medium' });
  whole.close();
  return small;
}

/** @param {ImageBitmap} bitmap */
export function draw(bitmap) {
  const canvas = document.createElement('canvas');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  return canvas;
}

const previews = new Map();             // by id of the file: a promise of its bitmap
const KEPT = 100;

/** The preview of a file on the server, of which the page may have the bytes already. @param {Object} client @param {{file_id: string, blob?: Blob}} file */
export function previewOfFile(client, { file_id: id, blob }) {
  if (!previews.has(id)) {
    if (previews.size >= KEPT) previews.delete(previews.keys().next().value);
    previews.set(id, (blob ? Promise.resolve(blob) : bytesOf(client, id)).then(previewOf));
    previews.get(id).catch(() => previews.delete(id));
  }
  return previews.get(id);
}

/** The bytes, with the page's authentication. */
export async function bytesOf(client, id) {
  return (await client.request('GET', `/files/${id}/content`, { headers: { Accept: '*/*' } })).blob();
}

// SPDX-License-Identifier: Apache-2.0
// The files of a message that was sent: pictures, and cards to download the others. Loaded with the first such message.
import { $, el, icon, iconButton } from './dom.js';
import { bytesOf, draw, isImage, kindOf, nameOf, pathIcon, previewOfFile, sizeOf } from './file-kinds.js';
import { toast } from './notices.js';
import { askToSignIn } from './sign-in.js';
import { addTexts, t } from './strings.js';
import { wordsOf } from './words.js';

await addTexts('files');

function failed(error) {
  if (error.wantsSignIn) askToSignIn(error);
  else toast(error.status === 404 ? t('files.gone') : wordsOf(error));
}

/** Saves the bytes under the file's name. */
async function save(client, file) {
  try {
    const address = URL.createObjectURL(file.blob ?? await bytesOf(client, file.file_id));
    el('a', { href: address, download: nameOf(file) }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    failed(error);
  }
}

// ---- an image in full size ----
let viewer = null;

function makeViewer() {
  const box = el('dialog.viewer', { onclick: event => event.target === box && box.close(), onclose: () => viewer.place.replaceChildren() });
  const title = el('h2', { dir: 'auto', id: 'viewer-title' }), place = el('div.viewer-place');
  const keep = iconButton('save', t('files.download'), () => save(viewer.client, viewer.file));
  box.setAttribute('aria-labelledby', 'viewer-title');
  box.append(el('div.viewer-head', {}, title, keep, iconButton('close', t('close'), () => box.close())), place);
  document.body.append(box);
  return { box, title, place };
}

async function view(client, file) {
  viewer ??= makeViewer();
  const { box, title, place } = viewer;
  Object.assign(viewer, { client, file });
  title.textContent = nameOf(file);
  place.replaceChildren(el('p.loading', { role: 'status', text: t('loading') }));
  box.showModal();
  try {
    const bitmap = await createImageBitmap(file.blob ?? await bytesOf(client, file.file_id));
    if (viewer.file !== file || !box.open) return;
    const canvas = draw(bitmap);
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', nameOf(file));
    place.replaceChildren(canvas);
    bitmap.close();
  } catch (error) {
    place.replaceChildren(el('p.failure', { role: 'alert', text: error instanceof DOMException ? t('files.unseen') : reasonOf(error) }));
  }
}

const reasonOf = error => (error.status === 404 ? t('files.gone') : wordsOf(error));

// ---- the files of a message ----
const sights = new WeakMap();           // of a place: what loads its picture
const sight = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    sights.get(target)();
  }
}, { root: $('transcript'), rootMargin: '300px' });

function picture(client, file, grown) {
  const name = nameOf(file), place = el('span.picture-place', {}, pathIcon('file'));
  const button = el('button.picture', { type: 'button', title: name, 'aria-label': t('files.show', { name }), onclick: () => view(client, file) },
    place);
  sights.set(button, async () => {
    try {
      place.replaceChildren(draw(await previewOfFile(client, file)));
    } catch (error) {
      button.replaceWith(error instanceof DOMException ? card(client, file, t('files.unseen'))
        : el('span.file', { title: name }, ...words(file, reasonOf(error))));
    }
    grown();
  });
  sight.observe(button);
  return button;
}

const words = (file, remark) => [el('span.file-thumb', {}, pathIcon('file')),
  el('span.file-words', {}, el('span.file-name', { text: nameOf(file), dir: 'auto' }),
    el(`span.file-info${remark ? '.file-remark' : ''}`, { text: remark || `${kindOf(file)} · ${sizeOf(file.size)}` }))];

/** A file to download. @param {string} [remark] in place of its kind */
function card(client, file, remark = '') {
  return el('button.file', { type: 'button', title: nameOf(file), onclick: () => save(client, file) }, ...words(file, remark),
    el('span.offscreen', { text: t('files.download') }), icon('save'));
}

/**
 * Shows the files of a message.
 * @param {HTMLElement} box a list @param {{file_id: string, name: string, type: string, size: number, blob?: Blob}[]} files
 * @param {Object} client @param {function(): void} grown called when the height has changed
 */
export function show(box, files, client, grown) {
  box.setAttribute('aria-label', t('files.attached'));
  const pictures = files.filter(({ type }) => isImage(type)), others = files.filter(({ type }) => !isImage(type));
  box.replaceChildren(...pictures.map(file => el('li', {}, picture(client, file, grown))),
    ...others.map(file => el('li', {}, card(client, file))));
  grown();
}

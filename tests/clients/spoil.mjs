// SPDX-License-Identifier: Apache-2.0
// Makes wrong what a client sends: node --import spoil.mjs CLIENT … with SPOIL=cut|long. Only requests with a question are changed: their
// body ends within the question, or has three million blanks behind its end.
const question = 'What is it?';
const real = globalThis.fetch;
globalThis.fetch = (address, options) => {
  if (typeof options?.body !== 'string' || !options.body.includes(question)) { return real(address, options); }
  const body = process.env.SPOIL === 'cut' ? options.body.slice(0, options.body.indexOf(question) + 4) : options.body + ' '.repeat(3_000_000);
  return real(address, { ...options, body });
};
